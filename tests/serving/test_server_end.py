"""How a server begins and ends: ports, health, draining, figures."""

import socket
import sys
import threading

import httpx
import numpy as np
import pytest
from served_models import CLIENT, post, predict_request, refusal, stubs_of
from waiting import PATIENCE, wait_until

from keras_reprogram.serving import ModelServer
from keras_reprogram.serving.servable import ExportedServable


class Held:
    """Makes every call of a model wait until it is let go."""

    def __init__(self, monkeypatch):
        self.begun, self.release = threading.Semaphore(0), threading.Event()
        self.gave_up = False
        run = ExportedServable.run

        def wait(servable, *arguments):
            self.begun.release()
            self.gave_up |= not self.release.wait(PATIENCE)
            return run(servable, *arguments)

        monkeypatch.setattr(ExportedServable, "run", wait)


def in_thread(function, *arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)))
    thread.start()
    return thread, results


def test_requests_that_run_are_answered_and_new_ones_refused(half_folder, monkeypatch):
    held = Held(monkeypatch)
    server = ModelServer(half_folder, drain_seconds=PATIENCE)
    server.start()
    with stubs_of(server) as stubs, httpx.Client(timeout=30) as client:
        request = predict_request(server, x=np.float32([1]))
        asked = [
            in_thread(post, server, {"instances": [1.0]}),
            in_thread(stubs.predictions.Predict, request),
        ]
        assert client.get(f"{server.rest_address}/health").json() == {"status": "ready"}
        for _ in asked:
            held.begun.acquire()
        ending, _ = in_thread(server.stop)
        wait_until(server._state.draining.is_set)
        # A connection that is open already may still speak.
        url = f"{server.rest_address}/v1/models/half_plus_three:predict"

        def is_closed():
            try:
                answer = client.post(url, json={"instances": [1.0]})
            except httpx.HTTPError:
                return True
            assert answer.status_code == 503
            assert answer.json()["error"] == "The server is shutting down."
            return False

        wait_until(is_closed)
        assert refusal(stubs.predictions.Predict, request)[0] == "UNAVAILABLE"
        assert ending.is_alive()
        held.release.set()
        for thread, _ in (*asked, (ending, None)):
            thread.join()
    assert asked[0][1][0].json() == {"predictions": [3.5]}
    assert list(asked[1][1][0].outputs["y"].float_val) == [3.5]


def test_a_drain_ends_before_a_request_that_hangs(half_folder, monkeypatch):
    held = Held(monkeypatch)
    server = ModelServer(half_folder, drain_seconds=0.2)
    server.start()
    with stubs_of(server) as stubs:
        request = predict_request(server, x=np.float32([1]))
        thread, results = in_thread(refusal, stubs.predictions.Predict, request)
        held.begun.acquire()
        # The request is held until the end of this test.
        server.stop()
        assert not held.release.is_set() and not held.gave_up
        thread.join()
    held.release.set()
    assert results[0][0] in ("CANCELLED", "UNAVAILABLE")


@pytest.mark.parametrize("option", ["rest_port", "grpc_port"])
def test_a_taken_port_is_an_error_that_names_the_option(half_folder, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}.*--{option.replace('_', '-')}"):
            ModelServer(half_folder, **{option: port})
    # Nothing else was left open.
    ModelServer(half_folder, **{option: port}).stop()


def test_a_host_of_another_machine_is_an_error(half_folder):
    with pytest.raises(OSError, match="cannot listen at 192.0.2.1"):
        ModelServer(half_folder, host="192.0.2.1")


def test_a_port_that_is_none_is_an_error(half_folder):
    with pytest.raises(ValueError, match="--grpc-port must be from 0 to 65535"):
        ModelServer(half_folder, grpc_port=70_000)


def test_figures(half_folder):
    with ModelServer(half_folder) as server, stubs_of(server) as stubs:
        post(server, {"instances": [1.0, 2.0, 5.0]})
        post(server, {"signature_name": "invented", "instances": [1.0]})
        post(server, {"instances": ["a"]})
        stubs.predictions.Predict(predict_request(server, x=np.float32([1, 2])))
        text = CLIENT.get(f"{server.rest_address}/metrics").text
        other = CLIENT.get(f"{server.rest_address}/monitoring/prometheus/metrics")
    assert other.headers["content-type"].startswith("text/plain")
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    def count(name, **labels):
        named = {"model": "half_plus_three", "method": "predict"} | labels
        listed = ",".join(f'{key}="{named[key]}"' for key in sorted(named))
        return float(figures[f"keras_reprogram_{name}{{{listed}}}"])

    rest = {"interface": "rest", "signature": "serving_default"}
    assert count("requests_total", code="OK", **rest) == 1
    assert count("requests_total", code="INVALID_ARGUMENT", **rest) == 1
    # Clients invent no labels.
    assert "invented" not in text
    assert count("requests_total", code="INVALID_ARGUMENT", **rest | {"signature": ""}) == 1
    assert count("images_total", **rest) == 3
    assert count("images_total", **rest | {"interface": "grpc"}) == 2
    assert count("request_seconds_count", **rest) == 2
    assert float(figures["keras_reprogram_requests_in_flight"]) == 0


def test_a_fault_of_ours_tells_clients_nothing(half_folder, monkeypatch, caplog):
    def fail(servable, *arguments):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(ExportedServable, "run", fail)
    with ModelServer(half_folder) as server, stubs_of(server) as stubs:
        answer = post(server, {"instances": [1.0]})
        request = predict_request(server, x=np.float32([1]))
        code, said = refusal(stubs.predictions.Predict, request)
        figures = CLIENT.get(f"{server.rest_address}/metrics").text
    assert (answer.status_code, code) == (500, "INTERNAL")
    assert answer.json() == {"error": said} == {"error": "The server failed. Its log says more."}
    assert caplog.text.count("RuntimeError: a secret of the server") == 2
    assert figures.count('code="INTERNAL"') >= 2


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("grpc", "grpcio"),
        ("grpc_health", "grpcio-health-checking"),
        ("prometheus_client", "prometheus-client"),
        ("starlette", "starlette"),
        ("tensorflow_serving", "tensorflow-serving-api"),
        ("uvicorn", "uvicorn"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(half_folder, monkeypatch, module, package):
    for name in [one for one in sys.modules if one == module or one.startswith(f"{module}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    said = rf"needs the package `{package}`: pip install 'keras-reprogram\[server\]'"
    with pytest.raises(ImportError, match=said):
        ModelServer(half_folder)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{own}"}, 200),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        # A name that was pointed at this machine.
        ({"Origin": "http://elsewhere.example", "Host": "elsewhere.example"}, 403),
    ],
)
def test_pages_of_other_servers_may_not_ask(half, headers, status):
    sent = {name: value.format(own=half.rest_address) for name, value in headers.items()}
    url = f"{half.rest_address}/v1/models/half_plus_three:predict"
    answer = CLIENT.post(url, json={"instances": [1.0]}, headers=sent)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
