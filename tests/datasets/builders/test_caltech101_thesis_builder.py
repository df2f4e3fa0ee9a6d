"""The thesis's cut of Caltech 101, from an archive of the published layout."""

import importlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import load_target
from keras_reprogram.datasets.original_files import OriginalFileError

ARCHIVE = "101_ObjectCategories.tar.gz"
COPIES = 2


@pytest.fixture
def thesis(prepare: Any) -> Any:
    return importlib.import_module("keras_reprogram.datasets.builders.caltech101_thesis")


@pytest.fixture
def write(thesis: Any, picture: Callable[..., bytes]) -> Callable[..., None]:
    def archive(path: Path, left_out: tuple[str, ...] = (), copies: int = COPIES) -> None:
        with tarfile.open(path, "w:gz") as packed:
            for label, name in enumerate((*thesis.CLASS_NAMES, *thesis.LEFT_OUT)):
                for copy in range(0 if name in left_out else copies):
                    content = picture(2 * label, "JPEG", (8, 8))
                    member = tarfile.TarInfo(f"101_ObjectCategories/{name}/image_{copy:04}.jpg")
                    member.size = len(content)
                    packed.addfile(member, io.BytesIO(content))

    return archive


@pytest.fixture
def tiny(thesis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thesis, "NUM_IMAGES", 97 * COPIES)


@pytest.mark.slow
def test_five_folders_are_left_out_and_parts_are_70_15_15(
    manual_folder: Path, write: Any, thesis: Any, tiny: None, prepare: Any, read: Any
) -> None:
    write(manual_folder / ARCHIVE)
    builder = prepare("caltech101_thesis")
    names = builder.info.features["label"].names
    assert len(names) == 97
    assert not set(names) & set(thesis.LEFT_OUT)
    splits = read(builder)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [135, 29, 30]
    rows = sum(splits.values(), [])
    pairs = {(row["label"], row["image/file_name"]) for row in rows}
    assert len(pairs) == len(rows)
    for row in rows:
        assert np.abs(row["image"][..., 0] - 2.0 * row["label"]).max() < 4
    target = load_target("caltech101_thesis", image_size=9)
    assert (len(target.train_labels), len(target.test_labels)) == (135, 30)


def test_sizes_of_the_thesis(thesis: Any) -> None:
    ends = [int(thesis.SHARES[0] * 6209), int(sum(thesis.SHARES) * 6209)]
    assert [ends[0], ends[1] - ends[0], 6209 - ends[1]] == [4346, 931, 932]
    assert thesis.NUM_IMAGES == 6209


def test_published_zip_is_downloaded_without_a_manual_file(
    tmp_path: Path, write: Any, tiny: None, prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "published" / "caltech-101"
    folder.mkdir(parents=True)
    write(folder / ARCHIVE)
    asked = []

    def download_and_extract(self: Any, address: str) -> Path:
        asked.append(address)
        return folder.parent

    manager = importlib.import_module("tensorflow_datasets").download.DownloadManager
    monkeypatch.setattr(manager, "download_and_extract", download_and_extract)
    assert prepare("caltech101_thesis").info.splits["train"].num_examples == 135
    assert asked == [
        "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1"
    ]


def test_checksum_of_that_zip_is_that_of_tfds(thesis: Any) -> None:
    theirs = importlib.import_module("tensorflow_datasets").builder_cls("caltech101").url_infos
    assert thesis.Caltech101Thesis.url_infos == {thesis.ADDRESS: theirs[thesis.ADDRESS]}


def test_unpacked_folder_is_read(manual_folder: Path, write: Any, tiny: None, prepare: Any) -> None:
    write(manual_folder / ARCHIVE)
    with tarfile.open(manual_folder / ARCHIVE) as packed:
        packed.extractall(manual_folder, filter="data")
    (manual_folder / ARCHIVE).unlink()
    assert prepare("caltech101_thesis").info.splits["test"].num_examples == 30


def test_another_number_of_pictures_is_refused(
    manual_folder: Path, write: Any, prepare: Any
) -> None:
    write(manual_folder / ARCHIVE)
    with pytest.raises(OriginalFileError, match="Expected 6,209 pictures.*Received: 194 pictures"):
        prepare("caltech101_thesis")


def test_missing_class_is_named(
    manual_folder: Path, write: Any, thesis: Any, prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(manual_folder / ARCHIVE, left_out=("ant",))
    monkeypatch.setattr(thesis, "NUM_IMAGES", 96 * COPIES)
    with pytest.raises(OriginalFileError, match=r"absent or unknown: \['ant'\]"):
        prepare("caltech101_thesis")


def test_truncated_archive_is_named(
    manual_folder: Path, write: Any, tiny: None, prepare: Any
) -> None:
    write(manual_folder / ARCHIVE)
    content = (manual_folder / ARCHIVE).read_bytes()
    (manual_folder / ARCHIVE).write_bytes(content[: len(content) // 2])
    with pytest.raises(OriginalFileError, match=rf"{ARCHIVE} to be a complete archive"):
        prepare("caltech101_thesis")
