"""An `.onnx` file through the commands: train, predict, score, export, serve's halves."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from command_runs import Command, Ended
from onnx_files import write_onnx
from PIL import Image

from keras_reprogram.command_line import training_run
from keras_reprogram.command_line.serve import _source as served_source
from keras_reprogram.command_line.source_settings import read_settings
from keras_reprogram.export import onnx_export, read_onnx_facts

RANGE = ("--value-range", "0,255")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, command: Command) -> tuple[Path, Path]:
    """The network and the run."""
    folder = tmp_path_factory.mktemp("onnx")
    network = write_onnx(folder / "net.onnx")
    with pytest.MonkeyPatch.context() as monkeypatch:
        # The page takes longer than the training.
        monkeypatch.setattr(training_run, "write_run_page", lambda *arguments: None)
        ended = train(command, network, folder)
    assert ended.code == 0, ended.err
    return network, folder / "run"


def train(command: Command, network: Path, folder: Path) -> Ended:
    return command(
        *("train", "--source", network, *RANGE, "--target", "digits", "--opaque"),
        *("--train-images", 60, "--test-images", 40, "--no-baseline"),
        *("--output", folder, "--name", "run", "--quiet"),
    )


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(0, 256, 4, np.uint8).reshape(8, 8)).save(path)
    return path


def test_one_file_answers_as_predict_and_score(
    command: Command,
    trained: tuple[Path, Path],
    digit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_here(what: str, script: object, file: str, exchange: str, **options: object) -> None:
        script.check(Path(file), Path(exchange))

    # A fresh process checks exports in tests/export.
    monkeypatch.setattr(onnx_export, "run_afresh", run_here)
    network, run = trained
    arguments = ("export", run, "--format", "onnx", "--output", tmp_path / "whole")
    ended = command(*arguments)
    assert ended.code == 0, ended.err
    whole = tmp_path / "whole.onnx"
    assert ended.out.splitlines() == [str(whole)]
    assert "accuracy" in read_onnx_facts(whole)["metrics"]
    pixels = np.asarray(Image.open(digit), np.float32)[None, ..., None]
    (scores,) = onnxruntime.InferenceSession(str(whole)).run(None, {"image": pixels})

    predicted = command("predict", run, digit, "--quiet").out.splitlines()[1]
    assert predicted == f"{digit},{scores[0].argmax()},{scores[0].max():.4f}"
    program = run / "program.reprogram"
    folder = tmp_path / "scores"
    scored = command(
        *("score", program, digit, "--source", network, *RANGE, "--output", folder, "--quiet")
    )
    assert scored.code == 0, scored.err
    (file,) = (folder / "scores").iterdir()
    row = json.loads(file.read_text())
    np.testing.assert_allclose(row["probabilities"], scores[0], atol=1e-5)

    again = command(*arguments)
    assert again.code == 2 and "--overwrite" in again.err
    assert command(*arguments, "--overwrite").code == 0


def test_other_formats_name_this_one(
    command: Command, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    output = ("--output", tmp_path / "whole")
    ended = command("export", trained[1], *output)
    assert ended.code == 2 and "Around an .onnx file: --format onnx." in ended.err
    ended = command("export", trained[1], "--format", "onnx", "--litert-form", "int8", *output)
    assert ended.code == 2 and "Received: --litert-form int8" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_takes_it_for_free(trained: tuple[Path, Path]) -> None:
    source = served_source(str(trained[0]), read_settings(value_range="0,255"))
    assert not source.costs_queries and source.num_labels == 6


def test_inspect_says_what_it_becomes(command: Command, trained: tuple[Path, Path]) -> None:
    ended = command("inspect", trained[0], *RANGE)
    assert ended.code == 0, ended.err
    assert "ONNXSource" in ended.out and "as an .onnx file" in ended.out
    ended = command("inspect", trained[0])
    assert ended.code == 2 and "--value-range 0,255 or 0,1 or -1,1" in ended.err
