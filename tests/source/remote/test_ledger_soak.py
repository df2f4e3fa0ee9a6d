"""Processes on one ledger, killed again and again on a busy machine: every bill has its row."""

import contextlib
import os
import random
import sqlite3
import time
from collections import Counter

import numpy as np
import pytest
from ledger_rows import select
from warm_processes import started

from keras_reprogram import BudgetSpentError, HTTPSource, QueryLedger
from keras_reprogram.source.ledger.postgres_url import is_postgres_url
from keras_reprogram.source.remote import endpoints, retries
from keras_reprogram.testing import Faults, HostedModel
from keras_reprogram.testing.fake_tf_serving import FakeTFServing

RUNS, KILLS, IMAGES, BUDGET = 12, 12, 120, 4000
SHAPE, LABELS = (6, 6, 3), ["red", "green", "blue"]
KINDS = (429, (429, {"Retry-After": "0"}), 500, (503, {"Retry-After": "0"}), 504, "reset", "drip")


def shares(pixels):
    sums = 1 + pixels.sum(axis=(1, 2))
    return sums / sums.sum(axis=1, keepdims=True)


def images_of(run):
    return np.random.default_rng(run).integers(0, 256, (IMAGES, *SHAPE)).astype(np.float32)


def source_on(url, ledger):
    facts = {"value_range": (0, 255), "identity": "shares of colours", "timeout": 1.0}
    return HTTPSource(url, SHAPE, LABELS, retries=60, concurrency=8, ledger=ledger, **facts)


def client(url, path, run, seed):
    """Asks for everything, in an order of its own, until all is answered rightly."""
    retries._FIRST_WAIT, retries._LONGEST_WAIT = 0.005, 0.02
    endpoints._FIRST_REST, endpoints._LONGEST_REST = 0.002, 0.01
    source = source_on(url, QueryLedger(path, BUDGET))
    images = images_of(run)[np.random.default_rng(seed).permutation(IMAGES)]
    for start in range(0, IMAGES, 40):
        part = images[start : start + 40]
        while True:
            try:
                answers = source(part)
                break
            except BudgetSpentError:
                raise
            except (ValueError, RuntimeError):
                # Malformed twice, or out of retries; what came is in the ledger.
                continue
        np.testing.assert_allclose(answers, shares(part), atol=1e-5)
    source.ledger.close()


def burn():
    while os.getppid() != 1:
        sum(range(10_000))


def look(path):
    """As people and other programs look into a ledger while it is written."""
    while os.getppid() != 1:
        if path.exists():
            with contextlib.suppress(sqlite3.OperationalError):
                select(path, "SELECT attempts FROM spent")
        time.sleep(0.002)


def run_to_the_end(url, path, run, how_many):
    """Exit codes of the clients that nobody killed."""
    draw, kills, codes = random.Random(run), 0, []
    clients = [started(client, url, path, run, number) for number in range(how_many)]
    while clients:
        time.sleep(draw.random() * 0.25)
        if kills < KILLS:
            kills += 1
            victim = draw.randrange(len(clients))
            clients[victim].kill()
            clients[victim].join()
            clients[victim] = started(client, url, path, run, 100 + kills)
        codes += [process.exitcode for process in clients if process.exitcode is not None]
        clients = [process for process in clients if process.exitcode is None]
    return codes


@pytest.mark.slow
@pytest.mark.parametrize("run", range(RUNS))
def test_every_query_on_the_bill_has_a_row(place, run):
    path = place("l")
    is_file = not is_postgres_url(path)
    hosted = HostedModel(shares, SHAPE, LABELS)
    signatures = {"serving_default": ("image", "encoded")}
    faults = Faults(share=0.25, seed=run, kinds=(*KINDS, "truncated", "wrong labels", "nan"))
    helpers = [started(burn)] + ([started(look, path)] if is_file else [])
    with FakeTFServing(hosted, "m", signatures=signatures, faults=faults, latency=0.01) as service:
        url = f"{service.address}/v1/models/m:predict"
        try:
            codes = run_to_the_end(url, path, run, how_many=2 if is_file else 4)
        finally:
            for process in helpers:
                process.kill()
                process.join()
        assert set(codes) == {0}
        billed = service.hosted.billed
    rows = select(path, "SELECT id, key, state, answer IS NOT NULL FROM attempts ORDER BY id")
    ((spent,),) = select(path, "SELECT attempts FROM spent")
    if is_file:
        assert select(path, "PRAGMA integrity_check") == [("ok",)]
    written = Counter(key for _, key, state, _ in rows if state != "free")
    first_answer = {key: number for number, key, _, answered in reversed(rows) if answered}
    source = source_on(url, None)
    key_of = {image: source._keys([image])[0] for image in billed}
    short = {image: count for image, count in billed.items() if count > written[key_of[image]]}
    print(f"run {run}: bill {billed.total()}, spent {spent}")
    assert not short and billed.total() <= spent == written.total() <= BUDGET
    assert len(first_answer) == IMAGES
    assert not [number for number, key, _, _ in rows if number > first_answer[key]]
