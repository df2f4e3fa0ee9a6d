"""Clients of one's own: in threads, in other processes, and sources that still send themselves."""

import gc
import os
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context

import numpy as np
import pytest
from sign_service import LABELS, SignService

from keras_reprogram import HTTPSource, QueryLedger
from keras_reprogram.source.remote import (
    HTTPClient,
    RemoteSource,
    ServiceClient,
    SourceRefusedError,
)

FACTS = {"value_range": (0, 255), "identity": "test"}
IMAGES = np.zeros((6, 2, 2, 3), np.float32)


@dataclass(frozen=True)
class Counting(ServiceClient):
    """Answers with the number of this process's requests, and its process."""

    factor: float

    def send(self, payloads, endpoint):
        made = self.kept("numbers", lambda _: [])
        made.append(len(payloads))
        return [[self.factor * len(made), os.getpid()] for _ in payloads]


def counting(**options):
    facts = FACTS | {"score_kind": "logits", "concurrency": 1}
    return RemoteSource((2, 2, 3), ["a", "b"], client=Counting(2.0), **facts, **options)


def test_a_client_of_ones_own_is_asked_by_threads(tmp_path):
    with QueryLedger(tmp_path / "l") as ledger:
        answers = np.asarray(counting(ledger=ledger)(IMAGES))
        assert ledger.spent == 1  # six times the same image
    assert answers[:, 0].tolist() == [2.0] * 6 and set(answers[:, 1]) == {os.getpid()}


@pytest.mark.slow
def test_an_executor_gets_send_and_its_process_keeps_what_it_made():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        answers = np.asarray(counting(executor=executor)(IMAGES))
    assert sorted(answers[:, 0]) == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert set(answers[:, 1]) != {os.getpid()} and len(set(answers[:, 1])) == 1


def maker(client):
    return client.kept("maker", lambda _: os.getpid())


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="Windows has no forks")
def test_a_forked_process_leaves_its_parents_connections_alone():
    client = Counting(1.0)
    assert maker(client) == os.getpid()
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as executor:
        assert executor.submit(maker, client).result() not in (os.getpid(), None)
    assert maker(client) == os.getpid()


def test_copies_of_a_client_share_what_a_process_keeps_until_it_is_closed():
    closed = []
    client, other = Counting(1.0), Counting(1.0)
    copy = pickle.loads(pickle.dumps(client))

    def make(stack):
        stack.callback(closed.append, "closed")
        return object()

    first = client.kept("connection", make)
    assert copy.kept("connection", make) is first
    assert other.kept("connection", make) is not first
    client.close()
    assert closed == ["closed"] and copy.kept("connection", make) is not first


def test_a_source_that_ends_closes_its_connections():
    source, closed = counting(), []
    source.client.kept("connection", lambda stack: stack.callback(closed.append, "closed"))
    del source
    gc.collect()
    assert closed == ["closed"]


def test_a_source_without_a_client_cannot_ask():
    with pytest.raises(NotImplementedError, match="`send"):
        RemoteSource((2, 2, 3), ["a", "b"], **FACTS)(IMAGES[:1])


class OldSource(RemoteSource):
    """As sources were written before there were clients."""

    request_fields = ("factor",)

    def __init__(self, factor, **options):
        super().__init__((2, 2, 3), ["a", "b"], score_kind="logits", **FACTS, **options)
        self.factor = factor

    def request(self, payloads, endpoint):
        if not self.factor:
            raise SourceRefusedError(f"{endpoint} refused")
        return [[self.factor, os.getpid()] for _ in payloads]


def test_request_of_a_source_is_deprecated_and_still_called():
    with pytest.warns(DeprecationWarning, match="OldSource.request.*`ServiceClient`.*`client=`"):
        source = OldSource(3.0)
    assert np.asarray(source(IMAGES)).tolist() == [[3.0, os.getpid()]] * 6
    assert source.queries_used == 6
    with pytest.warns(DeprecationWarning), pytest.raises(SourceRefusedError, match="east refused"):
        OldSource(0.0, endpoints=["east"])(IMAGES)


@pytest.mark.slow
def test_request_of_a_source_is_still_called_in_other_processes():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        with pytest.warns(DeprecationWarning):
            source = OldSource(3.0, executor=executor)
        answers = np.asarray(source(IMAGES))
    assert set(answers[:, 0]) == {3.0} and os.getpid() not in answers[:, 1]


class OldHTTPSource(HTTPSource):
    """One that writes down what it sends."""

    def request(self, payloads, endpoint):
        self.sent = endpoint
        return super().request(payloads, endpoint)


def test_request_may_call_that_of_its_class():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    with SignService() as service:
        with pytest.warns(DeprecationWarning):
            source = OldHTTPSource(service.url, (32, 32, 3), LABELS, **FACTS)
        np.testing.assert_allclose(source(images), service.model(images), atol=1e-6)
        assert source.sent == service.url


def test_our_sources_are_not_deprecated():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        HTTPSource("http://127.0.0.1:9", (2, 2, 3), ["a"], **FACTS)


@dataclass(frozen=True, kw_only=True)
class RawClient(HTTPClient):
    """Sends what no service of the test understands."""

    def body(self, payloads):
        return payloads[0], {"Content-Type": "image/png"}


def test_another_body_is_a_clients():
    class Old(HTTPSource):
        def body(self, payloads):
            return payloads[0], {}

    with pytest.raises(TypeError, match="Old.body. Move it to a subclass of `HTTPClient`"):
        Old("http://127.0.0.1:9", (2, 2, 3), ["a"], **FACTS)
    with SignService() as service:
        source = HTTPSource(service.url, (32, 32, 3), LABELS, client=RawClient, **FACTS)
        with pytest.raises(SourceRefusedError, match="Received: 400"):
            source(np.zeros((1, 32, 32, 3)))
        assert source.client.body([b"file"])[0] == b"file"
