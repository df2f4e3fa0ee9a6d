"""GTSRB from zips of the published layout, validation split by track."""

import importlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import load_gtsrb_tracks, load_target
from keras_reprogram.datasets.original_files import OriginalFileError

TRACKS, FRAMES = 2, 2


@pytest.fixture
def fetched(
    manual_folder: Path,
    picture: Callable[..., bytes],
    write_zip: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    gtsrb = importlib.import_module("keras_reprogram.datasets.builders.gtsrb")
    monkeypatch.setattr(gtsrb, "NUM_TRAIN", 43 * TRACKS * FRAMES)
    monkeypatch.setattr(gtsrb, "NUM_TEST", 43)
    train = {"GTSRB/Readme-Images.txt": b"x"}
    test = {"GTSRB/Final_Test/Images/GT-final_test.test.csv": b"Filename;Width\n"}
    answers = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for sign in range(43):
        folder = f"GTSRB/Final_Training/Images/{sign:05}"
        train[f"{folder}/GT-{sign:05}.csv"] = b"Filename;Width\n"
        for track in range(TRACKS):
            for frame in range(FRAMES):
                content = picture(5 * sign, "PPM", (17 + sign, 16))
                train[f"{folder}/{track:05}_{frame:05}.ppm"] = content
        test[f"GTSRB/Final_Test/Images/{sign:05}.ppm"] = picture(5 * sign, "PPM")
        answers.append(f"{sign:05}.ppm;20;15;1;1;9;9;{sign}")
    write_zip(manual_folder / "GTSRB_Final_Training_Images.zip", train)
    write_zip(manual_folder / "GTSRB_Final_Test_Images.zip", test)
    table = "\r\n".join(answers).encode()
    write_zip(manual_folder / "GTSRB_Final_Test_GT.zip", {"GT-final_test.csv": table})
    return manual_folder


@pytest.mark.slow
def test_no_track_is_in_two_splits_and_the_target_keeps_them(
    fetched: Path, prepare: Any, read: Any
) -> None:
    builder = prepare("gtsrb")
    assert builder.info.features["image"].shape == (32, 32, 3)
    assert builder.info.features["label"].names[14] == "stop"
    splits = read(builder)
    tracks = {split: {row["track"] for row in rows} for split, rows in splits.items()}
    assert not tracks["train"] & tracks["validation"]
    assert len(tracks["train"]) == 69
    assert len(tracks["validation"]) == 17
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [138, 34, 43]
    assert {row["label"] for row in splits["train"]} == set(range(43))
    for row in sum(splits.values(), []):
        assert np.unique(row["image"][..., 0]).tolist() == [5 * row["label"]]
    target = load_target("gtsrb")
    assert (len(target.train_labels), len(target.test_labels)) == (172, 43)
    groups = load_gtsrb_tracks()
    assert np.array_equal(groups, target.train_groups)
    assert len(np.unique(groups)) == 43 * TRACKS
    assert all(len(np.unique(target.train_labels[groups == group])) == 1 for group in groups)
    assert "by track" in target.notes[0]
    assert target.name == "gtsrb"


def test_nothing_fetched_says_what_to_fetch(data_folder: Path, prepare: Any) -> None:
    with pytest.raises(ValueError, match=r"gtsrb_32_sub\.npz") as caught:
        load_target("gtsrb")
    for part in ("GTSRB_Final_Test_GT.zip", "sid.erda.dk", "free for research"):
        assert part in str(caught.value)


def test_answers_alone_do_for_their_zip(fetched: Path, write_zip: Any, prepare: Any) -> None:
    (fetched / "GTSRB_Final_Test_GT.zip").unlink()
    with pytest.raises(OriginalFileError, match=r"GT-final_test\.csv or GTSRB_Final_Test_GT\*"):
        prepare("gtsrb")
    rows = "".join(f"{sign:05}.ppm;{sign}\n" for sign in range(43))
    (fetched / "GT-final_test.csv").write_text(f"Filename;ClassId\n{rows}")
    assert prepare("gtsrb").info.splits["test"].num_examples == 43


@pytest.mark.slow
def test_a_zip_beside_its_folder_is_read_once(fetched: Path, prepare: Any) -> None:
    with zipfile.ZipFile(fetched / "GTSRB_Final_Training_Images.zip") as archive:
        archive.extractall(fetched / "GTSRB_Final_Training_Images")
    assert prepare("gtsrb").info.splits["train"].num_examples == 138


def test_pictures_that_are_gone_are_counted(fetched: Path, prepare: Any) -> None:
    packed = fetched / "GTSRB_Final_Training_Images.zip"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(fetched / "GTSRB_Final_Training_Images")
    packed.unlink()
    next(fetched.rglob("00001_00001.ppm")).unlink()
    with pytest.raises(OriginalFileError, match="172 pictures.*Received: 171. Unpack or fetch"):
        prepare("gtsrb")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("Filename;ClassId\n" + 43 * "00000.ppm;43\n", "class from 0 to 42.*'43'"),
        ("Filename;ClassId\n00001.ppm;4\n", "43 pictures in GT-final_test.*Received: 1"),
        (
            "Filename;ClassId\n" + 43 * "00099.ppm;4\n",
            r"Final_Test/Images/00099\.ppm.*no such file",
        ),
        ("Filename;Width\n00000.ppm;4\n", "no ClassId"),
        ("Filename;ClassId\n00000.ppm", "cut off"),
    ],
)
def test_wrong_answers_are_refused(
    answers: str, message: str, fetched: Path, write_zip: Any, prepare: Any
) -> None:
    write_zip(fetched / "GTSRB_Final_Test_GT.zip", {"GT-final_test.csv": answers.encode()})
    with pytest.raises(OriginalFileError, match=message):
        prepare("gtsrb")


def test_missing_class_is_named(fetched: Path, write_zip: Any, prepare: Any) -> None:
    write_zip(fetched / "GTSRB_Final_Training_Images.zip", {"GTSRB/Readme.txt": b"x"})
    with pytest.raises(OriginalFileError, match=r"00000 to 00042.*\[0, 1, "):
        prepare("gtsrb")
