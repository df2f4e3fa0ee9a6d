"""The examples for boards and phones, each in an environment without TensorFlow and without us."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    ProgramLayer,
    ReprogrammedModel,
    embedded_path,
    export_litert,
)
from keras_reprogram.datasets import load_digits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EXAMPLES = Path(__file__).parents[2] / "examples" / "edge"
PILLOW = "pillow==13.0.0"
BOARD = ("tflite-runtime==2.14.0", "numpy==1.26.4", PILLOW)
PHONE = ("mediapipe==1.2.3", "numpy==2.4.6", PILLOW)
MICRO = ("tflite-micro==0.dev20261023182759", "numpy==2.4.6", PILLOW)
COUNT = 20
# Quotes, letters of other languages, and what C would read as one character.
NAMES = ("zero", "one", "zwei", 'thr"ee', "vier", "fünf", "six??/", "sept", "восемь", "nine")


class Digits:
    """A model, its files, and images of the test set as image files."""

    def __init__(self, folder):
        self.folder = folder
        data = load_digits().draw(train_images=600, test_images=COUNT, seed=0)
        self._calibration = data.train_images
        network = keras.models.load_model(embedded_path("traffic_signs.keras"))
        source = FrozenSource(network, value_range=(0, 255))
        program = ProgramLayer(
            data.target_shape, source.source_shape, source_range=(0, 255), target_range=(0, 255)
        )
        self.model = ReprogrammedModel(program, source, DenseMap(10), class_names=NAMES)
        self.model.fit_output_map(data.train_images, data.train_labels, verbose=0)
        scores = self.model.predict(data.test_images.astype("float32"), verbose=0)
        self.classes = [NAMES[index] for index in scores.argmax(axis=1)]
        self.images = [folder / f"{number}.png" for number in range(COUNT)]
        for file, image in zip(self.images, data.test_images, strict=True):
            Image.fromarray(image[..., 0].astype(np.uint8)).save(file)

    def file(self, target, form):
        path = self.folder / f"{target}-{form}.tflite"
        images = {} if form == "float32" else {"calibration_images": self._calibration}
        return export_litert(self.model, path, target=target, form=form, **images)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits(tmp_path_factory.mktemp("digits"))


def run(python, script, *arguments):
    """What a script prints, where neither TensorFlow nor this package can be imported."""
    alone = {**os.environ, "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    for package in ("tensorflow", "keras", "keras_reprogram"):
        there = [
            str(python),
            "-I",
            "-c",
            f"import importlib.util as u; print(u.find_spec('{package}'))",
        ]
        found = subprocess.run(there, capture_output=True, text=True, check=True, env=alone)
        assert found.stdout.strip() == "None"
    command = [python, EXAMPLES / script, *arguments]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=alone, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def named(digits, printed):
    """The class that is named first in each image's line."""
    lines = {line.partition(": ")[0]: line for line in printed.splitlines()}
    return [
        re.match(r".*?: (.*?) \(\d+\.\d%\)", lines[str(file)], re.DOTALL)[1]
        for file in digits.images
    ]


def agreement(digits, printed):
    pairs = zip(named(digits, printed), digits.classes, strict=True)
    return sum(one == other for one, other in pairs) / COUNT


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_a_raspberry_pi_names_the_models_classes(digits, environments, form) -> None:
    model = digits.file("tflite-runtime", form)
    printed = run(environments.python(*BOARD), "classify.py", model, *digits.images)
    assert agreement(digits, printed) >= (0.9 if form == "int8" else 1.0)


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="pip install mediapipe")
def test_mediapipe_names_the_models_classes(digits, environments) -> None:
    model = digits.file("mediapipe", "float16")
    python = environments.python(*PHONE)
    printed = run(python, "mediapipe_classify.py", model, *digits.images)
    assert agreement(digits, printed) == 1.0
    # Three classes each, the most probable one first.
    shares = re.findall(r"\((\d+\.\d)%\)", printed)
    assert len(shares) == 3 * COUNT


SHOW = """
#include <cstdio>
#include <cstring>
extern const std::size_t model_size, tensor_arena_size;
extern const char* const class_names[];
extern const unsigned char model[];
int main() {
  std::fwrite(model, 1, model_size, stdout);
  for (int i = 0; i < 10; ++i) std::fprintf(stderr, "%s\\n", class_names[i]);
  std::fprintf(stderr, "%zu %d", tensor_arena_size, int(reinterpret_cast<std::size_t>(model) % 16));
}
"""


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_microcontroller_names_the_models_classes(
    digits,
    environments,
    form,
    tmp_path,
) -> None:
    model = digits.file("microcontroller", form)
    source = tmp_path / "model.cc"
    options = ("--c-file", source)
    python = environments.python(*MICRO)
    printed = run(python, "microcontroller.py", model, *digits.images, *options)
    print(f"\n{form}: {printed.splitlines()[0]}\n{printed.splitlines()[1]}")
    assert agreement(digits, printed) >= (0.9 if form == "int8" else 1.0)
    size, arena = (int(part.replace(",", "")) for part in re.findall(r"([\d,]+) bytes", printed))
    assert 0 < arena < 64 << 20 and arena % 1024 == 0
    if (compiler := shutil.which("g++")) is None:
        return
    (tmp_path / "show.cc").write_text("#include <cstddef>\n" + SHOW)
    files = [str(source), str(tmp_path / "show.cc")]
    command = [compiler, "-std=c++17", "-Wall", "-Werror", *files, "-o", str(tmp_path / "show")]
    subprocess.run(command, check=True)
    shown = subprocess.run([str(tmp_path / "show")], capture_output=True, check=True)
    assert len(shown.stdout) == size
    assert model.read_bytes().startswith(shown.stdout)
    *names, numbers = shown.stderr.decode().split("\n")
    assert tuple(names) == NAMES
    assert numbers == f"{arena} 0"
