"""Training through a failing service, killed again and again: the bill, the answers, the result."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ledger_rows import select
from soak_run import CONCURRENCY, QUERIES

from keras_reprogram import LiteRTSource, embedded_path
from keras_reprogram.testing import Faults, HostedModel
from keras_reprogram.testing.fake_tf_serving import FakeTFServing

RUN = Path(__file__).with_name("soak_run.py")
SIGNS = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


def start(service, folder, name, ledger, budget):
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    arguments = [service.address, ledger, folder / f"{name}.npz", budget]
    return subprocess.Popen(
        [sys.executable, RUN, *map(str, arguments)],
        env=os.environ | one_thread,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def weights(path):
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [1, 20])
def test_killed_and_resumed_equals_uninterrupted(place, tmp_path, kills, seed=0):
    folder, ledger = tmp_path, place("killed")
    with FakeTFServing(HostedModel.of(SIGNS), "signs") as service:
        finish(start(service, folder, "smooth", place("smooth"), QUERIES))
        assert service.bill <= QUERIES
        needed = service.bill

    budget = 2 * QUERIES
    faults = Faults(share=0.15, seed=seed)
    with FakeTFServing(HostedModel.of(SIGNS), "signs", faults=faults) as service:
        draw = random.Random(seed)
        moments = sorted(draw.randrange(needed) for _ in range(kills))
        for moment in moments:
            process = start(service, folder, "killed", ledger, budget)
            while service.requests < moment and process.poll() is None:
                time.sleep(draw.random() * 0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert service.bill <= budget
        finish(start(service, folder, "killed", ledger, budget))
        assert needed <= service.bill <= spent(ledger) <= budget

    answered_again, lost = lost_and_repeated(ledger)
    assert answered_again == 0
    assert lost <= CONCURRENCY * kills
    pairs = zip(weights(folder / "smooth.npz"), weights(folder / "killed.npz"), strict=True)
    assert all(np.array_equal(smooth, killed) for smooth, killed in pairs)


def spent(ledger):
    ((attempts,),) = select(
        ledger, "SELECT COUNT(*) FROM attempts WHERE state IN ('sent', 'billed')"
    )
    return attempts


def lost_and_repeated(ledger):
    """Attempts after an answer was there, and attempts that a kill left open."""
    ((repeated,),) = select(
        ledger,
        "SELECT COUNT(*) FROM attempts a JOIN attempts b ON a.key = b.key "
        "WHERE a.answer IS NOT NULL AND b.id > a.id",
    )
    ((open_ones,),) = select(
        ledger, "SELECT COUNT(*) FROM attempts WHERE state = 'sent' AND note IS NULL"
    )
    return repeated, open_ones
