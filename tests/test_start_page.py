"""The commands of docs/start.md do what the page says, on the images that it makes."""

import base64
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from test_readme import python_blocks, run_block

PAGE = Path(__file__).parent.parent / "docs" / "start.md"
COMMAND = (sys.executable, "-c", "from keras_reprogram.command_line import main; main()")

pytestmark = pytest.mark.slow


def commands() -> list[list[str]]:
    """The `keras-reprogram` lines of the folder's five commands, without their first word."""
    (five,) = re.findall(r"^Five commands:\n\n```bash\n(.*?)```$", PAGE.read_text(), re.M | re.S)
    lines = five.splitlines()
    assert len(lines) == 5
    return [shlex.split(line)[1:] for line in lines if line.startswith("keras-reprogram ")]


def test_from_a_folder_to_an_answer_over_http(tmp_path, monkeypatch):
    run_block(python_blocks(PAGE.read_text())[0], "start", tmp_path, monkeypatch)
    train, predict, export, serve = commands()
    for command in (train, predict, export):
        done = subprocess.run((*COMMAND, *command), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        if command is predict:
            assert done.stdout.count("digit ") >= 5
    assert (tmp_path / "runs" / "photos" / "report.html").is_file()

    free_ports = ("--rest-port", "0", "--grpc-port", "0")
    server = subprocess.Popen(
        (*COMMAND, *serve, *free_ports), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        url = re.search(r"http://\S+/v1/models/photos", read_until(server, "/v1/models/photos"))[0]
        image = base64.b64encode((tmp_path / "new_images" / "0.png").read_bytes()).decode()
        body = {"signature_name": "image_bytes", "instances": [{"b64": image}]}
        request = urllib.request.Request(f"{url}:predict", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            (found,) = json.load(answer)["predictions"]
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert len(found["scores"]) == len(found["classes"]) == 10
    assert sum(found["scores"]) == pytest.approx(1, abs=1e-3)


def read_until(server: subprocess.Popen, text: str) -> str:
    """The line of a server's output that holds `text`."""
    for line in server.stdout:
        if text in line:
            return line
    pytest.fail("the server ended before it said where it listens")
