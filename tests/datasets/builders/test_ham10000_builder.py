"""HAM10000 from zips of the published layout, split by lesion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import load_target
from keras_reprogram.datasets.ham10000 import DIAGNOSES
from keras_reprogram.datasets.original_files import OriginalFileError

# Five lesions a class, the first of them photographed twice.
ROWS = [
    (f"HAM_{code}{max(number, 1)}", f"ISIC_{code}{number}", code)
    for code in DIAGNOSES
    for number in range(6)
]


def red(code: str) -> int:
    return 30 * (list(DIAGNOSES).index(code) + 1)


@pytest.fixture
def contents(picture: Callable[..., bytes]) -> dict[str, bytes]:
    return {f"{image}.jpg": picture(red(code), "JPEG") for _, image, code in ROWS}


def table(delimiter: str = ",") -> str:
    lines = [("lesion_id", "image_id", "dx", "dx_type"), *((*row, "histo") for row in ROWS)]
    return "\n".join(delimiter.join(line) for line in lines)


@pytest.fixture
def fetched(
    manual_folder: Path, contents: dict[str, bytes], write_zip: Callable[..., None]
) -> Path:
    names = list(contents)
    for part, chosen in ((1, names[:20]), (2, names[20:])):
        path = manual_folder / f"HAM10000_images_part_{part}.zip"
        write_zip(path, {name: contents[name] for name in chosen})
    (manual_folder / "HAM10000_metadata.csv").write_text(table())
    return manual_folder


@pytest.mark.slow
def test_splits_are_by_lesion_and_the_target_keeps_them(
    fetched: Path, prepare: Any, read: Any
) -> None:
    builder = prepare("ham10000")
    assert builder.info.features["image"].shape == (64, 64, 3)
    assert builder.info.features["label"].names == list(DIAGNOSES.values())
    splits = read(builder)
    assert set(splits) == {"train", "validation", "test"}
    lesions = [{row["lesion_id"] for row in rows} for rows in splits.values()]
    assert len(set.union(*lesions)) == sum(map(len, lesions)) == 35
    assert sorted(len(part) for part in lesions) == [6, 7, 22]
    rows = sum(splits.values(), [])
    assert {row["image_id"].decode() for row in rows} == {image for _, image, _ in ROWS}
    for row in rows:
        code = list(DIAGNOSES)[row["label"]]
        assert code in row["lesion_id"].decode()
        assert np.abs(row["image"][..., 0] - float(red(code))).max() < 4
    target = load_target("ham10000")
    assert (target.name, target.target_shape) == ("ham10000", (64, 64, 3))
    assert target.class_names == tuple(DIAGNOSES.values())
    assert len(target.train_labels) + len(target.test_labels) == 42
    assert target.train_groups is not None
    assert len(np.unique(target.train_groups)) == 28
    assert set(target.train_labels) == set(range(7))
    assert "balanced accuracy" in target.notes[1]
    for path in fetched.iterdir():
        path.unlink()
    again = load_target("ham10000")
    assert np.array_equal(again.train_images, target.train_images)
    assert "ham10000/64x64/1.0.0" in again.origin


def test_unpacked_folders_and_tabs_in_published_size(
    manual_folder: Path, contents: dict[str, bytes], prepare: Any
) -> None:
    folder = manual_folder / "HAM10000_images_part_1"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (manual_folder / "HAM10000_metadata.tab").write_text(table("\t"))
    builder = prepare("ham10000/original")
    assert builder.info.features["image"].shape == (None, None, 3)
    row = next(iter(builder.as_dataset(split="test").as_numpy_iterator()))
    assert row["image"].shape == (15, 20, 3)


def test_nothing_fetched_says_what_to_fetch(data_folder: Path, prepare: Any) -> None:
    with pytest.raises(ValueError, match=r"ham10000_64\.zip") as caught:
        load_target("ham10000")
    for part in ("HAM10000_images_part_2.zip", "doi.org/10.7910/DVN/DBW86T", "CC BY-NC"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("HAM10000_images_part_2.zip", r"ISIC_df2\.jpg .*none.*images_part_2\.zip"),
        ("HAM10000_metadata.csv", r"HAM10000_metadata\* in .*no such file.*Dataverse"),
    ],
)
def test_missing_part_is_named(fetched: Path, missing: str, message: str, prepare: Any) -> None:
    (fetched / missing).unlink()
    with pytest.raises(OriginalFileError, match=f"(?s){message}"):
        prepare("ham10000")


def test_truncated_zip_is_named(fetched: Path, prepare: Any) -> None:
    path = fetched / "HAM10000_images_part_2.zip"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(OriginalFileError, match=r"part_2\.zip to be complete.*Fetch it again"):
        prepare("ham10000")


def test_broken_picture_is_named(
    fetched: Path, contents: dict[str, bytes], write_zip: Any, prepare: Any
) -> None:
    broken = {name: content[:200] for name, content in list(contents.items())[20:]}
    write_zip(fetched / "HAM10000_images_part_2.zip", broken)
    with pytest.raises(OriginalFileError, match=r"ISIC_\w+\.jpg to be a readable image"):
        prepare("ham10000")
    with pytest.raises(OriginalFileError, match="readable image"):
        load_target("tfds:ham10000")
    with pytest.raises(ValueError, match=r"could not be prepared.*readable image"):
        load_target("ham10000")


def test_unknown_diagnosis_is_refused(fetched: Path, prepare: Any) -> None:
    (fetched / "HAM10000_metadata.csv").write_text(table().replace(",mel,", ",wart,"))
    with pytest.raises(OriginalFileError, match=r"column dx.*\['wart'\]"):
        prepare("ham10000")
