"""What must not cost twice, hang, or be answered wrongly from a ledger."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from gates import Gate
from sign_service import LABELS, SIGNS, SignService
from waiting import PATIENCE, ctrl_c, wait_until

from keras_reprogram import (
    BudgetSpentError,
    HTTPSource,
    KServeSource,
    QueryLedger,
    TFServingSource,
)
from keras_reprogram.source import query_key
from keras_reprogram.source.errors import NotBilledError
from keras_reprogram.source.remote import (
    SourceRefusedError,
    SourceUnavailableError,
    dispatch,
)
from keras_reprogram.source.remote.clarifai import failure_of_status
from keras_reprogram.source.remote.google_vision import check_responses
from keras_reprogram.source.remote.grpc_transport import failure_of
from keras_reprogram.source.remote.tf_serving_grpc import TFServingGRPCSource
from keras_reprogram.testing import FakeKServe, FakeTFServing, HostedModel


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def source_of(service, **options):
    facts = {"value_range": (0, 255), "identity": "signs, version 1"} | options
    return HTTPSource(service.url, (32, 32, 3), LABELS, **facts)


def negative_or_not(pixels):
    dark = (pixels.mean(axis=(1, 2, 3)) < 0).astype(np.float64)
    return np.stack([dark, 1 - dark], axis=1)


@pytest.mark.parametrize("protocol", ["rest", "kserve"])
def test_another_value_range_is_another_request(tmp_path, protocol):
    hosted = HostedModel(negative_or_not, (4, 4, 3), ["dark", "light"], value_range=(-1, 1))
    fake = FakeTFServing(hosted, "m") if protocol == "rest" else FakeKServe(hosted, "m")
    black = np.zeros((1, 4, 4, 3), np.float32)
    with fake, QueryLedger(tmp_path / "l") as ledger:
        answers = []
        for value_range in ((0, 255), (-1, 1)):
            facts = {"value_range": value_range, "identity": "m", "ledger": ledger}
            if protocol == "rest":
                source = TFServingSource(fake.address, "m", (4, 4, 3), hosted.class_names, **facts)
            else:
                named = {"input_name": "image"}
                source = KServeSource(
                    fake.address, "m", (4, 4, 3), hosted.class_names, **named, **facts
                )
            answers.append(np.asarray(source(black + value_range[0])))
        assert fake.bill == 2
        assert answers[0].argmax() == 1 and answers[1].argmax() == 0


def in_time(call, seconds=PATIENCE):
    """What a call returned, or a failed test if it hangs."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits for ever"
    return found[0]


def test_an_error_in_reading_leaves_nothing_open(tmp_path):
    wrong = [True]

    def read(answer):
        if wrong:
            raise ZeroDivisionError("of the reader")
        return answer["predictions"]

    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, read_answer=read)
        with pytest.raises(ValueError, match="ZeroDivisionError.*of the reader"):
            source(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
        wrong.clear()
        assert in_time(lambda: np.asarray(source(images_of(1)))).shape == (1, 43)


def test_ctrl_c_while_answers_are_written_leaves_nothing_open(tmp_path, monkeypatch):
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, images_per_request=4)
        settling = ledger.settling

        def interrupted(*arguments):
            monkeypatch.setattr(ledger, "settling", settling)
            raise KeyboardInterrupt

        monkeypatch.setattr(ledger, "settling", interrupted)
        with pytest.raises(KeyboardInterrupt):
            source(images_of(4))
        assert ledger.counts() == {"sent": 4, "billed": 0, "free": 0}
        assert in_time(lambda: np.asarray(source(images_of(4)))).shape == (4, 43)
        assert service.bill == ledger.spent == 8


@pytest.mark.parametrize("on_unknown", ["skip", "raise", "resend"])
def test_on_unknown_is_for_crashes_not_for_retries(tmp_path, on_unknown):
    with (
        SignService([503]) as service,
        QueryLedger(tmp_path / "l", on_unknown=on_unknown) as ledger,
    ):
        answers = source_of(service, ledger=ledger)(images_of(1))
        np.testing.assert_allclose(answers, SIGNS(images_of(1)), atol=1e-6)
        assert ledger.spent == 2


def test_ctrl_c_ends_the_retries_of_the_others(tmp_path, monkeypatch):
    waiting = threading.Semaphore(0)

    class WatchedStop(dispatch.Stop):
        def wait(self, timeout=None):
            waiting.release()
            return super().wait(timeout)

    monkeypatch.setattr(dispatch, "Stop", WatchedStop)
    faults, sent = [(503, {"Retry-After": "3600"})] * 99, []
    with SignService(faults) as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, concurrency=4, retries=9)
        ask, images = source._answer_part, images_of(4)

        def interrupted(part, stop):
            if np.array_equal(part[0], images[0]):
                # When the others wait an hour, as they were told.
                for _ in images[1:]:
                    assert waiting.acquire(timeout=PATIENCE)
                sent.append(service.requests)
                raise KeyboardInterrupt
            return ask(part, stop)

        monkeypatch.setattr(source, "_answer_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            source(images)
        assert [service.requests] == sent


def test_a_body_that_cannot_be_built_costs_nothing(tmp_path):
    def build(payloads):
        raise KeyError("image")

    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match="`build_request` must .*nothing was sent"):
            source_of(service, ledger=ledger, build_request=build)(images_of(2))
        assert (ledger.spent, service.requests) == (0, 0)


def test_images_that_are_not_finite_are_not_sent():
    with SignService() as service:
        with pytest.raises(ValueError, match="finite to be sent. Received: NaN"):
            source_of(service)(np.full((1, 32, 32, 3), np.nan, np.float32))
        assert service.requests == 0


def test_a_key_is_hidden_before_a_text_is_cut(tmp_path, monkeypatch):
    key = "sk-0123456789-abcdefghij"
    monkeypatch.setenv("SERVICE_KEY", key)

    class Error:
        def code(self):
            import grpc

            return grpc.StatusCode.INVALID_ARGUMENT

        def details(self):
            return "x" * 190 + key

        def trailing_metadata(self):
            return ()

    said = [
        str(failure_of(Error(), "s", "SERVICE_KEY")),
        str(failure_of_status({"code": 11102, "details": "x" * 190 + key}, "s", "SERVICE_KEY")),
    ]
    assert not any("sk-01" in text for text in said)

    def echo(answer):
        raise ValueError(f"strange: {answer}")

    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        service.hosted.class_names = (*LABELS[:-1], key)
        source = source_of(
            service, ledger=ledger, key_variable="SERVICE_KEY", read_answer=lambda _: echo(key)
        )
        with pytest.raises(ValueError, match="strange") as caught:
            source(images_of(1))
        assert key not in str(caught.value) and caught.value.__cause__ is None
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("url", ["me:secret@host", "htps://me:secret@host", "https://me:secret@h"])
def test_a_password_in_a_url_is_not_shown(url):
    with pytest.raises(ValueError, match="must not hold a password") as caught:
        HTTPSource(url, (8, 8, 3), "ab", value_range=(0, 1), identity="none")
    assert "secret" not in str(caught.value)


def test_a_busy_and_a_failed_image_are_not_free():
    with pytest.raises(SourceUnavailableError) as caught:
        check_responses([{"error": {"code": 8}}, {"error": {"code": 13}}])
    assert type(caught.value) is SourceUnavailableError


@pytest.mark.parametrize("status", [408, 409, 499])
def test_a_request_that_was_given_up_may_be_billed(tmp_path, status):
    with SignService([status]) as service, QueryLedger(tmp_path / "l") as ledger:
        source_of(service, ledger=ledger)(images_of(1))
        assert ledger.counts() == {"sent": 1, "billed": 1, "free": 0}


class _Status:
    """What a call of gRPC raises."""

    def __init__(self, code, details):
        self._code, self._details = code, details

    def code(self):
        return getattr(grpc.StatusCode, self._code)

    def details(self):
        return self._details

    def trailing_metadata(self):
        return ()


@pytest.mark.parametrize(
    ("endpoint", "code", "words", "free"),
    [
        ("10.0.0.1:8500", "UNAVAILABLE", "{} ipv4:10.0.0.1:8500: Failed to connect", True),
        ("a.example", "UNAVAILABLE", "{} ipv4:10.0.0.1:443: Failed to connect", True),
        ("[::1]:8500", "UNAVAILABLE", "{} ipv6:%5B::1%5D:8500: Failed to connect", True),
        ("a.example:8500", "UNAVAILABLE", "DNS resolution failed for a.example:8500: no", True),
        # What a service says of another one behind it, after it has classified.
        ("10.0.0.1:8500", "UNAVAILABLE", "{} ipv4:10.0.0.1:9000: Failed to connect", False),
        ("a.example:8500", "UNAVAILABLE", "DNS resolution failed for b.example:8500: no", False),
        ("10.0.0.1:8500", "UNAVAILABLE", "Socket closed", False),
        ("10.0.0.1:8500", "RESOURCE_EXHAUSTED", "SERVER: Sent message larger than max", False),
        ("10.0.0.1:8500", "RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max", False),
        ("10.0.0.1:8500", "RESOURCE_EXHAUSTED", "SERVER: Received message larger than max", True),
        ("10.0.0.1:8500", "RESOURCE_EXHAUSTED", "quota", True),
    ],
)
def test_what_grpc_says_of_a_request_that_never_left(endpoint, code, words, free):
    said = words.format("failed to connect to all addresses; last error: UNKNOWN:")
    failure = failure_of(_Status(code, said), "a service", None, endpoint)
    assert isinstance(failure, NotBilledError) is free


def test_what_a_service_says_of_one_behind_it_is_billed(tmp_path):
    """The words of gRPC for a request that never left, of a server that worked on it."""

    def answer(request, context):
        bill.append(request)
        context.abort(grpc.StatusCode.UNAVAILABLE, behind)

    bill, behind = [], "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.9:1:"
    handler = grpc.unary_unary_rpc_method_handler(answer)
    service = "tensorflow.serving.PredictionService"
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Predict": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with QueryLedger(tmp_path / "l", budget=3) as ledger:
        source = TFServingGRPCSource(
            f"127.0.0.1:{port}", "m", (4, 4, 3), ["a", "b"], value_range=(0, 255), identity="m",
            input_name="image", ledger=ledger, retries=9,
        )  # fmt: skip
        with pytest.raises(BudgetSpentError):
            source(np.zeros((1, 4, 4, 3), np.float32))
        assert ledger.spent == len(bill) == 3
    server.stop(0).wait()


def test_what_waits_in_the_queue_of_an_executor_is_neither_claimed_nor_sent(tmp_path, monkeypatch):
    with (
        SignService() as service,
        QueryLedger(tmp_path / "l") as ledger,
        ThreadPoolExecutor(1) as one,
        ctrl_c() as press_ctrl_c,
    ):
        source = source_of(service, ledger=ledger, executor=one, concurrency=8)
        found, gate = [], Gate(service).open_at_stop(monkeypatch)

        def press():
            gate.wait_for(1)
            found.append(ledger.counts())
            press_ctrl_c()

        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            source(images_of(12))
        assert found == [{"sent": 1, "billed": 0, "free": 0}]
        assert service.requests == ledger.spent == source.queries_used == 1


def test_a_request_of_ours_in_the_queue_of_a_busy_executor_is_called_back(tmp_path):
    go_on = threading.Event()
    with (
        SignService() as service,
        QueryLedger(tmp_path / "l") as ledger,
        ThreadPoolExecutor(2) as busy,
        ctrl_c() as press_ctrl_c,
    ):
        for _ in range(2):
            busy.submit(go_on.wait, PATIENCE)
        source = source_of(service, ledger=ledger, executor=busy)

        def press():
            wait_until(lambda: ledger.counts()["sent"] == 2)
            press_ctrl_c()

        threading.Thread(target=press).start()
        try:
            with pytest.raises(KeyboardInterrupt):
                source(images_of(2))
            assert ledger.counts() == {"sent": 0, "billed": 0, "free": 2}
            assert service.requests == ledger.spent == source.queries_used == 0
        finally:
            go_on.set()


class _LetsItselfBeCancelled(Executor):
    """As Dask's: a future that was cancelled while its request is under way."""

    def __init__(self):
        self.threads = ThreadPoolExecutor(2)

    def submit(self, function, *arguments):
        self.threads.submit(function, *arguments).result()
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_a_cancelled_future_of_another_executor_may_be_billed(tmp_path):
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, executor=_LetsItselfBeCancelled())
        with pytest.raises(CancelledError):
            source(images_of(1))
        assert service.bill == ledger.spent == ledger.counts()["sent"] == 1


def test_an_executor_that_is_shut_down_costs_nothing(tmp_path):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with SignService() as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, executor=executor)
        with pytest.raises(SourceRefusedError, match="executor.*Received: RuntimeError"):
            source(images_of(1))
        assert service.requests == ledger.spent == 0


def _sleep_long():
    time.sleep(60)


def test_a_child_that_outlives_a_run_does_not_keep_its_queries(tmp_path):
    """A forked worker of an executor inherits what is open."""
    key = query_key("a", "", b"b")
    reader, writer = os.pipe()
    run = os.fork()
    if run == 0:
        ledger = QueryLedger(tmp_path / "l")
        ledger.claim([key])
        child = multiprocessing.get_context("fork").Process(target=_sleep_long)
        child.start()
        os.write(writer, str(child.pid).encode())
        os.kill(os.getpid(), 9)
    os.waitpid(run, 0)
    orphan = int(os.read(reader, 20))
    try:
        with QueryLedger(tmp_path / "l") as ledger:
            claim = ledger.claim([key])
            assert list(claim.ours) == [key] and not claim.elsewhere
    finally:
        os.kill(orphan, 9)
