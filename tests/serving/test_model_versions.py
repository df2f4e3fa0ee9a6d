"""Versions that come, fail, take over and go."""

import json
import shutil
import threading

import httpx
import pytest
from served_models import (
    CLIENT,
    break_version,
    mend_version,
    post,
    refusal,
    stubs_of,
    url_of,
    write_line,
)
from tensorflow_serving.apis import model_management_pb2
from waiting import wait_until

from keras_reprogram.serving import ModelServer


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Two versions: slopes 1 and 2. Copied by whoever changes the folder."""
    folder = tmp_path_factory.mktemp("lines") / "line"
    for version in (1, 2):
        write_line(folder, float(version), version)
    return folder


@pytest.fixture
def folder(lines, tmp_path):
    return shutil.copytree(lines, tmp_path / "line")


def slope(server, tail=""):
    answer = post(server, {"instances": [1.0]}, f"{tail}:predict")
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def status(server):
    versions = CLIENT.get(url_of(server)).json()["model_version_status"]
    return {int(one["version"]): (one["state"], one["status"]["error_code"]) for one in versions}


def test_the_latest_is_served(lines):
    with ModelServer(lines) as server:
        assert slope(server) == 2.0
        assert post(server, {"instances": [1.0]}, "/versions/1:predict").status_code == 404
        assert status(server) == {2: ("AVAILABLE", "OK")}


def test_all_versions_and_labels(lines):
    with ModelServer(lines, versions="all", version_labels={"stable": 1}) as server:
        assert slope(server) == 2.0
        assert slope(server, "/versions/1") == 1.0
        assert slope(server, "/labels/stable") == 1.0
        assert list(status(server)) == [2, 1]
        labelled = CLIENT.get(url_of(server, "/labels/stable")).json()
        assert [one["version"] for one in labelled["model_version_status"]] == ["1"]
        assert post(server, {"instances": [1.0]}, "/labels/canary:predict").status_code == 400


def test_certain_versions(lines):
    with ModelServer(lines, versions=[1]) as server:
        assert slope(server) == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"versions": [7]}, "which has 1, 2. Received: .7,"),
        ({"versions": "newest"}, "Versions must be 'latest', 'all'"),
        ({"versions": []}, "at least one"),
        ({"versions": 0}, "positive integers"),
        ({"version_labels": {"stable": 1}}, "version 1 of model line, which is not currently"),
    ],
)
def test_versions_that_cannot_be_served(lines, options, said):
    with pytest.raises(ValueError, match=said), ModelServer(lines, **options):
        pass


def test_a_new_version_takes_over_without_a_lost_request(folder):
    with ModelServer(folder, poll_seconds=0.05) as server:
        answers, ended = [], threading.Event()

        def ask():
            with httpx.Client() as client:
                while not ended.is_set():
                    answer = client.post(url_of(server, ":predict"), json={"instances": [1.0]})
                    answers.append((answer.status_code, answer.json().get("predictions")))

        clients = [threading.Thread(target=ask) for _ in range(3)]
        for client in clients:
            client.start()
        write_line(folder, 3.0, 3)
        wait_until(lambda: status(server).get(2) == ("END", "OK"))
        wait_until(lambda: answers[-1] == (200, [3.0]))
        ended.set()
        for client in clients:
            client.join()
    seen = [values[0] for code, values in answers if code == 200]
    assert len(seen) == len(answers)
    assert set(seen) == {2.0, 3.0}
    assert status_states(server) == {3: "AVAILABLE", 2: "END"}


def status_states(server):
    return {one.version: one.state for one in server.versions.statuses("line")}


def test_a_broken_version_leaves_the_old_one_and_is_tried_again_when_mended(folder):
    with ModelServer(folder, poll_seconds=0.05) as server:
        break_version(folder, 3)
        wait_until(lambda: status(server).get(3) == ("END", "UNKNOWN"))
        assert slope(server) == 2.0
        (broken, _) = CLIENT.get(url_of(server)).json()["model_version_status"]
        assert "DecodeError" in broken["status"]["error_message"]
        mend_version(folder, 3, 1)
        wait_until(lambda: slope(server) == 1.0)
        assert status(server)[3] == ("AVAILABLE", "OK")


def test_a_version_that_is_taken_away_falls_back(folder):
    with ModelServer(folder, poll_seconds=0.05) as server:
        (folder / "2").rename(folder / "withdrawn")
        wait_until(lambda: slope(server) == 1.0)


def test_a_folder_that_goes_away_is_served_on(folder, caplog):
    with ModelServer(folder, poll_seconds=0.05) as server:
        folder.rename(folder.with_name("moved"))
        wait_until(lambda: "The folder cannot be read" in caplog.text)
        assert slope(server) == 2.0


def test_only_broken_versions_are_an_error_that_says_why(tmp_path):
    break_version(tmp_path / "line", 4)
    with pytest.raises(ValueError, match="No version .* version 4, DecodeError"):
        ModelServer(tmp_path / "line").start()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "with nothing"),
        (["notes.txt", "v1/"], "with notes.txt, v1/"),
        (["saved_model.pb"], "which is one SavedModel"),
        (["program/", "output_map/"], "with output_map/, program/"),
    ],
)
def test_a_folder_without_versions(tmp_path, entries, said):
    for entry in entries:
        path = tmp_path / entry
        path.mkdir() if entry.endswith("/") else path.write_text("")
    with pytest.raises(ValueError, match=said):
        ModelServer(tmp_path)
    with pytest.raises(ValueError, match="which is not a folder"):
        ModelServer(tmp_path / "none")


def reload_request(server, **changes):
    request = model_management_pb2.ReloadConfigRequest()
    config = request.config.model_config_list.config.add()
    config.name = changes.get("name", "line")
    config.base_path = str(changes.get("base_path", server.versions.folder.path))
    config.model_platform = changes.get("platform", "tensorflow")
    for label, version in changes.get("labels", {}).items():
        config.version_labels[label] = version
    if "versions" in changes:
        config.model_version_policy.specific.versions.extend(changes["versions"])
    if changes.get("all"):
        config.model_version_policy.all.SetInParent()
    return request


def test_reload_changes_versions_and_labels(lines):
    with ModelServer(lines) as server, stubs_of(server) as stubs:
        change = stubs.models.HandleReloadConfigRequest
        answer = change(reload_request(server, all=True, labels={"old": 1}))
        assert answer.HasField("status")
        assert answer.status.error_code == 0
        assert slope(server, "/labels/old") == 1.0
        change(reload_request(server, versions=[1]))
        assert slope(server) == 1.0
        # The new config replaces the old one, labels included.
        assert post(server, {"instances": [1.0]}, "/labels/old:predict").status_code == 400
        code, said = refusal(change, reload_request(server, labels={"new": 7}))
        assert code == "FAILED_PRECONDITION"
        assert "assign label to version 7 of model line, which is not currently" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "serves the model line only. Received: other"),
        ({"base_path": "/elsewhere"}, "must stay what it is. Received: /elsewhere"),
        ({"platform": "pytorch"}, "must be tensorflow. Received: pytorch"),
        ({"versions": [-1]}, "positive integers"),
    ],
)
def test_reload_of_anything_else_is_refused(lines, change, said):
    with ModelServer(lines) as server, stubs_of(server) as stubs:
        request = reload_request(server, **change)
        code, text = refusal(stubs.models.HandleReloadConfigRequest, request)
        assert code == "INVALID_ARGUMENT"
        assert said in text
        request = model_management_pb2.ReloadConfigRequest()
        _, text = refusal(stubs.models.HandleReloadConfigRequest, request)
        assert "Received: 0 models" in text
        assert slope(server) == 2.0


def test_the_warm_up_file_is_replayed(brightness_export, tmp_path):
    folder = shutil.copytree(brightness_export[0], tmp_path / "brightness")
    facts = folder / "1" / "assets.extra" / "keras_reprogram.json"
    warmup = facts.with_name("tf_serving_warmup_requests")
    assert json.loads(facts.read_text())["class_names"] == ["dark", "grey", "bright"]
    # Requests for a signature that is no more: the version must not come up.
    (folder / "1" / "saved_model.pb").write_bytes(
        (folder / "1" / "saved_model.pb").read_bytes().replace(b"image_bytes", b"other_bytes")
    )
    assert warmup.is_file()
    with pytest.raises(ValueError, match="No version in"), ModelServer(folder):
        pass
