"""A real tensorflow_model_server on an exported folder; set TF_MODEL_SERVER to its path.

It is in no package registry, hence opt-in. Every release has a .deb and an image for docker.
"""

import base64
import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from exported_models import png

BINARY = os.environ.get("TF_MODEL_SERVER", "")
NAME = "digits"

pytestmark = [
    pytest.mark.slow,
    # Not in a fixture: what it serves takes half a minute to make.
    pytest.mark.skipif(
        not BINARY, reason="set TF_MODEL_SERVER to the path of a tensorflow_model_server"
    ),
]


class Ports(NamedTuple):
    rest: int
    grpc: int


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.contextmanager
def running(binary, base_dir, log):
    ports = Ports(free_port(), free_port())
    command = [binary, f"--rest_api_port={ports.rest}", f"--port={ports.grpc}"]
    command += [f"--model_name={NAME}", f"--model_base_path={base_dir}"]
    # The flag that refuses a `classify` signature without its own method name.
    command += ["--enable_signature_method_name_check=true"]
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            wait_until_available(server, ports, log)
            yield ports
        finally:
            server.terminate()
            server.wait(30)


def wait_until_available(server, ports, log, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            (status,) = rest(ports, "")["model_version_status"]
            if status["state"] == "AVAILABLE":
                return
        time.sleep(0.2)
    pytest.fail(f"the server did not come up: {log.read_text()[-2000:]}")


def rest(ports, what, body=None):
    url = f"http://127.0.0.1:{ports.rest}/v1/models/{NAME}{what}"
    content = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, content), timeout=60) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def server(digits, tmp_path_factory):
    if not Path(BINARY).is_file():
        pytest.fail(f"TF_MODEL_SERVER is set to {BINARY!r}, which is not a file")
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with running(BINARY, digits.exported.folder.parent, log) as ports:
        yield ports


@pytest.fixture(scope="module")
def expected(digits):
    return digits.model.predict(digits.images[:20], batch_size=20, verbose=0)


def base64_of(image):
    return {"b64": base64.b64encode(png(image)).decode()}


def test_status_and_metadata(server) -> None:
    (status,) = rest(server, "")["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "AVAILABLE")
    definitions = rest(server, "/metadata")["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "image_bytes", "classify", "steps"} <= set(definitions)


def test_predict_over_rest(digits, server, expected) -> None:
    body = {"instances": digits.images[:20].tolist()}
    np.testing.assert_allclose(rest(server, ":predict", body)["predictions"], expected, atol=1e-5)


def test_files_over_rest(digits, server, expected) -> None:
    instances = [base64_of(image) for image in digits.images[:20]]
    body = {"signature_name": "image_bytes", "instances": instances}
    answers = rest(server, ":predict", body)["predictions"]
    np.testing.assert_allclose([row["scores"] for row in answers], expected, atol=1e-5)
    assert all(row["classes"] == list(digits.model.class_names) for row in answers)


def test_classify_over_rest(digits, server, expected) -> None:
    examples = [{"image/encoded": base64_of(image)} for image in digits.images[:20]]
    body = {"signature_name": "classify", "examples": examples}
    # Its documentation calls the key `result`, its source `results`.
    (rows,) = rest(server, ":classify", body).values()
    for row, scores in zip(rows, expected, strict=True):
        assert [label for label, _ in row] == list(digits.model.class_names)
        np.testing.assert_allclose([score for _, score in row], scores, atol=1e-5)


def test_steps_over_rest(digits, server, expected) -> None:
    body = {"signature_name": "steps", "instances": digits.images[:2].tolist()}
    answers = rest(server, ":predict", body)["predictions"]
    np.testing.assert_allclose([row["scores"] for row in answers], expected[:2], atol=1e-5)
    assert np.shape([row["source_images"] for row in answers]) == (2, 3, 32, 32, 3)
    assert np.shape([row["source_scores"] for row in answers]) == (2, 1, 43)


def test_predict_over_grpc(digits, server, expected) -> None:
    grpc = pytest.importorskip("grpc", reason="pip install grpcio")
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    stubs = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = NAME
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(digits.images[:20]))
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        answer = stubs.PredictionServiceStub(channel).Predict(request, timeout=60)
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["scores"]), expected, atol=1e-5)
