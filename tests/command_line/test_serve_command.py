"""`keras-reprogram serve`: what it says, how it ends, and what it refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import tensorflow as tf
from command_runs import Command

import keras_reprogram

COMMAND = (sys.executable, "-c", "from keras_reprogram.command_line import main; main()")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(keras_reprogram.__file__).parent.parent)}
PORTS = ("--rest-port", "0", "--grpc-port", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that triples numbers, as versions 1 and 2."""

    class Triple(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def predict(self, x):
            return {"y": 3.0 * x}

    folder = tmp_path_factory.mktemp("served") / "triple"
    for version in ("1", "2"):
        module = Triple()
        signatures = {"serving_default": module.predict}
        tf.saved_model.save(module, str(folder / version), signatures=signatures)
    return folder


def ask(url: str, document: object = None) -> dict:
    content = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, content), timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_well(folder: Path, number: int) -> None:
    options = (*PORTS, "--versions", "all", "--version-label", "stable=1")
    process = subprocess.Popen(
        [*COMMAND, "serve", str(folder), *options],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = [process.stdout.readline().rstrip() for _ in range(5)]
        assert lines[0] == "triple, version 2"
        url = lines[1].removeprefix("REST  ")
        assert url.startswith("http://127.0.0.1:")
        assert lines[2].startswith("gRPC  127.0.0.1:")
        assert lines[4] == f"curl {url}"
        assert ask(f"{url}:predict", {"instances": [1.0, 2.0]}) == {"predictions": [3.0, 6.0]}
        assert ask(f"{url}/labels/stable")["model_version_status"][0]["version"] == "1"
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "TensorFlow Serving is recommended" in said
    assert said.rstrip().endswith("requests that run are answered, new ones refused.")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--versions", "newest"), "--versions must be latest, all, or numbers"),
        (("--version-label", "stable"), "--version-label must be LABEL=VERSION"),
        (("--versions", "7"), "which has 1, 2"),
        (("--version-label", "stable=7"), "Serve that version too"),
        (("--source", "traffic-signs"), "Received: a source too"),
        (("--source", "nothing.py:signs"), "There is no nothing.py"),
        (("--value-range", "1", "--source", "traffic-signs"), "Write 0,255"),
        (("--host", "192.0.2.1"), "cannot listen at 192.0.2.1"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_message(command: Command, folder: Path, options: tuple, said: str) -> None:
    ended = command("serve", folder, *PORTS, *options)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert "Traceback" not in ended.err


def test_a_taken_port(command: Command, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command("serve", folder, "--rest-port", port, "--grpc-port", 0)
    assert ended.code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in ended.err
    assert "--rest-port" in ended.err


def test_folders_that_hold_nothing_to_serve(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "program" / "1").mkdir(parents=True)
    (tmp_path / "output_map" / "1").mkdir(parents=True)
    for place, said in (
        (tmp_path, "Received: no source. Pass it as `source` (--source)."),
        (folder / "1", "which is one SavedModel. Serve the folder above it"),
        (folder.parent, "with triple/. Export a model there"),
        (tmp_path / "none", "which is not a folder"),
    ):
        ended = command("serve", place, *PORTS)
        assert ended.code == 2
        assert said in " ".join(ended.err.split())
