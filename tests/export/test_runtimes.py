"""Other people's runtimes run the files that are written for them, and find the model's classes.

Each runtime has an environment of its own, in which this package and TensorFlow are not. The table
of docs/runtimes.md is what `pytest -s -m slow tests/export/test_runtimes.py` prints at its end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    ProgramLayer,
    ReprogrammedModel,
    embedded_path,
    export_litert,
    export_saved_model,
)
from keras_reprogram.datasets import load_cifar10, load_digits
from keras_reprogram.export import TARGETS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROGRAMS = Path(__file__).parent / "runtimes"
FORMS = ("float32", "float16", "int8")
COUNT = 50


@dataclass(frozen=True)
class Runtime:
    """A runtime in versions that were seen to work together, and what its files are made for.

    Without `packages` it is that of this environment.
    `promised` are the forms that the export promises to run on it: others compute with 8-bit
    numbers in ways of their own.
    """

    title: str
    program: str
    packages: tuple[str, ...]
    target: str
    options: dict[str, int] = field(default_factory=dict)
    promised: tuple[str, ...] = FORMS


NUMPY, LITERT = "numpy==2.4.6", "ai-edge-litert==2.3.0"
INTERPRETER = Runtime(
    "ai-edge-litert 2.3.0, Interpreter", "ai_edge_litert_interpreter", (LITERT, NUMPY), "litert"
)
RUNTIMES = (
    INTERPRETER,
    Runtime(
        "ai-edge-litert 2.3.0, CompiledModel",
        "ai_edge_litert_compiled_model",
        (LITERT, NUMPY),
        "litert",
        {"batch": 1},
    ),
    Runtime(
        "tflite-runtime 2.14.0",
        "tflite_runtime_interpreter",
        ("tflite-runtime==2.14.0", "numpy==1.26.4"),
        "tflite-runtime",
    ),
    Runtime(
        "MediaPipe 1.2.3", "mediapipe_image_classifier", ("mediapipe==1.2.3", NUMPY), "mediapipe"
    ),
    Runtime(
        "MediaPipe 0.10.21",
        "mediapipe_image_classifier",
        ("mediapipe==0.10.21",),
        "mediapipe",
    ),
    Runtime(
        "TFLite Micro 0.dev20261023182759",
        "tflite_micro_interpreter",
        ("tflite-micro==0.dev20261023182759", NUMPY),
        "microcontroller",
    ),
    Runtime(
        "OpenVINO 2026.4.1",
        "openvino_model",
        ("openvino==2026.4.1", NUMPY),
        "litert",
        promised=("float32", "float16"),
    ),
    # tf2onnx needs TensorFlow: here it is the one that exports.
    Runtime(
        "tf2onnx, onnxruntime", "onnxruntime_session", (), "litert", promised=("float32", "float16")
    ),
)
TENSORFLOW = Runtime(
    "TensorFlow 2.15.1 (version folder)",
    "tensorflow_saved_model",
    ("tensorflow-cpu==2.15.1",),
    "saved-model",
    promised=("float32",),
)


@dataclass
class Subject:
    """A model, images of the test set, its own answers, and its exports.

    `disagreeing` are the forms that the export does not keep, since they are not the model.
    """

    title: str
    model: ReprogrammedModel
    images: np.ndarray
    calibration: dict[str, np.ndarray]
    folder: Path
    disagreeing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.expected = self.model.predict(self.images, verbose=0)
        np.save(self.images_file, self.images)

    @property
    def images_file(self) -> Path:
        return self.folder / "images.npy"

    def file(self, runtime: Runtime, form: str) -> Path:
        options = "".join(f"-{name}{value}" for name, value in runtime.options.items())
        path = self.folder / f"{runtime.target}-{form}{options}.tflite"
        if not path.exists():
            export_litert(
                self.model,
                path,
                target=runtime.target,
                form=form,
                **runtime.options,
                **({} if form == "float32" else self.calibration),
            )
        return path


@pytest.fixture(scope="module")
def table() -> Iterator[dict[tuple[str, str, str], str]]:
    """Cells by runtime, subject and form; printed at the end."""
    cells: dict[tuple[str, str, str], str] = {}
    yield cells
    columns = list(dict.fromkeys((subject, form) for _, subject, form in cells))
    print("\n\n| runtime | " + " | ".join(" ".join(column) for column in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for title in dict.fromkeys(title for title, _, _ in cells):
        row = [cells.get((title, *column), "") for column in columns]
        print(f"| {title} | " + " | ".join(row) + " |")


def fitted(title, data, source, program, folder, **options) -> Subject:
    model = ReprogrammedModel(program, source, DenseMap(10), class_names=data.class_names)
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    held_out = data.test_images[COUNT:]
    calibration = {
        "calibration_images": data.train_images,
        "held_out_images": held_out,
        "held_out_labels": data.test_labels[COUNT:],
        # What a form costs on these images is what the table says.
        "least_agreement": 0.85,
    }
    images = data.test_images[:COUNT].astype("float32")
    return Subject(title, model, images, calibration, folder, **options)


@pytest.fixture(scope="module")
def digits_subject(tmp_path_factory) -> Subject:
    """Grey images through the embedded source, three views."""
    data = load_digits().draw(train_images=1000, test_images=350, seed=0)
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255))
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=(0, 255),
        target_range=(0, 255),
        num_views=3,
        placement="views",
    )
    return fitted("digits", data, source, program, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def cifar_subject(tmp_path_factory) -> Subject:
    """Colours through MobileNet, alpha .25 at 128 pixels, one view."""
    for name in ("KERAS_HOME", "KERAS_REPROGRAM_DATA"):
        if not os.environ.get(name):
            pytest.skip(f"set {name}: pre-trained weights and real data sets are needed")
    data = load_cifar10().draw(train_images=1000, test_images=350, seed=0)
    source = FrozenSource.from_application("MobileNet", alpha=0.25, input_shape=(128, 128, 3))
    program = ProgramLayer(
        data.target_shape, source.source_shape, source_range=(0, 255), target_range=(0, 255)
    )
    folder = tmp_path_factory.mktemp("cifar")
    # A view of a weak model: its classes are too near to each other for 8 bits.
    return fitted("CIFAR-10", data, source, program, folder, disagreeing=("int8",))


@pytest.fixture(scope="module", params=["digits_subject", "cifar_subject"])
def subject(request) -> Subject:
    return request.getfixturevalue(request.param)


class Answers:
    """What a runtime's program said of the images, or why it said nothing."""

    def __init__(self, python: Path, runtime: Runtime, model: Path, subject: Subject) -> None:
        answers = subject.folder / f"{runtime.program}.npz"
        answers.unlink(missing_ok=True)
        program = PROGRAMS / f"{runtime.program}.py"
        # One thread each, so that their times can be compared.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        done = subprocess.run(
            [str(python), str(program), str(model), str(subject.images_file), str(answers)],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
        )
        self.error = done.stderr.strip()[-1000:]
        if not answers.exists():
            assert done.returncode, "a program that ends well writes its answers"
            return
        found = np.load(answers)
        self.error = ""
        self.milliseconds = float(found["milliseconds"])
        classes = found["scores"].argmax(axis=1)
        self.same = float(np.mean(classes == subject.expected.argmax(axis=1)))
        self.difference = float(np.abs(found["scores"] - subject.expected).max())

    def beside(self, reference: Answers) -> str:
        """Agreement with Keras, largest difference, and the time in times of the reference's."""
        times = self.milliseconds / reference.milliseconds
        return f"{self.same:.2f}, {self.difference:.0e}, {times:.2g}×"


@pytest.fixture
def asked(subject, environments):
    """Asks a runtime, and ai-edge-litert just after it, since its times are what others' are of."""

    def ask(runtime: Runtime, form: str, model: Path) -> tuple[Answers, str]:
        answers = Answers(python_of(runtime, environments), runtime, model, subject)
        if answers.error:
            return answers, "no: " + answers.error.splitlines()[-1]
        python = python_of(INTERPRETER, environments)
        reference = Answers(python, INTERPRETER, subject.file(INTERPRETER, form), subject)
        return answers, answers.beside(reference)

    return ask


def python_of(runtime: Runtime, environments) -> Path:
    return environments.python(*runtime.packages) if runtime.packages else Path(sys.executable)


def skip_without_metadata_writer(runtime: Runtime) -> None:
    if TARGETS[runtime.target].metadata and importlib.util.find_spec("mediapipe") is None:
        pytest.skip("pip install mediapipe: the export writes metadata with its schema")


# Of the most probable class, on 50 images; the export itself promises no more than this.
LEAST = {"float32": 1.0, "float16": 0.96, "int8": 0.85}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.title)
def test_a_runtime_finds_the_models_classes(subject, runtime, form, asked, table, capsys) -> None:
    skip_without_metadata_writer(runtime)
    cell = (runtime.title, subject.title, form)
    if form in TARGETS[runtime.target].refused:
        with pytest.raises(ValueError, match="nothing was written"):
            subject.file(runtime, form)
        table[cell] = f"refused: {TARGETS[runtime.target].refused[form]}"
        return
    if form in subject.disagreeing:
        with pytest.raises(ValueError, match="does not agree with the model") as refusal:
            subject.file(runtime, form)
        share = re.search(r"Received: ([\d.]+)% of 300 images", str(refusal.value))[1]
        table[cell] = f"refused by the export: {share}% agree"
        return
    answers, table[cell] = asked(runtime, form, subject.file(runtime, form))
    with capsys.disabled():
        print(f"\n{': '.join((*cell, table[cell]))}")
    if form in runtime.promised:
        assert not answers.error, answers.error
        assert answers.same >= LEAST[form]
        assert form != "float32" or answers.difference < 1e-4


def test_an_older_tensorflow_reads_the_version_folder(subject, asked, table) -> None:
    folder = export_saved_model(subject.model, subject.folder / "versions").folder
    answers, said = asked(TENSORFLOW, "float32", folder)
    table[TENSORFLOW.title, subject.title, "float32"] = said
    assert not answers.error, answers.error
    assert answers.same == 1.0 and answers.difference < 1e-4


def test_mediapipes_own_tools_read_the_metadata_and_add_to_it(subject, environments) -> None:
    (runtime,) = (one for one in RUNTIMES if one.title == "MediaPipe 0.10.21")
    skip_without_metadata_writer(runtime)
    file, written = subject.file(runtime, "float32"), subject.folder / "written.tflite"
    program = PROGRAMS / "mediapipe_metadata_writer.py"
    command = [str(python_of(runtime, environments)), str(program), str(file), str(written)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = json.loads(done.stdout)
    # They reckon the oldest parser themselves, and find what was written.
    assert ours == theirs
    assert ours["name"] == file.stem
    (image,) = ours["subgraph_metadata"][0]["input_tensor_metadata"]
    assert image["process_units"][0]["options"] == {"mean": [0.0], "std": [1.0]}
    assert image["content"]["content_properties"]["color_space"] == "RGB"
    (scores,) = ours["subgraph_metadata"][0]["output_tensor_metadata"]
    assert scores["associated_files"][0]["name"] == "class_names.txt"
    with zipfile.ZipFile(written) as archive:
        names = archive.namelist()
    assert names == ["class_names.txt", "keras_reprogram.json", "labels.txt"]
