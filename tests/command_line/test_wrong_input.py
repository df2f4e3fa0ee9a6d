"""What a user can get wrong: exit code 2, a message that helps, no traceback, nothing left."""

from pathlib import Path

import numpy as np
import pytest
from command_runs import Command, TrainedRun

from keras_reprogram import embedded_path

TRAIN = ("train", "--source", "traffic-signs", "--opaque", "--target", "digits")
FEW = ("--train-images", 40, "--test-images", 20)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--target", "digits"), "Missing option '--source'"),
        (("fly",), "No such command 'fly'"),
        ((*TRAIN, "--num-views", 0), "--num-views"),
        ((*TRAIN, "--output-map", "sparse"), "'frequency'"),
        ((*TRAIN, "--image-size", 20), "--image-size is for --placement center"),
        ((*TRAIN, "--labels-per-class", 2), "--labels-per-class is for"),
        (
            (*TRAIN, "--output-map", "bayesian", "--labels-per-class", 2),
            "--output-map frequency, iterative, random",
        ),
        (
            (*TRAIN, "--placement", "full", "--num-views", 2),
            "--placement views or gentle-views only",
        ),
        ((*TRAIN, "--value-range", "1"), "Write 0,255 or 0,1 or -1,1"),
        ((*TRAIN, "--name", "../up"), "the name of a folder"),
        ((*TRAIN, "--json", "no/such/folder/a.json"), "--json must be a file"),
        ((*TRAIN, *FEW, "--output-map", "new-head"), "shows scores only"),
        ((*TRAIN, "--train-images", 5000), "Cannot draw 5000 training images"),
        (
            (*TRAIN, *FEW, "--output-map", "frequency", "--labels-per-class", 5),
            "Pass `labels_per_class=4`",
        ),
        (("train", "--source", "MobilNetV2", "--target", "digits"), "Did you mean MobileNetV2"),
        (("train", "--source", "no/file.keras", "--target", "digits"), "no such file or folder"),
        (
            ("train", "--source", "MobileNet:weights=none,depth=7", "--target", "digits"),
            "cannot be built",
        ),
        (("train", "--source", "MobileNet:alpha", "--target", "digits"), "name=value"),
        (("train", "--source", "traffic-signs", "--target", "./nowhere"), "no such folder"),
        (("evaluate", "nowhere"), "There is no run folder nowhere"),
        (("inspect", "nowhere.reprogram"), "There is no program file"),
        (("export", "nowhere"), "There is no run folder nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_message(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    ended = command(*arguments)

    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.keras", b"no model"), ("a.tflite", b"no model"), ("folder", None)],
)
def test_broken_source_files(
    command: Command, tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    ended = command("inspect", path)

    assert ended.code == 2
    assert str(path) in ended.err
    assert "Traceback" not in ended.err


def test_source_that_is_another_range_than_said(command: Command, tmp_path: Path) -> None:
    ended = command(
        *("train", "--source", embedded_path("traffic_signs.keras"), "--target", "digits"),
        *("--value-range", "5,5", "--output", tmp_path / "runs"),
    )

    assert ended.code == 2
    assert "'5,5'" in ended.err


def test_folder_without_a_run(command: Command, tmp_path: Path) -> None:
    ended = command("predict", tmp_path, tmp_path)

    assert ended.code == 2
    assert "is not a run folder" in ended.err


def test_run_of_another_format(command: Command, opaque_run: TrainedRun, tmp_path: Path) -> None:
    (tmp_path / "program.reprogram").touch()
    facts = tmp_path / "run.json"
    facts.write_text('{"format": 99}')
    assert "format 1" in command("evaluate", tmp_path).err
    facts.write_text("{")
    assert "is corrupt" in command("evaluate", tmp_path).err
    facts.write_bytes((opaque_run.folder / "run.json").read_bytes())
    ended = command("evaluate", tmp_path)
    assert ended.code == 2
    assert "is not a program file" in ended.err


@pytest.mark.parametrize("name", ["missing.png", "empty", "text.png"])
def test_images_that_are_none(
    command: Command, opaque_run: TrainedRun, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    ended = command("predict", opaque_run.folder, tmp_path / name)

    assert ended.code == 2
    assert str(tmp_path / name) in ended.err
    assert "Traceback" not in ended.err


def test_overwrite_leaves_a_foreign_folder_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    ended = command(*TRAIN, "--output", tmp_path, "--name", "precious", "--overwrite")

    assert ended.code == 2
    assert "is not a run folder" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


@pytest.mark.usefixtures("undrawn_figures")
def test_full_disk(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is there to keep; `test_train_command.py` has a report that finds no room."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "program.reprogram")

    monkeypatch.setattr("keras_reprogram.command_line.training_run.save_program", refuse)
    ended = command(*TRAIN, *FEW, "--no-baseline", "--output", tmp_path / "runs")

    assert ended.code == 2
    assert ended.err.endswith("Error: No space left on device: program.reprogram.\n")
    assert list(tmp_path.iterdir()) == []


def test_source_that_answers_nonsense(command: Command, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(4, activation="softmax"))
    model.layers[-1].bias.assign(np.full(4, np.nan))
    path = tmp_path / "nan.keras"
    model.save(path)
    ended = command("train", "--source", path, "--target", "digits", "--output", tmp_path / "runs")

    assert ended.code == 2
    assert "NaN" in ended.err
