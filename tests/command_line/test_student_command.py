"""`keras-reprogram student`: a file that asks nothing, from a run and images without a label."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from command_runs import Command, TrainedRun
from PIL import Image

from keras_reprogram.datasets import load_digits

LOCAL = ("--local", "traffic-signs")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Twelve digits that nobody labelled."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for number, image in enumerate(load_digits().test_images[-12:, ..., 0]):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.slow
def test_a_run_teaches_a_network(
    command: Command, opaque_run: TrainedRun, files: Path, tmp_path: Path
) -> None:
    output, figures = tmp_path / "student.keras", tmp_path / "student.json"
    ended = command(
        *("student", opaque_run.folder, files, *LOCAL, "--query-budget", 20),
        *("--output", output, "--json", figures),
    )
    assert ended.code == 0, ended.err
    assert ended.out.rstrip().endswith(str(output))
    facts = json.loads(figures.read_text())
    # Two views an image.
    assert facts["queries"] == 20
    assert (facts["images without, answered"], facts["images without, not answered"]) == (10, 2)
    assert facts["kept"] in ("student", "true labels alone")
    model = keras.models.load_model(output)
    images = load_digits().test_images[:50].astype("float32")
    accuracy = np.mean(model.predict(images, verbose=0).argmax(1) == load_digits().test_labels[:50])
    assert accuracy > 0.6 and facts["test accuracy, kept"] > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--query-budget", 1), "pay for one image at least"),
        ((), "query_budget=0"),
        (("--local", "model.tflite"), "model.tflite"),
        (("--output", "student.h5"), "--output must be a .keras or .tflite file"),
        (("nowhere/",), "There is no file"),
    ],
)
def test_wrong_input_names_the_way_out(
    command: Command, opaque_run: TrainedRun, tmp_path: Path, options: tuple, message: str
) -> None:
    given = {"--local": "traffic-signs", "--output": tmp_path / "one.keras"}
    further = tuple(part for pair in given.items() if pair[0] not in options for part in pair)
    ended = command("student", opaque_run.folder, *options, *further)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
