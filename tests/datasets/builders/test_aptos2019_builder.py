"""APTOS 2019 from Kaggle's zip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import load_target
from keras_reprogram.datasets.aptos2019 import GRADES
from keras_reprogram.datasets.original_files import OriginalFileError

ARCHIVE = "aptos2019-blindness-detection.zip"
ROWS = [(f"{k:012x}", k % 5) for k in range(30)]


@pytest.fixture
def contents(picture: Callable[..., bytes]) -> dict[str, bytes]:
    lines = ["id_code,diagnosis", *(f"{name},{grade}" for name, grade in ROWS)]
    # No two alike.
    pictures = {
        f"train_images/{name}.png": picture(50 * grade, "PNG", (20 + k, 15))
        for k, (name, grade) in enumerate(ROWS)
    }
    rest = {"test.csv": b"id_code\nx\n", "test_images/x.png": b"", "train.csv": b""}
    return rest | pictures | {"train.csv": "\n".join(lines).encode()}


@pytest.mark.slow
def test_grades_are_split_and_resized(
    manual_folder: Path, contents: dict[str, bytes], write_zip: Any, prepare: Any, read: Any
) -> None:
    write_zip(manual_folder / ARCHIVE, contents)
    target = load_target("aptos2019")
    assert (target.name, target.target_shape) == ("aptos2019", (224, 224, 3))
    assert target.class_names == GRADES
    assert (len(target.train_labels), len(target.test_labels)) == (24, 6)
    assert np.array_equal(target.train_images[:, 9, 9, 0], 50 * target.train_labels)
    splits = read(prepare("aptos2019"))
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [19, 5, 6]
    names = [row["image_id"].decode() for rows in splits.values() for row in rows]
    assert sorted(names) == [name for name, _ in ROWS]


def test_unpacked_folder_in_published_size(
    manual_folder: Path, contents: dict[str, bytes], prepare: Any
) -> None:
    folder = manual_folder / ARCHIVE.removesuffix(".zip")
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    builder = prepare("aptos2019/original")
    row = next(iter(builder.as_dataset(split="train").as_numpy_iterator()))
    assert row["image"].shape == (15, 20 + int(row["image_id"], 16), 3)


def test_one_picture_of_two_names_is_in_one_part(
    manual_folder: Path, contents: dict[str, bytes], write_zip: Any, prepare: Any, read: Any
) -> None:
    for k in range(0, 30, 2):
        one, other = (f"train_images/{name}.png" for name, _ in ROWS[k : k + 2])
        contents[other] = contents[one]
    write_zip(manual_folder / ARCHIVE, contents)
    for rows in read(prepare("aptos2019")).values():
        numbers = {int(row["image_id"], 16) for row in rows}
        assert numbers == {number ^ 1 for number in numbers}


def test_nothing_fetched_says_what_to_fetch(data_folder: Path, prepare: Any) -> None:
    with pytest.raises(ValueError, match="'aptos2019/224x224'") as caught:
        load_target("aptos2019")
    for part in (ARCHIVE, "kaggle.com/competitions/aptos2019", "non-commercial"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.csv": b"id_code,diagnosis\na,5\n"}, r"hold 0 to 4.*\['5'\]"),
        ({"train.csv": b"id_code,diagnosis\nq,1\n"}, r"one file q\.png.*none"),
        ({f"train_images/{ROWS[3][0]}.png": b"\x89PNG"}, "3.png to be a readable image"),
    ],
)
def test_wrong_contents_are_refused(
    changes: dict[str, bytes],
    message: str,
    manual_folder: Path,
    contents: dict[str, bytes],
    write_zip: Any,
    prepare: Any,
) -> None:
    write_zip(manual_folder / ARCHIVE, contents | changes)
    with pytest.raises(OriginalFileError, match=message):
        prepare("aptos2019")
