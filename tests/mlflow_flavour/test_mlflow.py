"""MLflow itself: its autolog, its own flavours, and ours.

It is in no environment of ours: `test_mlflow_environment.py` runs this file in one of its own.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import (
    frozen_source,
    head_model,
    images_and_labels,
    network,
    opaque_source,
    small_model,
    trained_values,
)

from keras_reprogram import LiteRTSource, ReprogrammedModel, embedded_path, read_description
from keras_reprogram.mlflow import load_model, log_model, save_model

mlflow = pytest.importorskip("mlflow", reason="test_mlflow_environment.py runs it")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

IMAGES, LABELS = images_and_labels(20)


@pytest.fixture(autouse=True)
def tracking(tmp_path, monkeypatch):
    """A tracking store for each test, and no autolog left over."""
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.keras.autolog(disable=True)


# === Autolog ===


def logged_run(model, *data, **options):
    """The run that a fit with autolog leaves, and what MLflow warned of."""
    mlflow.keras.autolog(log_models=False)
    with mlflow.start_run() as run:
        model.fit(*data, verbose=0, **options)
    mlflow.keras.autolog(disable=True)
    return mlflow.get_run(run.info.run_id)


def test_autolog_sees_the_callers_arguments(caplog) -> None:
    plain = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    plain.add(keras.layers.Dense(3, "softmax"))
    plain.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    options = {"batch_size": 8, "epochs": 2, "validation_split": 0.25}
    theirs = logged_run(plain, IMAGES, LABELS, **options)
    with caplog.at_level(logging.WARNING, "mlflow"):
        ours = logged_run(head_model(), IMAGES, LABELS, **options)
    names = ("batch_size", "shuffle", "validation_split", "epochs", "class_weight")
    assert {n: ours.data.params[n] for n in names} == {n: theirs.data.params[n] for n in names}
    assert [ours.data.params[name] for name in names[:3]] == ["8", "True", "0.25"]
    assert theirs.data.metrics.keys() < ours.data.metrics.keys()
    assert ours.data.metrics["queries_used"] == 2 * (15 + 5)
    assert "Unrecognized dataset" not in caplog.text
    assert "Failed to infer schema" not in caplog.text
    assert [entry.tags[0].value for entry in ours.inputs.dataset_inputs] == ["train", "eval"]


def test_autolog_reads_steps_per_epoch_to_their_end() -> None:
    """MLflow reads a data set until it ends; our batches go on as long as Keras asks."""
    run = logged_run(head_model(), IMAGES, LABELS, batch_size=8, epochs=2, steps_per_epoch=5)
    assert run.data.params["steps_per_epoch"] == "5"
    # Batches of 8, 8 and 4, one pass after the other.
    assert run.data.metrics["queries_used"] == 3 * 20 + 8


def test_autolog_changes_no_weight() -> None:
    models = head_model(), head_model()
    models[0].fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0)
    logged_run(models[1], IMAGES, LABELS, batch_size=8, epochs=2)
    for one, other in zip(*map(trained_values, models), strict=True):
        np.testing.assert_array_equal(one, other)


# === MLflow's own flavours ===

PREDICT = """
import sys
import mlflow, numpy as np
{before}
scores = mlflow.pyfunc.load_model(sys.argv[1]).predict(np.load("images.npy"))
assert ("keras_reprogram" in sys.modules) == {imported}, "keras_reprogram"
np.save("scores.npy", np.asarray(scores))
"""


def predicted_elsewhere(uri, tmp_path, *, imported, before="", **environment):
    """Scores of a fresh process, or what it wrote to its log."""
    np.save(tmp_path / "images.npy", IMAGES)
    code = PREDICT.format(before=before, imported=imported)
    done = subprocess.run(
        [sys.executable, "-c", code, uri],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )
    return done.stderr if done.returncode else np.load(tmp_path / "scores.npy")


def test_tensorflows_flavour_loads_without_an_import(tmp_path) -> None:
    model = head_model()
    with mlflow.start_run():
        logged = mlflow.tensorflow.log_model(model, name="whole")
    scores = predicted_elsewhere(logged.model_uri, tmp_path, imported=True)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)


def test_kerass_flavour_loads_as_a_graph(tmp_path) -> None:
    model = head_model()
    signature = mlflow.models.infer_signature(IMAGES, model.predict(IMAGES, verbose=0))
    with mlflow.start_run():
        logged = mlflow.keras.log_model(
            model, name="graph", save_exported_model=True, signature=signature
        )
    scores = predicted_elsewhere(logged.model_uri, tmp_path, imported=False)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)


def test_kerass_flavour_of_the_layers_needs_an_import(tmp_path) -> None:
    model = head_model()
    with mlflow.start_run():
        logged = mlflow.keras.log_model(model, name="layers")
    failed = predicted_elsewhere(logged.model_uri, tmp_path, imported=True)
    assert "Could not locate class 'ReprogrammedModel'" in failed
    scores = predicted_elsewhere(
        logged.model_uri, tmp_path, imported=True, before="import keras_reprogram"
    )
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)


# === Ours ===


def sign_model(file):
    """A model of a source that is a file, which can be moved."""
    shutil.copy(embedded_path("traffic_signs.tflite"), file)
    return small_model(LiteRTSource(file, value_range=(0, 255)), num_views=2)


def test_a_program_finds_the_file_of_its_source(tmp_path) -> None:
    model = sign_model(tmp_path / "signs.tflite")
    expected = model.predict(IMAGES, verbose=0)
    with mlflow.start_run():
        logged = log_model(model, registered_model_name="digits")
    read = mlflow.pyfunc.load_model("models:/digits/1")
    np.testing.assert_array_equal(read.predict(IMAGES), expected)
    assert read.metadata.signature.inputs.inputs[0].shape == (-1, 4, 4, 1)
    facts = read.metadata.metadata["keras_reprogram"]
    assert facts["fingerprint"] == model.source.fingerprint
    assert facts["target_shape"] == [4, 4, 1]
    scores = predicted_elsewhere(logged.model_uri, tmp_path, imported=True)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_stored_files_are_small_and_without_pickles(tmp_path) -> None:
    save_model(sign_model(tmp_path / "signs.tflite"), tmp_path / "saved")
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 50_000
    assert not [path for path in files if path.suffix in (".pkl", ".tflite", ".keras")]
    (program,) = (tmp_path / "saved").rglob("program.reprogram")
    assert read_description(program)["source"]["class"] == "LiteRTSource"
    requirements = (tmp_path / "saved" / "requirements.txt").read_text()
    assert "keras-reprogram==" in requirements and "mlflow==" in requirements


def test_a_source_that_moved_is_found_by_its_digest(tmp_path) -> None:
    model = sign_model(tmp_path / "signs.tflite")
    expected = model.predict(IMAGES, verbose=0)
    save_model(model, tmp_path / "saved")
    networks = tmp_path / "networks"
    networks.mkdir()
    (tmp_path / "signs.tflite").rename(networks / "moved.tflite")
    saved = str(tmp_path / "saved")
    with pytest.raises(FileNotFoundError, match="no longer at"):
        mlflow.pyfunc.load_model(saved)
    read = mlflow.pyfunc.load_model(saved, model_config={"source": str(networks)})
    np.testing.assert_array_equal(read.predict(IMAGES), expected)
    again = load_model(saved, source=str(networks))
    assert isinstance(again, ReprogrammedModel) and again.queries_used == 0


def test_another_source_is_refused(tmp_path) -> None:
    save_model(sign_model(tmp_path / "signs.tflite"), tmp_path / "saved")
    other = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 1))
    with pytest.raises(ValueError, match="was trained on another source. Expected:.*fingerprint"):
        load_model(tmp_path / "saved", source=other)
    same = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    assert load_model(tmp_path / "saved", source=same).source is same


CODE = """
import keras
from keras_reprogram import FrozenSource

def colours():
    network = keras.models.load_model({file!r}, compile=False)
    return FrozenSource(network, value_range=(0, 255), output="features")
"""


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """The file of a module that makes the source of `head_model`, imported here only."""
    network().save(tmp_path / "colours.keras")
    file = tmp_path / "code" / "colour_sources.py"
    file.parent.mkdir()
    file.write_text(CODE.format(file=str(tmp_path / "colours.keras")))
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.delitem(sys.modules, "colour_sources", raising=False)
    return file


def test_code_that_makes_the_source_goes_with_the_program(tmp_path, colours) -> None:
    model = head_model()
    with mlflow.start_run():
        logged = log_model(model, source="colour_sources:colours", code_paths=[str(colours)])
    scores = predicted_elsewhere(logged.model_uri, tmp_path, imported=True)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)
    again = load_model(logged.model_uri)
    again.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    again.fit(IMAGES, LABELS, verbose=0)


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        (head_model, None, 'Pass `source="MODULE:NAME"`'),
        (lambda: small_model(opaque_source()), None, "Received: a OpaqueSource and no `source`"),
        (
            lambda: small_model(frozen_source(seed=8)),
            "colour_sources:colours",
            "must name the source of the model",
        ),
    ],
    ids=["Keras", "Python", "another"],
)
def test_what_would_not_be_found_again_is_not_logged(make, source, message, colours) -> None:
    with mlflow.start_run(), pytest.raises(ValueError, match=message):
        log_model(make(), source=source)
    assert not mlflow.search_logged_models(output_format="list")


def test_a_model_of_another_flavour_is_refused(tmp_path) -> None:
    mlflow.keras.save_model(network(), str(tmp_path / "plain"))
    with pytest.raises(ValueError, match="which mlflow.keras loads"):
        load_model(tmp_path / "plain")


def test_mlflow_serves_a_program(tmp_path) -> None:
    model = sign_model(tmp_path / "signs.tflite")
    save_model(model, tmp_path / "saved")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", str(tmp_path / "saved"), "--port", str(port)]
    # MLflow calls it by its name, which an environment that only sees its package has not.
    uvicorn = tmp_path / "bin" / "uvicorn"
    uvicorn.parent.mkdir()
    uvicorn.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m uvicorn "$@"\n')
    uvicorn.chmod(0o755)
    path = f"{uvicorn.parent}{os.pathsep}{os.environ['PATH']}"
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1"],
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )
    try:
        body = json.dumps({"inputs": IMAGES[:3].tolist()}).encode()
        scores = np.asarray(posted(f"http://127.0.0.1:{port}/invocations", body, server, log))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(60)
    np.testing.assert_allclose(scores, model.predict(IMAGES[:3], verbose=0), atol=1e-6)


def posted(url, body, server, log, seconds=180):
    headers = {"Content-Type": "application/json"}
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                return json.loads(answer.read())["predictions"]
        except ConnectionError as error:
            refused = error
        except urllib.error.URLError as error:
            refused = error
            if isinstance(error, urllib.error.HTTPError):
                break
        time.sleep(0.5)
    pytest.fail(f"{refused}: {log.read_text()[-2000:]}")


PAGE = Path(__file__).parents[2] / "docs" / "mlflow.md"


def test_the_page_runs(tmp_path) -> None:
    """Its blocks, one after the other; the folder that they name holds the source."""
    (tmp_path / "networks").mkdir()
    shutil.copy(embedded_path("traffic_signs.tflite"), tmp_path / "networks")
    (tmp_path / "my_sources.py").write_text(
        "from keras_reprogram import LiteRTSource, embedded_path\n"
        "file = embedded_path('traffic_signs.tflite')\n"
        "signs = LiteRTSource(file, value_range=(0, 255))\n"
    )
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    code = "\n".join(blocks).replace("/srv/networks", str(tmp_path / "networks"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
