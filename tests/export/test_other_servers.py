"""Configurations of other servers, read by what these servers read them with."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exported_models import png, scores_of
from google.protobuf import text_format

from keras_reprogram.command_line.export import OtherServer
from keras_reprogram.export import write_for_server
from keras_reprogram.export.other_servers import SERVERS


@pytest.fixture
def version(tmp_path):
    """A version folder without a graph: most of a configuration is in its facts."""
    folder = tmp_path / "Signs of 3" / "1"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    facts = {
        "half": None,
        "target_shape": [8, 8, 3],
        "class_names": ["stop", "go", "é"],
        "signatures": ["serving_default", "image_bytes"],
    }
    (folder / "assets.extra" / "keras_reprogram.json").write_text(json.dumps(facts))
    return folder


def triton_config(repository: Path):
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    (file,) = repository.glob("*/config.pbtxt")
    config = text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
    return config, model_config_pb2


def test_the_command_line_knows_the_same_servers() -> None:
    assert tuple(OtherServer) == SERVERS


def test_triton_reads_its_configuration(version) -> None:
    repository = write_for_server(version, "triton")
    assert repository == version.parent.with_name("Signs of 3-triton")
    config, proto = triton_config(repository)
    assert (config.name, config.backend, config.max_batch_size) == ("Signs-of-3", "python", 64)
    assert [(i.name, i.data_type, [*i.dims], i.optional) for i in config.input] == [
        ("image", proto.TYPE_FP32, [8, 8, 3], True),
        ("image_bytes", proto.TYPE_STRING, [1], True),
    ]
    (output,) = config.output
    assert (output.name, output.data_type, [*output.dims]) == ("scores", proto.TYPE_FP32, [3])
    model = repository / config.name
    assert (model / output.label_filename).read_text().splitlines() == ["stop", "go", "é"]
    assert (model / "1" / "model.savedmodel" / "saved_model.pb").is_file()
    assert sorted(path.name for path in repository.iterdir()) == [config.name]


def test_without_image_files_the_image_is_not_optional(version) -> None:
    file = version / "assets.extra" / "keras_reprogram.json"
    facts = json.loads(file.read_text()) | {"signatures": ["serving_default"]}
    file.write_text(json.dumps(facts))
    config, _ = triton_config(write_for_server(version, "triton"))
    assert [(one.name, one.optional) for one in config.input] == [("image", False)]


def test_a_version_in_the_repository_is_not_replaced(version) -> None:
    repository = write_for_server(version, "triton")
    labels = repository / "Signs-of-3" / "labels.txt"
    labels.write_text("mine")
    with pytest.raises(FileExistsError, match="no version is ever replaced"):
        write_for_server(version, "triton")
    shutil.copytree(version, version.with_name("2"))
    write_for_server(version.with_name("2"), "triton")
    assert labels.read_text() == "mine"
    assert (labels.parent / "2" / "model.py").is_file()


def test_files_beside_the_versions_are_samples(version) -> None:
    yaml = pytest.importorskip("yaml")
    ovms, kserve = (write_for_server(version, server) for server in ("openvino", "kserve"))
    (served,) = json.loads(ovms.read_text())["model_config_list"]
    assert served["config"] == {"name": "Signs-of-3", "base_path": "/models/Signs-of-3"}
    service = yaml.safe_load(kserve.read_text())
    assert service["metadata"]["name"] == "signs-of-3"
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["storageUri"].endswith("/Signs-of-3")
    for path in (ovms, kserve):
        assert path.parent == version.parent
        path.write_text("mine")
    write_for_server(version, "openvino")
    write_for_server(version, "kserve")
    assert ovms.read_text() == kserve.read_text() == "mine"


def test_what_is_refused(version, tmp_path) -> None:
    with pytest.raises(ValueError, match="triton, openvino, kserve. Received: 'seldon'"):
        write_for_server(version, "seldon")
    with pytest.raises(ValueError, match="a folder without assets.extra/keras_reprogram.json"):
        write_for_server(tmp_path, "triton")
    file = version / "assets.extra" / "keras_reprogram.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"half": "program"}))
    with pytest.raises(ValueError, match="one half of a split export"):
        write_for_server(version, "triton")


# === The servers themselves ===


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def triton_server(python: Path, repository: Path, folder: Path):
    """The server that `nvidia-pytriton` ships, which has the Python backend only."""
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    shipped = site / "pytriton" / "tritonserver"
    backends = folder / "backends"
    shutil.copytree(shipped / "backends", backends)
    number = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = shipped / "python_backend_stubs" / number / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    http, grpc = free_ports(2)
    command = [
        str(shipped / "bin" / "tritonserver"),
        "--allow-metrics=false",
        "--exit-timeout-secs=3",
    ]
    command += [f"--model-repository={repository}", f"--backend-directory={backends}"]
    command += ["--http-address=127.0.0.1", f"--http-port={http}"]
    command += ["--grpc-address=127.0.0.1", f"--grpc-port={grpc}"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs")}
    environment["PATH"] = f"{python.parent}:{os.environ['PATH']}"
    environment["VIRTUAL_ENV"] = str(python.parent.parent)
    log = folder / "triton.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        yield SimpleNamespace(http=f"127.0.0.1:{http}", process=server, log=log)
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def triton(digits, environments, tmp_path_factory):
    """A running Triton on the repository of the digits, and a client of it."""
    client = pytest.importorskip("tritonclient.http")
    # With NumPy 2 this Triton's Python backend reads and writes arrays wrongly.
    packages = ("nvidia-pytriton==0.7.0", "numpy==1.26.4")
    python = environments.python(*packages, options=("--no-deps",), seeing=True)
    folder = tmp_path_factory.mktemp("triton")
    base = folder / "digits"
    shutil.copytree(digits.exported, base / "1")
    repository = write_for_server(base / "1", "triton")
    with triton_server(python, repository, folder) as server:
        asking = client.InferenceServerClient(server.http, network_timeout=60)
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                if asking.is_model_ready("digits"):
                    break
            if server.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(server.log.read_text()[-3000:])
            time.sleep(0.3)
        yield SimpleNamespace(client=client, asking=asking)
        asking.close()


def asked(triton, name, values, kind, **options):
    tensor = triton.client.InferInput(name, values.shape, kind)
    tensor.set_data_from_numpy(values)
    scores = triton.client.InferRequestedOutput("scores", **options)
    answer = triton.asking.infer("digits", [tensor], outputs=[scores])
    return answer.as_numpy("scores")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_triton_itself_answers_as_the_model(triton, digits) -> None:
    expected = digits.model.predict(digits.images, verbose=0)
    scores = asked(triton, "image", digits.images[:64], "FP32")
    np.testing.assert_allclose(scores, expected[:64], atol=1e-5)
    files = np.array([[png(image)] for image in digits.images[:9]], object)
    np.testing.assert_allclose(
        asked(triton, "image_bytes", files, "BYTES"), expected[:9], atol=1e-5
    )
    (best,) = asked(triton, "image", digits.images[:1], "FP32", class_count=1)[0]
    score, index, label = best.decode().split(":")
    assert (int(index), label) == (expected[0].argmax(), f"digit {expected[0].argmax()}")
    assert float(score) == pytest.approx(expected[0].max(), abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_triton_says_what_is_wrong_with_a_file(triton) -> None:
    with pytest.raises(triton.client.InferenceServerException) as error:
        asked(triton, "image_bytes", np.array([[b"no image"]], object), "BYTES")
    assert "Image files must be JPEG, PNG, or BMP" in str(error.value)


OLDER_TENSORFLOW = """
import sys
import numpy as np
import tensorflow as tf

images = np.load(sys.argv[2])
loaded = tf.saved_model.load(sys.argv[1])
files = tf.stack([tf.io.encode_png(image.astype("uint8")) for image in images])
feature = lambda file: tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.numpy()]))
examples = [
    tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature(file)}))
    for file in files
]
inputs = {
    "serving_default": {"image": tf.constant(images)},
    "steps": {"image": tf.constant(images)},
    "image_bytes": {"image_bytes": files},
    "classify": {"inputs": tf.stack([one.SerializeToString() for one in examples])},
}
assert set(inputs) == set(loaded.signatures), set(loaded.signatures)
answers = {name: loaded.signatures[name](**given)["scores"] for name, given in inputs.items()}
np.savez(sys.argv[3], version=tf.__version__, **answers)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tensorflow_2_15_answers_all_signatures(digits, environments, tmp_path) -> None:
    """Which the newest prebuilt container of Vertex AI runs."""
    python = environments.python("tensorflow-cpu==2.15.1")
    images = digits.images[:50]
    np.save(tmp_path / "images.npy", images)
    files = [str(digits.exported), str(tmp_path / "images.npy"), str(tmp_path / "answers.npz")]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [str(python), "-c", OLDER_TENSORFLOW, *files],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = dict(np.load(tmp_path / "answers.npz"))
    assert str(answers.pop("version")) == "2.15.1"
    expected = scores_of(digits.exported, images)
    for name, scores in answers.items():
        np.testing.assert_allclose(scores, expected, atol=1e-5, err_msg=name)


KSERVE = """
import json
import sys

from kserve import models


def read(value, name):
    kind = getattr(models, name, None)
    if kind is None:  # a plain value, or of Kubernetes itself
        return value
    names = {key: name for name, key in kind.attribute_map.items()}
    types = kind.openapi_types
    return kind(**{names[key]: read(part, types[names[key]]) for key, part in value.items()})


model = read(json.loads(sys.argv[1]), "V1beta1InferenceService").spec.predictor.model
print(model.model_format.name, model.storage_uri)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_classes_of_kserve_read_its_manifest(version, environments) -> None:
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(write_for_server(version, "kserve").read_text())
    python = environments.python("kserve==0.21.0")
    done = subprocess.run(
        [str(python), "-c", KSERVE, json.dumps(service)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["tensorflow", "pvc://models/Signs-of-3"]


@pytest.mark.slow
def test_tf2onnx_converts_no_graph_that_decodes_files(digits, tmp_path) -> None:
    """Why the documentation says to take `serving_default` for ONNX."""
    pytest.importorskip("tf2onnx")
    file = tmp_path / "files.onnx"
    options = ["--saved-model", str(digits.exported), "--output", str(file), "--opset", "17"]
    options += ["--signature_def", "image_bytes", "--tag", "serve"]
    done = subprocess.run(
        [sys.executable, "-m", "tf2onnx.convert", *options], capture_output=True, text=True
    )
    assert done.returncode == 1 and not file.exists()
    assert "requires the shape of input" in done.stderr
