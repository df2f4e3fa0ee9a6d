"""HTTPSource over a real socket: faults, limits, money, secrets."""

import email.utils
import sys
import threading
import time
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from gates import Gate
from sign_service import KEY, LABELS, SignService
from waiting import ctrl_c, wait_until

from keras_reprogram import (
    BudgetSpentError,
    DenseMap,
    HTTPSource,
    ProgramLayer,
    QueryLedger,
    ReprogrammedModel,
)
from keras_reprogram.datasets import load_target
from keras_reprogram.source.remote import (
    SourceBusyError,
    SourceDriftedError,
    SourceRefusedError,
    SourceUnavailableError,
    named_scores,
)
from keras_reprogram.source.remote.dispatch import RateLimit, Stop
from keras_reprogram.source.remote.endpoints import Endpoints
from keras_reprogram.source.remote.http_source import Posted

TRANSPORT_FAULTS = [
    500,
    503,
    "reset",
    429,
    (429, {"Retry-After": "0"}),
    (503, {"Retry-After": "0"}),
]


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def source_of(service, **options):
    facts = {"value_range": (0, 255), "identity": "signs, version 1"} | options
    return HTTPSource(service.url, (32, 32, 3), LABELS, **facts)


def test_answers_are_those_of_the_model_behind_it():
    images = images_of(7)
    with SignService() as service:
        source = source_of(service, images_per_request=3)
        np.testing.assert_allclose(source(images), service.model(images), atol=1e-6)
        assert source.queries_used == sum(service.billed.values()) == 7
        assert source.class_names == LABELS


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    images = images_of(4)
    with SignService([fault, fault]) as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, concurrency=1)
        np.testing.assert_allclose(source(images), service.model(images), atol=1e-6)
        counts = ledger.counts()
        # A 429 is surely not billed; nobody knows of the others.
        surely_free = fault == 429 or (isinstance(fault, tuple) and fault[0] == 429)
        assert (counts["free"], counts["sent"]) == ((2, 0) if surely_free else (0, 2))
        assert sum(service.billed.values()) <= ledger.spent
        again = source_of(service, ledger=ledger)
        again(images)
        assert again.queries_used == 0


def test_retries_end():
    with (
        SignService([500] * 9) as service,
        pytest.raises(SourceUnavailableError, match=r"signs:predict failed \(500\)"),
    ):
        source_of(service, retries=2)(images_of(1))
    assert len(service.faults.left) == 6


def test_retry_after_is_honoured():
    with SignService([(429, {"Retry-After": "1"})]) as service:
        gate = Gate(service, opens_at=1)
        source_of(service)(images_of(1))
        refused, repeated = gate.arrivals
        assert repeated - refused >= 1.0


def test_retry_after_holds_for_the_requests_that_were_not_told():
    with SignService([(429, {"Retry-After": "1"})]) as service:
        gate = Gate(service, opens_at=1)
        source_of(service, concurrency=1)(images_of(4))
        # The refused one, one that was ready to be sent, and then a second without any.
        assert len(gate.arrivals) == 5
        assert gate.arrivals[2] - gate.arrivals[0] >= 1.0


def test_a_wait_is_asked_for_by_all_endpoints_or_by_none():
    now, waited = [5.0], []
    endpoints = Endpoints("ab", 1, clock=lambda: now[0])
    for name, wait in (("a", 2.0), ("b", 3.0)):
        assert endpoints.wait_as_asked(waited.append) is None and waited == []
        with pytest.raises(SourceBusyError), endpoints.watched(name):
            raise SourceBusyError("busy", wait)
    endpoints.wait_as_asked(waited.append)
    assert waited == [2.0] and not endpoints.any_well()
    now[0] += 2.0
    endpoints.wait_as_asked(waited.append)
    assert waited == [2.0] and endpoints.any_well()


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)])
def test_times_of_retry_after(value, seconds):
    assert Posted(429, {"Retry-After": value}, b"").retry_after == seconds


def test_a_date_of_retry_after():
    soon = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=90))
    assert 60 <= Posted(429, {"Retry-After": soon}, b"").retry_after <= 90


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}])
def test_no_time_of_retry_after(headers):
    assert Posted(429, headers, b"").retry_after is None


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", ["truncated", "wrong labels", "nan"])
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    with SignService([fault]) as service, QueryLedger(tmp_path / "l") as ledger:
        source_of(service, ledger=ledger)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
    with SignService([fault] * 3) as service, QueryLedger(tmp_path / "m") as ledger:
        with pytest.raises(ValueError, match="Received"):
            source_of(service, ledger=ledger)(images_of(1))
        assert ledger.spent == sum(service.billed.values()) == 2
        assert len(service.faults.left) == 1


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "Check `build_request`"),
        (404, "model's name"),
        (413, "too large"),
        (418, "documentation"),
    ],
)
def test_what_is_final_is_not_repeated(tmp_path, status, hint):
    with SignService([status, status]) as service, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match=f"Received: {status} .*{hint}"):
            source_of(service, ledger=ledger, concurrency=1)(images_of(1))
        assert len(service.faults.left) == 1
        assert ledger.spent == 0


def test_redirects_are_refused():
    elsewhere = {"Location": "http://evil.example/v1"}
    with (
        SignService([(307, elsewhere)]) as service,
        pytest.raises(SourceRefusedError, match="a redirect to evil.example"),
    ):
        source_of(service)(images_of(1))


def test_a_key_is_sent_and_nowhere_else(tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(0)
    with SignService(key=KEY) as service, QueryLedger(tmp_path / "l", keep_payloads=True) as ledger:
        source = source_of(service, ledger=ledger, key_variable="SIGNS_KEY")
        with pytest.raises(SourceRefusedError, match="no SIGNS_KEY. Set it: export SIGNS_KEY="):
            source(images_of(1))
        assert ledger.spent == 0
        monkeypatch.setenv("SIGNS_KEY", KEY)
        source(images_of(2))
        monkeypatch.setenv("SIGNS_KEY", KEY + "x")
        with pytest.raises(SourceRefusedError, match="Received: 401 .*Check the key") as caught:
            source(images_of(1, seed=3))
        assert KEY not in str(caught.value) and KEY not in repr(vars(source))
    out, err = capfd.readouterr()
    assert KEY not in out + err + caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_budget_ends_in_one_piece(tmp_path):
    with SignService() as service, QueryLedger(tmp_path / "l", budget=5) as ledger:
        source = source_of(service, ledger=ledger, concurrency=3)
        with pytest.raises(BudgetSpentError):
            source(images_of(9))
        assert sum(service.billed.values()) == ledger.spent == 5


def test_concurrency_and_rate():
    images = images_of(24)
    with SignService() as service:
        Gate(service, opens_at=6)
        source_of(service, concurrency=6)(images)
        assert service.most_together == 6
    with SignService() as service:
        start = time.monotonic()
        source_of(service, queries_per_second=20)(images_of(11))
        assert time.monotonic() - start >= 0.5


def test_ctrl_c_waits_for_what_is_in_flight(tmp_path, monkeypatch):
    images = images_of(6)
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, concurrency=2)
        answer_part, gate = source._answer_part, Gate(service).open_at_stop(monkeypatch)

        def interrupted(part, stop):
            if np.array_equal(part[0], images[0]):
                return answer_part(part, stop)
            gate.wait_for(1)
            raise KeyboardInterrupt

        monkeypatch.setattr(source, "_answer_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            source(images)
        assert ledger.counts() == {"sent": 0, "billed": 1, "free": 0}


@pytest.mark.parametrize("with_ledger", [False, True])
def test_what_waits_for_room_is_not_sent_after_ctrl_c(tmp_path, monkeypatch, with_ledger):
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger if with_ledger else None, concurrency=4)
        answer_part, images = source._answer_part, images_of(12)
        gate = Gate(service).open_at_stop(monkeypatch)

        def interrupted(part, stop):
            if np.array_equal(part[0], images[0]):
                gate.wait_for(4)
                raise KeyboardInterrupt
            return answer_part(part, stop)

        monkeypatch.setattr(source, "_answer_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            source(images)
        # Two more were encoded already.
        assert service.requests == 4


@pytest.mark.parametrize("with_ledger", [False, True])
def test_what_waits_for_the_rate_limit_is_not_sent_after_ctrl_c(tmp_path, with_ledger):
    with (
        SignService() as service,
        QueryLedger(tmp_path / "l") as ledger,
        ctrl_c() as press_ctrl_c,
    ):
        source = source_of(
            service,
            ledger=ledger if with_ledger else None,
            concurrency=8,
            queries_per_second=0.001,
        )
        answered = {"sent": 0, "billed": int(with_ledger), "free": 0}

        def press():
            # The others wait for a quarter of an hour each.
            wait_until(lambda: service.bill == 1 and ledger.counts() == answered)
            press_ctrl_c()

        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            source(images_of(20))
        # Nothing that waits stands in the ledger, where a kill would leave it.
        assert service.requests == 1 and ledger.counts() == answered


class Clock:
    """A clock that only a wait moves, and every wait ends late."""

    def __init__(self, late=0.0):
        self.now, self.late = 100.0, late

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds + self.late
        return False


def test_queries_leave_evenly():
    clock, left = Clock(late=0.02), []
    limit = RateLimit(20.0, clock)
    for _ in range(13):
        limit.wait(1, clock)
        left.append(clock.now - 100.0)
    # One that wakes late makes no other late.
    np.testing.assert_allclose(left, [0.0, *(0.05 * np.arange(1, 13) + 0.02)])


def test_a_cancelled_wait_keeps_no_turn():
    clock, stop = Clock(), Stop()
    limit = RateLimit(0.01, clock)
    limit.wait(1, clock)
    stop.set()
    for _ in range(3):
        with pytest.raises(CancelledError):
            limit.wait(1, stop)
    limit.wait(1, clock)
    assert clock.now == 200.0


def test_an_error_stops_what_waits_for_the_rate_limit(tmp_path, monkeypatch):
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, concurrency=12, queries_per_second=0.001)
        answer_part, images = source._answer_part, images_of(8)

        def fails(part, stop):
            if np.array_equal(part[0], images[7]):
                wait_until(lambda: service.bill == ledger.spent == 1)
                raise ZeroDivisionError("of the last one")
            return answer_part(part, stop)

        monkeypatch.setattr(source, "_answer_part", fails)
        with pytest.raises(ZeroDivisionError):
            source(images)
        assert service.requests == ledger.spent == 1


def test_what_was_paid_for_waits_for_no_turn(tmp_path):
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source_of(service, ledger=ledger)(images_of(12))
        # A turn of these would take hours.
        source_of(service, ledger=ledger, queries_per_second=0.0001)(images_of(12))


def test_nobody_there():
    source = HTTPSource(
        "http://127.0.0.1:9/x", (8, 8, 3), "ab", value_range=(0, 1), identity="none", retries=0
    )
    with pytest.raises(SourceUnavailableError, match="127.0.0.1:9/x cannot be reached"):
        source(np.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "signs.example"}, "must begin with http"),
        ({"url": "https://me:secret@signs.example"}, "must not hold a password. Received: one for"),
        ({"encoding": "gif"}, "`encoding` must be one of"),
        ({"concurrency": 0}, "must be at least 1"),
        ({"queries_per_second": 0}, "must be above 0"),
    ],
)
def test_wrong_arguments(changes, message):
    facts = {"url": "http://127.0.0.1:9/x", "value_range": (0, 1), "identity": "none"} | changes
    with pytest.raises(ValueError, match=message) as caught:
        HTTPSource(facts.pop("url"), (8, 8, 3), "ab", **facts)
    assert "secret" not in str(caught.value)


def test_named_scores():
    pairs = [("b", 0.7), ("a", 0.1)]
    assert named_scores(pairs, "abc", missing=0.02) == [0.1, 0.7, 0.02]
    with pytest.raises(ValueError, match="Expected the labels a. Received: b"):
        named_scores(pairs, "a")


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_encodings(encoding):
    ramp = np.linspace(-1, 1, 32)[:, None, None] * np.ones((1, 32, 3))
    with SignService() as service:
        source = source_of(service, encoding=encoding, value_range=(-1, 1))
        source(ramp[None].astype(np.float32))
        (sent,) = service.billed
    assert sent[:4] == (b"\x89PNG" if encoding == "png" else b"\xff\xd8\xff\xe0")


def test_a_model_learns_digits_and_a_rerun_is_free(tmp_path):
    data = load_target("digits").draw(60, 20, 0)
    program = ProgramLayer((8, 8, 1), (32, 32, 3), source_range=(0, 255), placement="full")
    accuracies = []
    with SignService([503, "reset"]) as service, QueryLedger(tmp_path / "l") as ledger:
        for _ in range(2):
            source = source_of(service, ledger=ledger)
            model = ReprogrammedModel(program, source, DenseMap(10))
            model.fit_output_map(data.train_images, data.train_labels, verbose=0)
            predicted = model.predict(data.test_images, verbose=0).argmax(axis=1)
            accuracies.append((predicted == data.test_labels).mean())
        assert source.queries_used == 0
        with pytest.raises(ValueError, match="save_program"):
            model.get_config()
    assert accuracies[0] == accuracies[1] > 0.4


@pytest.mark.parametrize("package", ["urllib3", "tenacity"])
def test_a_missing_extra_names_its_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        SignService() as service,
        pytest.raises(
            ImportError, match=rf"package `{package}`: pip install 'keras-reprogram\[http\]'"
        ),
    ):
        source_of(service)(images_of(1))


def test_drifting_answers_stop_the_next_run(tmp_path):
    images = images_of(3)
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        for run, bill in enumerate((4, 4, 6)):
            # The second run asks nothing new, so that nothing is checked.
            source = source_of(service, ledger=ledger, drift_tolerance=0.01)
            source(images if run < 2 else images_of(1, seed=9))
            assert service.bill == bill == ledger.spent
        service.hosted.model = lambda pixels: np.roll(np.asarray(service.model(pixels)), 1, axis=1)
        source_of(service, ledger=ledger, drift_tolerance=0.01)(images)
        again = source_of(service, ledger=ledger, drift_tolerance=0.01)
        with pytest.raises(SourceDriftedError, match="The model was replaced"):
            again(images_of(5, seed=11))
        assert service.bill == 7 == ledger.spent
