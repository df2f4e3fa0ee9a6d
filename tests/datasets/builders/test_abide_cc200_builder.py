"""ABIDE from region series: nilearn's own folder, or what nilearn downloads."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import load_abide, load_target
from keras_reprogram.datasets.original_files import OriginalFileError

SITES = ("NYU", "CMU", "YALE")
# File names in neither order of the table nor of the subjects.
SUBJECTS = [(50900 - k, f"{SITES[k % 3]}_{50900 - k:07}", k % 2) for k in range(14)]


def series(subject: int) -> np.ndarray:
    values = np.random.default_rng(subject).normal(size=(6, 200)).round(5)
    values[:, 7] = 3.0
    return values


def write(folder: Path) -> None:
    """Writes what nilearn leaves: the table and a .1D file a subject."""
    lines = [",Unnamed: 0,SUB_ID,SITE_ID,FILE_ID,DX_GROUP,AGE_AT_SCAN,COMMENT"]
    lines.append('0,1,50000,NYU,no_filename,1,20,"no scan, no file"')
    (folder / "cpac" / "filt_global").mkdir(parents=True)
    for subject, file, has_autism in SUBJECTS:
        lines.append(f"1,2,{subject},{file[:-8]},{file},{1 if has_autism else 2},20,x")
        np.savetxt(
            folder / "cpac" / "filt_global" / f"{file}_rois_cc200.1D",
            series(subject),
            header="\t#".join(str(region) for region in range(1, 201)),
            delimiter="\t",
            fmt="%.5f",
            comments="#",
        )
    (folder / "Phenotypic_V1_0b_preprocessed1.csv").write_text("\n".join(lines))


def write_copy(folder: Path) -> None:
    """Writes the file that is looked for first, in the order of the file names."""
    ordered = sorted(SUBJECTS, key=lambda row: row[1])
    with np.errstate(invalid="ignore"):
        matrices = [np.nan_to_num(np.corrcoef(series(row[0]).T)) for row in ordered]
    np.savez(
        folder / "abide_cc200_corr_1035.npz",
        triu=np.stack([matrix[np.triu_indices(200, 1)] for matrix in matrices]),
        label=np.array([row[2] for row in ordered]),
        site=np.array([row[1][:-8] for row in ordered]),
    )


def in_order(images: np.ndarray) -> np.ndarray:
    return images[np.argsort(images[:, 0, 1, 0])]


@pytest.fixture
def fetched(manual_folder: Path) -> Path:
    write(manual_folder / "ABIDE_pcp")
    return manual_folder / "ABIDE_pcp"


@pytest.fixture
def without_nilearn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)


@pytest.mark.slow
def test_images_are_plain_correlations_and_parts_those_of_the_prepared_copy(
    fetched: Path, data_folder: Path, prepare: Any, read: Any
) -> None:
    builder = prepare("abide_cc200")
    assert builder.info.features["image"].shape == (200, 200, 1)
    assert builder.info.features["label"].names == ["control", "ASD"]
    splits = read(builder)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [9, 2, 3]
    known = {str(subject): (file, label) for subject, file, label in SUBJECTS}
    for row in sum(splits.values(), []):
        subject = row["subject"].decode()
        file, label = known.pop(subject)
        assert row["label"] == label
        assert file.startswith(row["site"].decode())
        live = np.arange(200) != 7
        expected = np.corrcoef(series(int(subject)).T[live])
        image = row["image"][..., 0]
        assert np.allclose(image[np.ix_(live, live)], expected, atol=1e-6)
        assert np.abs(image[7]).sum() == image[7, 7] == 1.0
    assert not known
    target = load_target("abide")
    assert (target.name, target.target_range) == ("abide", (-1.0, 1.0))
    assert "TensorFlow Datasets abide_cc200/1.0.0" in target.origin
    write_copy(data_folder)
    copy = load_abide()
    assert "abide_cc200_corr_1035" in copy.origin
    assert np.allclose(in_order(target.test_images), in_order(copy.test_images), atol=1e-6)
    assert np.allclose(in_order(target.train_images), in_order(copy.train_images), atol=1e-6)
    assert target.train_groups is not None
    assert sorted(target.train_groups) == sorted(copy.train_groups)
    assert target.notes == copy.notes


@pytest.mark.slow
def test_nilearn_downloads_what_is_not_there(
    tfds_folder: Path, data_folder: Path, prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch_abide_pcp(data_dir: str, **options: Any) -> None:
        asked.update(options)
        write(Path(data_dir) / "ABIDE_pcp")

    nilearn = types.SimpleNamespace(fetch_abide_pcp=fetch_abide_pcp)
    monkeypatch.setitem(sys.modules, "nilearn", types.ModuleType("nilearn"))
    monkeypatch.setitem(sys.modules, "nilearn.datasets", nilearn)
    assert len(load_target("abide").test_labels) == 3
    assert asked == {
        "pipeline": "cpac",
        "band_pass_filtering": True,
        "global_signal_regression": True,
        "derivatives": ["rois_cc200"],
        "quality_checked": False,
    }


def test_missing_nilearn_names_the_command(
    data_folder: Path, prepare: Any, without_nilearn: None
) -> None:
    with pytest.raises(ImportError, match=r"(?s)pip install nilearn.*_rois_cc200\.1D.*CC BY-NC-SA"):
        prepare("abide_cc200")
    with pytest.raises(ValueError, match=r"(?s)abide_cc200_corr_1035\.npz.*pip install nilearn"):
        load_target("abide")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#1\t#2\n0.5\t0.25\n", "2 columns"),
        (b"\x1f\x8b not numbers", r"Received: .*1D|Expected .*1D"),
        (b"#1\n" + b"\t".join([b"1"] * 200), r"shape \(1, 200\)"),
        (b"\n".join([b"\t".join([b"nan"] * 200)] * 3), "all finite"),
    ],
)
def test_broken_series_is_named(fetched: Path, content: bytes, message: str, prepare: Any) -> None:
    name = f"{SUBJECTS[3][1]}_rois_cc200.1D"
    (fetched / "cpac" / "filt_global" / name).write_bytes(content)
    with pytest.raises(OriginalFileError, match=message) as caught:
        prepare("abide_cc200")
    assert name in str(caught.value)


def test_missing_series_is_named(fetched: Path, prepare: Any) -> None:
    name = f"{SUBJECTS[3][1]}_rois_cc200.1D"
    (fetched / "cpac" / "filt_global" / name).unlink()
    with pytest.raises(OriginalFileError, match=f"one file {name}.*none"):
        prepare("abide_cc200")
