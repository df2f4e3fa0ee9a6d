"""Whatever is sent, the server says what is wrong with it, and goes on."""

import gc
import os

import grpc
import httpx
import psutil
import pytest
from malformed_requests import METHODS, draws, grpc_cases, rest_cases
from served_models import post

# What a client may be told of its own mistakes.
CODES = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
}


def send_rest(server, count, seed):
    kinds = list(rest_cases().items())
    with httpx.Client(base_url=server.rest_address, timeout=30) as client:
        for number, draw in enumerate(draws(count, seed)):
            kind, make = kinds[number % len(kinds)]
            method, path, body, statuses = make(draw)
            answer = client.request(method, path, content=body)
            told = (kind, number, method, path, body[:300], answer.status_code, answer.text[:300])
            assert answer.status_code in statuses, told
            assert answer.json()["error"], told


def send_grpc(server, count, seed):
    kinds = list(grpc_cases().items())
    with grpc.insecure_channel(server.grpc_address) as channel:
        ask = {name: channel.unary_unary(f"/tensorflow.serving.{name}") for name in METHODS}
        for number, draw in enumerate(draws(count, seed)):
            kind, make = kinds[number % len(kinds)]
            method, content = make(draw)
            with pytest.raises(grpc.RpcError) as raised:
                ask[method](content, timeout=30)
            error = raised.value
            told = (kind, number, method, content[:300], error.code(), error.details())
            assert error.code().name in CODES, told
            assert error.details(), told


def memory():
    gc.collect()
    return psutil.Process(os.getpid()).memory_info().rss


def check_alive(server):
    assert post(server, {"instances": [1.0, 2.0, 5.0]}).json() == {"predictions": [3.5, 4.0, 5.5]}


@pytest.mark.slow
def test_two_hundred_malformed_requests(half):
    send_rest(half, 120, seed=1)
    send_grpc(half, 80, seed=1)
    check_alive(half)


@pytest.mark.slow
def test_thousands_of_malformed_requests_take_no_memory(half):
    send_rest(half, 400, seed=2)
    send_grpc(half, 400, seed=2)
    before = memory()
    for seed in (3, 4, 5):
        send_rest(half, 1200, seed)
        send_grpc(half, 800, seed)
    grown = memory() - before
    print(f"6,000 malformed requests; memory grew by {grown / 2**20:.1f} MiB")
    assert grown < 40 * 2**20
    check_alive(half)
