"""What can be done with a run folder: evaluate, predict, export, inspect."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from command_runs import Command, TrainedRun
from odd_files import deep_files
from PIL import Image

from keras_reprogram.datasets import load_digits
from keras_reprogram.export import saved_model


@pytest.fixture(scope="module")
def digit_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten test digits as files, four times as large and in colour."""
    folder = tmp_path_factory.mktemp("digits")
    digits = load_digits()
    for label in range(10):
        first = int(np.argmax(digits.test_labels == label))
        image = Image.fromarray(digits.test_images[first, ..., 0])
        image.resize((32, 32), Image.Resampling.NEAREST).convert("RGB").save(
            folder / f"{label}.png"
        )
    return folder


def test_evaluate_finds_the_accuracy_of_the_run(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    ended = command("evaluate", opaque_run.folder, "--json", figures)

    assert ended.code == 0, ended.err
    measured = json.loads(figures.read_text())
    trained = json.loads((opaque_run.folder / "run.json").read_text())
    assert measured["confusion_matrix"] == trained["metrics"]["confusion_matrix"]
    assert measured["queries"] == 60 * 2
    assert f"{measured['accuracy']:.3f} (95 %:" in ended.out
    assert "sensitivity" in ended.out


def test_evaluate_draws_from_another_target(
    command: Command, opaque_run: TrainedRun, digit_files: Path, tmp_path: Path
) -> None:
    for number in range(5):
        for label in range(10):
            folder = tmp_path / "folders" / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.open(digit_files / f"{label}.png").convert("L").resize((8, 8))
            image.save(folder / f"{number}.png")
    ended = command("evaluate", opaque_run.folder, "--target", tmp_path / "folders", "--quiet")

    assert ended.code == 0, ended.err
    assert "run on folders" in ended.out


def test_evaluate_refuses_other_classes(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("L", (8, 8), 40 * number).save(tmp_path / name / f"{number}.png")
    ended = command("evaluate", opaque_run.folder, "--target", tmp_path)

    assert ended.code == 2
    assert "--target must have the classes that the run learned" in ended.err
    assert "cat, dog" in ended.err


def test_predict_writes_one_line_a_file(
    command: Command, opaque_run: TrainedRun, digit_files: Path, tmp_path: Path
) -> None:
    every = tmp_path / "every.json"
    ended = command(
        "predict", opaque_run.folder, digit_files, digit_files / "7.png", "--json", every
    )

    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(ended.out.splitlines()))
    assert [row["file"] for row in rows] == [
        *(str(digit_files / f"{label}.png") for label in range(10)),
        str(digit_files / "7.png"),
    ]
    assert rows[7] == rows[10]
    assert sum(Path(row["file"]).stem == row["class"] for row in rows) >= 6
    for row, facts in zip(rows, json.loads(every.read_text()), strict=True):
        assert facts["class"] == row["class"]
        assert abs(sum(facts["probabilities"].values()) - 1) < 1e-5
        assert abs(float(row["probability"]) - max(facts["probabilities"].values())) < 1e-4


def test_predict_names_what_it_cannot_read_and_goes_on(
    command: Command, opaque_run: TrainedRun, digit_files: Path, tmp_path: Path
) -> None:
    """Whole photographs beside a broken one, and a 16-bit one of a run that knows 8 bits."""
    for name in ("2.png", "7.png"):
        shutil.copy(digit_files / name, tmp_path / name)
    (tmp_path / "1 broken.png").write_bytes((digit_files / "1.png").read_bytes()[:99])
    (tmp_path / "5 deep.png").write_bytes(deep_files(4095)["grey"])
    alone = command("predict", opaque_run.folder, tmp_path / "2.png", tmp_path / "7.png")
    every = tmp_path / "every.json"
    ended = command("predict", opaque_run.folder, tmp_path, "--json", every, "--quiet")

    assert ended.code == 2
    assert ended.out == alone.out
    assert len(json.loads(every.read_text())) == 2
    errors = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2
    assert "1 broken.png to be a readable image" in errors[0]
    assert "5 deep.png to hold levels in 0..255" in errors[1]
    assert "2 of 4 files could not be read." in ended.err


def test_evaluate_reads_files_in_the_range_of_the_run(
    command: Command, opaque_run: TrainedRun, digit_files: Path, tmp_path: Path
) -> None:
    """16-bit files whose levels are the 8-bit ones are the same images; brighter ones are not."""
    for kind, factor in (("same", 1), ("brighter", 16)):
        for number in range(2 * 10):
            image = Image.open(digit_files / f"{number % 10}.png").convert("L").resize((8, 8))
            folder = tmp_path / kind / str(number % 10)
            folder.mkdir(parents=True, exist_ok=True)
            levels = np.asarray(image, np.uint16) * factor
            Image.fromarray(levels).save(folder / f"{number}.png")
    assert command("evaluate", opaque_run.folder, "--target", tmp_path / "same").code == 0
    ended = command("evaluate", opaque_run.folder, "--target", tmp_path / "brighter")
    assert ended.code == 2
    assert "hold levels in 0..255" in ended.err


def test_export_of_an_opaque_run_needs_an_equivalent(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    ended = command("export", opaque_run.folder, "--output", tmp_path / "model")

    assert ended.code == 2
    assert "add --source traffic-signs" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_export_writes_what_predict_says(
    command: Command,
    opaque_run: TrainedRun,
    digit_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A fresh process checks exports in tests/export.
    monkeypatch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
    model = tmp_path / "model"
    arguments = ("export", opaque_run.folder, "--source", "traffic-signs", "--output", model)
    ended = command(*arguments)

    assert ended.code == 0, ended.err
    litert = tmp_path / "model.tflite"
    assert ended.out.splitlines() == [str(model / "1"), str(litert)]
    assert (model / "1" / "saved_model.pb").is_file()

    image = np.asarray(Image.open(digit_files / "3.png").convert("L").resize((8, 8)), np.float32)
    runner = Interpreter(model_path=str(litert)).get_signature_runner("serving_default")
    exported = runner(image=image[None, ..., None])["scores"]
    small = tmp_path / "3.png"
    Image.fromarray(image.astype(np.uint8)).save(small)
    predicted = command("predict", opaque_run.folder, small, "--quiet").out.splitlines()[1]
    best = exported.argmax()
    assert predicted == f"{small},{best},{exported[0, best]:.4f}"

    again = command(*arguments)
    assert again.code == 2
    assert "--overwrite" in again.err
    later = command(*arguments, "--format", "saved-model")
    assert later.out.splitlines() == [str(model / "2")]


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (("microcontroller", "--litert-form", "float16"), r'with `form="float16"`'),
        (("mediapipe", "--batch", 4), "Received: `batch=4` (--batch 4)"),
        (("browser", "--format", "both"), "Received: --format both"),
        (("browser", "--rgb-input"), "Received: `rgb_input=True`"),
        (("ios", "--cdn"), "Received: --cdn with --for ios"),
        (("android", "--format", "saved-model"), "Received: --for android with --format"),
    ],
)
def test_what_a_runtime_cannot_take_is_refused_before_anything_is_written(
    command: Command,
    opaque_run: TrainedRun,
    tmp_path: Path,
    options: tuple[object, ...],
    received: str,
) -> None:
    place = ("--source", "traffic-signs", "--output", tmp_path / "model")
    ended = command("export", opaque_run.folder, *place, "--for", *options)
    assert ended.code == 2
    assert received in " ".join(ended.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_schema_is_said_before_the_saved_model_is_written(
    command: Command, opaque_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mediapipe" else find(name)
    )
    place = ("--source", "traffic-signs", "--output", tmp_path / "model")
    ended = command("export", opaque_run.folder, *place, "--for", "android", "--format", "both")
    assert ended.code == 2
    assert "pip install 'keras-reprogram[mediapipe]'" in " ".join(ended.err.split())
    assert list(tmp_path.iterdir()) == []


def test_inspect_shows_run_program_and_source(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    run = command("inspect", opaque_run.folder)
    assert run.code == 0, run.err
    for fact in ("traffic-signs (opaque)", "8 x 8 x 1", "accuracy, map only", "queries, map only"):
        assert fact in run.out

    facts = tmp_path / "facts.json"
    program = command("inspect", opaque_run.folder / "program.reprogram", "--json", facts)
    assert program.code == 0, program.err
    assert json.loads(facts.read_text())["output map"] == "DenseMap"
    assert json.loads(facts.read_text())["queries used"] == 200

    source = command("inspect", "traffic-signs")
    assert source.code == 0, source.err
    assert "43: speed limit 20" in source.out


def test_inspect_of_a_run_does_not_need_its_source(
    command: Command, opaque_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("sources", "inspect"):
        monkeypatch.setattr(f"keras_reprogram.command_line.{place}.resolve_source", None)

    assert command("inspect", opaque_run.folder).code == 0


def test_another_source_is_refused(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("program.reprogram", "report.html"):
        (changed / name).write_bytes((opaque_run.folder / name).read_bytes())
    facts = json.loads((opaque_run.folder / "run.json").read_text())
    facts["source"]["opaque"] = False
    (changed / "run.json").write_text(json.dumps(facts))
    ended = command("evaluate", changed)

    assert ended.code == 2
    assert "another source" in ended.err
