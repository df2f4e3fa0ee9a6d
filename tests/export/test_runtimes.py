"""Other people's runtimes run the files that are written for them, and find the model's classes.

Each runtime has an environment of its own, in which this package and TensorFlow are not. The table
of docs/runtimes.md is what `pytest -s -m slow tests/export/test_runtimes.py` prints at its end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_sources

import keras_reprogram
from keras_reprogram import (
    DenseMap,
    ProgramLayer,
    ReprogrammedModel,
    export_litert,
    export_saved_model,
    save_program,
)
from keras_reprogram.datasets import load_cifar10, load_digits
from keras_reprogram.export import TARGETS, export_browser_page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROGRAMS = Path(__file__).parent / "runtimes"
# MLflow's processes import the package from where it is here, beside packages seen from here.
PACKAGE = Path(keras_reprogram.__file__).parents[1]
FORMS = ("float32", "float16", "int8")
COUNT = 50


@dataclass(frozen=True)
class Runtime:
    """A runtime in versions that were seen to work together, and what its files are made for.

    Without `packages` it is that of this environment.
    `promised` are the forms that the export promises to run on it: others compute with 8-bit
    numbers in ways of their own. `seeing` is whether it runs this package, too.
    """

    title: str
    program: str
    packages: tuple[str, ...]
    target: str
    options: dict[str, int] = field(default_factory=dict)
    promised: tuple[str, ...] = FORMS
    seeing: bool = False


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
        f"onnxruntime {version('onnxruntime')}, through tf2onnx {version('tf2onnx')}",
        "onnxruntime_session",
        (),
        "litert",
        promised=("float32", "float16"),
    ),
)
TENSORFLOW = Runtime(
    "TensorFlow 2.15.1, of the version folder",
    "tensorflow_saved_model",
    ("tensorflow-cpu==2.15.1",),
    "saved-model",
    promised=("float32",),
)
# It also sees the packages that are here: Keras, TensorFlow and what else this package needs.
MLFLOW = Runtime(
    "MLflow 3.17.2, of the program file",
    "mlflow_pyfunc",
    ("mlflow==3.17.2",),
    "program",
    promised=("float32",),
    seeing=True,
)


@dataclass
class Subject:
    """A model, images of the test set, its own answers, and its exports.

    `source` names the function that makes the source again. `disagreeing` are the forms that the
    export does not keep, since they are not the model; `refused` holds the share that agrees.
    """

    title: str
    model: ReprogrammedModel
    source: str
    images: np.ndarray
    calibration: dict[str, Any]
    folder: Path
    disagreeing: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

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
                **self.images_for(form),
            )
        return path

    def page(self, form: str) -> Path:
        """The page of `--for browser`, without LiteRT.js."""
        return export_browser_page(
            self.model, self.folder / f"page-{form}", form=form, **self.images_for(form)
        )

    def images_for(self, form: str) -> dict[str, Any]:
        return {} if form == "float32" else self.calibration

    def refused_share(self, form: str) -> str:
        """The share that agrees in a form that the export refuses: targets are converted alike."""
        if form not in self.refused:
            with pytest.raises(ValueError, match="does not agree with the model") as refusal:
                self.file(INTERPRETER, form)
            assert not list(self.folder.glob(f"*-{form}*")), "nothing may be written"
            found = re.search(r"Received: ([\d.]+%) of \d+ images", str(refusal.value))
            self.refused[form] = found[1]
        return self.refused[form]


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


def fitted(
    title, data, source, folder, *, calibrating=1000, held_out=300, disagreeing=(), **program
) -> Subject:
    """A subject whose output map alone is fitted."""
    network = getattr(runtime_sources, source)()
    layer = ProgramLayer(
        data.target_shape,
        network.source_shape,
        source_range=network.value_range,
        target_range=(0, 255),
        **program,
    )
    model = ReprogrammedModel(layer, network, DenseMap(10), class_names=data.class_names)
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    judging = slice(COUNT, COUNT + held_out)
    calibration = {
        "calibration_images": data.train_images[:calibrating],
        "held_out_images": data.test_images[judging],
        "held_out_labels": data.test_labels[judging],
        # What a form costs on these images is what the table says.
        "least_agreement": LEAST["int8"],
    }
    images = data.test_images[:COUNT].astype("float32")
    return Subject(title, model, source, images, calibration, folder, disagreeing)


@pytest.fixture(scope="module")
def digits_subject(tmp_path_factory) -> Subject:
    """Grey images through the embedded source, three views."""
    data = load_digits().draw(train_images=1000, test_images=350, seed=0)
    views = {"num_views": 3, "placement": "views"}
    return fitted("digits", data, "traffic_signs", tmp_path_factory.mktemp("digits"), **views)


@pytest.fixture(scope="module")
def photographs():
    """CIFAR-10, for networks with pre-trained weights."""
    for name in ("KERAS_HOME", "KERAS_REPROGRAM_DATA"):
        if not os.environ.get(name):
            pytest.skip(f"set {name}: pre-trained weights and real data sets are needed")
    return load_cifar10().draw(train_images=1000, test_images=350, seed=0)


@pytest.fixture(scope="module")
def mobilenet_subject(photographs, tmp_path_factory) -> Subject:
    """Colours through MobileNet, alpha .25 at 128 pixels, one view."""
    folder = tmp_path_factory.mktemp("mobilenet")
    # A view of a weak model: its classes are too near to each other for 8 bits.
    return fitted("MobileNet", photographs, "mobilenet", folder, disagreeing=("int8",))


@pytest.fixture(scope="module")
def mobilenet_v2_subject(photographs, tmp_path_factory) -> Subject:
    """Colours through MobileNetV2 at 224 pixels, one view; fewer images, since each takes long."""
    folder = tmp_path_factory.mktemp("mobilenet_v2")
    fewer = {"calibrating": 128, "held_out": 100}
    return fitted(
        "MobileNetV2", photographs, "mobilenet_v2", folder, disagreeing=("int8",), **fewer
    )


@pytest.fixture(
    scope="module", params=["digits_subject", "mobilenet_subject", "mobilenet_v2_subject"]
)
def subject(request) -> Subject:
    return request.getfixturevalue(request.param)


# Of the most probable class, on 50 images; the export itself promises no more than this.
LEAST = {"float32": 1.0, "float16": 0.96, "int8": 0.85}


class Answers:
    """What a runtime said of a subject's images, beside what the model says."""

    def __init__(self, subject: Subject, scores: np.ndarray, milliseconds: float) -> None:
        self.milliseconds = milliseconds
        self.same = float(np.mean(scores.argmax(axis=1) == subject.expected.argmax(axis=1)))
        self.difference = float(np.abs(scores - subject.expected).max())

    def beside(self, reference: Answers) -> str:
        """Agreement with Keras, largest difference, and the time in times of the reference's."""
        times = self.milliseconds / reference.milliseconds
        return f"{self.same:.2f}, {self.difference:.0e}, {times:.2g}×"


def run_program(
    python: Path, name: str, *arguments: Any, seeing: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program of `runtimes` in a runtime's environment; on one thread, so that times compare."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": seeing}
    return subprocess.run(
        [str(python), str(PROGRAMS / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
    )


@pytest.fixture
def ask(subject, environments) -> Callable[[Runtime, Path], Answers | str]:
    """Asks a runtime about the subject's images: its answers, or the error that ended it."""

    def ask_one(runtime: Runtime, model: Path) -> Answers | str:
        answers = subject.folder / f"{runtime.program}.npz"
        answers.unlink(missing_ok=True)
        done = run_program(
            python_of(runtime, environments),
            runtime.program,
            *(model, subject.images_file, answers),
            seeing=str(PACKAGE) if runtime.seeing else "",
        )
        if not answers.exists():
            assert done.returncode, "a program that ends well writes its answers"
            return done.stderr.strip()[-1000:] or f"it ended with code {done.returncode}"
        found = np.load(answers)
        return Answers(subject, found["scores"], float(found["milliseconds"]))

    return ask_one


@pytest.fixture
def cell(subject, ask, table, capsys) -> Callable[[str, str, Answers | str], None]:
    """Writes a cell; asks ai-edge-litert just then, since its times are what others' are of."""

    def write(title: str, form: str, found: Answers | str) -> None:
        if isinstance(found, Answers):
            reference = ask(INTERPRETER, subject.file(INTERPRETER, form))
            assert isinstance(reference, Answers), reference
            found = found.beside(reference)
        else:
            found = found.splitlines()[-1]
        table[title, subject.title, form] = found
        with capsys.disabled():
            print(f"\n{title}: {subject.title}: {form}: {found}")

    return write


def refused(subject: Subject, form: str) -> str | None:
    """What the table says of a form that the export refuses for this subject."""
    if form not in subject.disagreeing:
        return None
    return f"refused by the export: {subject.refused_share(form)} agree"


def python_of(runtime: Runtime, environments) -> Path:
    if not runtime.packages:
        return Path(sys.executable)
    return environments.python(*runtime.packages, seeing=runtime.seeing)


def skip_without_metadata_writer(runtime: Runtime) -> None:
    if TARGETS[runtime.target].metadata and importlib.util.find_spec("mediapipe") is None:
        pytest.skip("pip install mediapipe: the export writes metadata with its schema")


def check(answers: Answers | str, form: str) -> None:
    assert isinstance(answers, Answers), answers
    assert answers.same >= LEAST[form]
    assert form != "float32" or answers.difference < 1e-4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.title)
def test_a_runtime_finds_the_models_classes(subject, runtime, form, ask, cell) -> None:
    skip_without_metadata_writer(runtime)
    if why := TARGETS[runtime.target].refused.get(form):
        with pytest.raises(ValueError, match="nothing was written"):
            subject.file(runtime, form)
        cell(runtime.title, form, f"refused: {why}")
    elif why := refused(subject, form):
        cell(runtime.title, form, why)
    else:
        answers = ask(runtime, subject.file(runtime, form))
        cell(runtime.title, form, answers)
        if form in runtime.promised:
            check(answers, form)


# The page's own classifier, asked as the page asks it: the codes of an image. LiteRT.js can be
# loaded once, so what the page itself does is left out.
PAGE_SCRIPT = '<script type="module" src="page.js"></script>'
IN_THE_PAGE = """
const [images, done] = arguments;
(async () => {
  const { loadClassifier, readFile } = await import("./classifier.js");
  const facts = JSON.parse(new TextDecoder().decode(await readFile("model.json")));
  const classifier = await loadClassifier(facts);
  const answers = [];
  for (const codes of images) answers.push(await classifier.classify(codes));
  return answers;
})().then(done, (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def litertjs(environments, digits_subject) -> Path:
    """LiteRT.js as `npm ci` brings it into a page."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm (Debian: npm)")
    page = export_browser_page(digits_subject.model, digits_subject.folder / "page", form="float32")
    done = subprocess.run(["npm", "ci", "--prefix", str(page)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot bring LiteRT.js: {done.stderr[-300:]}")
    return page / "litertjs"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    import static_pages

    if not (static_pages.CHROMIUM and static_pages.DRIVER):
        pytest.skip(static_pages.NO_BROWSER)
    driver = static_pages.chromium(static_pages.NOWHERE)
    driver.set_script_timeout(600)
    yield driver
    driver.quit()


@pytest.mark.parametrize("form", FORMS)
def test_a_browser_finds_the_models_classes(subject, form, litertjs, browser, cell) -> None:
    from static_pages import BrowserPage, PlainServer

    packages = json.loads(litertjs.with_name("package.json").read_text())["dependencies"]
    chromium = browser.capabilities["browserVersion"].split(".")[0]
    title = f"LiteRT.js {packages['@litertjs/core']} in Chromium {chromium}"
    if why := refused(subject, form):
        cell(title, form, why)
        return
    page = subject.page(form)
    shutil.copytree(litertjs, page / "litertjs")
    index = (page / "index.html").read_text()
    assert PAGE_SCRIPT in index
    (page / "bare.html").write_text(index.replace(PAGE_SCRIPT, ""))
    codes = subject.images.astype(int).reshape(COUNT, -1).tolist()
    with PlainServer(page) as address:
        BrowserPage(browser, f"{address}bare.html")
        answers = browser.execute_async_script(IN_THE_PAGE, codes)
    assert isinstance(answers, list), answers
    scores = np.array([answer["scores"] for answer in answers])
    milliseconds = np.median([answer["milliseconds"] for answer in answers])
    answers = Answers(subject, scores, float(milliseconds))
    cell(title, form, answers)
    check(answers, form)


def test_an_older_tensorflow_reads_the_version_folder(subject, ask, cell) -> None:
    folder = export_saved_model(subject.model, subject.folder / "versions").folder
    answers = ask(TENSORFLOW, folder)
    cell(TENSORFLOW.title, "float32", answers)
    check(answers, "float32")


def test_mlflow_joins_the_program_to_its_source(subject, environments, ask, cell) -> None:
    program = save_program(subject.model, subject.folder / "program.reprogram")
    stored = subject.folder / "mlflow"
    seen = os.pathsep.join([str(PACKAGE), str(Path(runtime_sources.__file__).parent)])
    done = run_program(
        python_of(MLFLOW, environments),
        "mlflow_writer",
        *(program, subject.source, stored),
        seeing=seen,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = ask(MLFLOW, stored)
    cell(MLFLOW.title, "float32", answers)
    check(answers, "float32")


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
