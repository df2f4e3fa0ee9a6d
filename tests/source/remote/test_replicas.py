"""Several endpoints, other executors, and what a service is used to."""

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from gates import Gate
from sign_service import LABELS, SignService

from keras_reprogram import HTTPSource, QueryLedger
from keras_reprogram.source import query_key
from keras_reprogram.source.remote import SourceUnavailableError
from keras_reprogram.source.remote.endpoints import Endpoints
from keras_reprogram.testing import Faults

DEAD = "http://127.0.0.1:9/v1/models/signs:predict"


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def source_of(urls, **options):
    facts = {"value_range": (0, 255), "identity": "signs, version 1"} | options
    return HTTPSource(urls, (32, 32, 3), LABELS, **facts)


def test_work_goes_round_and_each_has_its_limit():
    images = images_of(40)
    with SignService() as first, SignService() as second:
        Gate(first, second, opens_at=6)
        source = source_of([first.url, second.url], concurrency=3)
        np.testing.assert_allclose(source(images), first.model(images), atol=1e-6)
        assert first.bill + second.bill == 40
        assert first.most_together == second.most_together == 3


@pytest.mark.slow
def test_two_replicas_are_twice_as_fast():
    """Latency-bound: what is waited for costs no processor."""
    images, seconds = images_of(96), []
    with SignService(latency=0.25) as first, SignService(latency=0.25) as second:
        for urls in ([first.url], [first.url, second.url]):
            source = source_of(urls, concurrency=4, retries=0)
            source(images[:8])
            start = time.monotonic()
            source(images)
            seconds.append(time.monotonic() - start)
    print(f"two replicas: {seconds[0] / seconds[1]:.2f} times as fast as one")
    assert seconds[0] / seconds[1] >= 1.7  # 1.9 and more on a machine that does nothing else


def test_a_dead_replica_is_left_out_and_a_sick_one_tried_again(tmp_path):
    images, now = images_of(60), [0.0]
    with (
        SignService([503] * 3) as sick,
        SignService() as well,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        urls = [DEAD, sick.url, well.url]
        source = source_of(urls, concurrency=2, ledger=ledger)
        source.dispatcher.endpoints = Endpoints(urls, 2, clock=lambda: now[0])
        np.testing.assert_allclose(source(images), well.model(images), atol=1e-6)
        # A connection that is refused is free; of a 503 nobody knows.
        assert ledger.counts()["sent"] == 3 - len(sick.faults.left)
        assert 1 <= ledger.counts()["free"] <= 2
        assert sick.bill == 0 and well.bill == 60
        sick.faults.left.clear()
        now[0] += 60.0
        source(images_of(20, seed=1))
        assert sick.bill > 0


def test_if_all_are_down_the_error_comes():
    source = source_of([DEAD, DEAD.replace(":9/", ":10/")], retries=2)
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        source(images_of(1))


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_wrong_endpoints(names):
    with pytest.raises(ValueError, match="each once"):
        Endpoints(names, 1)


@pytest.mark.slow
def test_an_executor_of_other_processes_asks(tmp_path):
    images = images_of(10)
    with (
        SignService([503, 429]) as service,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        source = source_of(service.url, executor=executor, ledger=ledger, concurrency=2)
        np.testing.assert_allclose(source(images), service.model(images), atol=1e-6)
        # The ledger and the retries are this process's: the 503 may be billed, the 429 is not.
        assert ledger.counts() == {"sent": 1, "billed": 10, "free": 1}


SERVER = """
import sys, numpy as np
from keras_reprogram.testing import FakeTFServing, HostedModel

def share(pixels):
    mean = pixels.mean(axis=(1, 2, 3)) / 255
    return np.stack([mean, 1 - mean], axis=1)

hosted = HostedModel(share, (8, 8, 3), ["light", "dark"])
signatures = {"serving_default": ("image", "encoded")}
with FakeTFServing(hosted, signatures=signatures, latency=0.1, at_a_time=16) as service:
    print(service.address, flush=True)
    sys.stdin.read()
"""


def seconds_to_write(ledger):
    """What a claim waits for the disk, at this moment and on this machine."""
    started = time.monotonic()
    for number in range(20):
        ledger.claim([query_key("nobody", f"{started}", bytes([number]))])
    return (time.monotonic() - started) / 20


@pytest.mark.slow
@pytest.mark.parametrize("journal", [None, "rollback journal", "write-ahead log"])
def test_a_service_is_used_to_what_it_allows(tmp_path, monkeypatch, journal):
    """100 ms and 16 in flight: 160 queries a second. The service is a process of its own.

    Whatever else the machine does only takes away from that, so the best of three rounds counts.
    """
    numbers = (3, 51, 2) if journal == "rollback journal" else (3, 51, 3)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", numbers)
    count, rounds = 800, 3
    images = np.random.default_rng(0).uniform(0, 255, (32 + rounds * count, 8, 8, 3))
    service = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with service, QueryLedger(tmp_path / "l") as ledger:
        source = HTTPSource(
            f"{service.stdout.readline().strip()}/v1/models/model:predict",
            (8, 8, 3),
            ["light", "dark"],
            value_range=(0, 255),
            identity="share of light",
            ledger=ledger if journal else None,
            concurrency=16,
            retries=0,
        )
        first, *others = np.split(images.astype(np.float32), range(32, len(images), count))
        source(first)
        best = 0.0
        for images_of_round in others:
            waits = seconds_to_write(ledger)
            start = time.monotonic()
            source(images_of_round)
            used = count / 160 / (time.monotonic() - start)
            waits = max(waits, seconds_to_write(ledger)) if journal else 0.0
            print(f"{journal or 'no ledger'}: {used:.3f} used, {waits:.4f} s a claim")
            # A claim waits for the transaction under way and for its own.
            best = max(best, used * (0.1 + 2 * waits) / 0.1)
        service.stdin.close()
    assert best >= 0.8


def test_a_tenth_of_faults_loses_nothing():
    images = images_of(60)
    with SignService(
        # Answers that are malformed twice stop a run, and order decides whether one is.
        Faults(share=0.1, kinds=(500, "reset", 503), seed=4)
    ) as service:
        source = source_of(service.url, retries=9)
        np.testing.assert_allclose(source(images), service.model(images), atol=1e-6)
