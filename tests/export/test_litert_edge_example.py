"""examples/edge/classify.py, in a process where TensorFlow and Keras cannot be imported."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_models import small_model
from typer.testing import CliRunner

from keras_reprogram import export_litert
from keras_reprogram.command_line.app import app

FOLDER = Path(__file__).parents[2] / "examples" / "edge"
NAMES = ("dark", "grey", "light")

WITHOUT_TENSORFLOW = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "keras_reprogram"):
            raise ImportError(f"{name} is not on this device")

sys.meta_path.insert(0, Blocked())
script, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


def classify(*arguments):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(FOLDER / "classify.py"), *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", pytest.param("int8", marks=pytest.mark.slow)])
def test_image_files_are_classified_without_tensorflow(form, tmp_path) -> None:
    model = small_model(class_names=NAMES)
    pixels = np.array([20, 40, 120, 140, 210, 230], np.uint8)
    images = np.broadcast_to(pixels[:, None, None, None], (6, 4, 4, 1))
    path = export_litert(
        model, tmp_path / "a.tflite", form=form, calibration_images=np.repeat(images, 12, axis=0)
    )
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file, image in zip(files, images, strict=True):
        # A colour picture of another size: the script makes it fit.
        Image.fromarray(np.broadcast_to(image[:1, :1], (9, 12, 3))).save(file)
    done = classify(path, *files)
    assert done.returncode == 0, done.stderr
    expected = model.predict(images.astype("float32"), verbose=0)
    for line, file, scores in zip(done.stdout.splitlines(), files, expected, strict=True):
        name, share = re.fullmatch(rf"{re.escape(str(file))}: (\w+) \((.*)%\)", line).groups()
        assert name == NAMES[scores.argmax()]
        assert float(share) == pytest.approx(
            100 * scores.max(), abs=0.1 if form == "float32" else 5
        )


def test_usage_is_printed() -> None:
    done = classify()
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python classify.py")


@pytest.mark.slow
def test_the_readmes_commands_make_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = (FOLDER / "README.md").read_text().split("```")[1]
    for line in block.strip().splitlines():
        command = line.split()
        assert command.pop(0) == "keras-reprogram"
        if command[0] == "train":
            command += ["--train-images", "300", "--test-images", "50", "--epochs", "0"]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    file = tmp_path / "digits.tflite"
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    done = classify(file, tmp_path / "one.png")
    assert done.returncode == 0, done.stderr
    assert re.search(r"one.png: \d \(", done.stdout)
