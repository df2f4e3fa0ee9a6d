"""`QueryLedger(warn_at=...)`: one warning and one call before the budget is spent."""

import os
import threading
import warnings

import numpy as np
import pytest

from keras_reprogram.source import BudgetSpentError, OpaqueSource, QueryLedger, query_key
from keras_reprogram.source.ledger.soft_limit import SoftLimit

ANSWER = np.array([0.25, 0.75], np.float32)


def keys(*names):
    return [query_key("a model", "", str(name).encode()) for name in names]


def ask(ledger, *names):
    """Claims and settles; the warnings meanwhile."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        claim = ledger.claim(keys(*names))
    ledger.settle_all(dict.fromkeys(claim.ours.values(), ANSWER))
    return [str(warning.message) for warning in seen]


def test_it_warns_once_at_its_share(place):
    calls = []
    with QueryLedger(
        place("l"), budget=10, warn_at=0.8, on_warning=lambda *said: calls.append(said)
    ) as ledger:
        said = [ask(ledger, number) for number in range(10)]
        assert [len(each) for each in said] == [0] * 7 + [1] + [0] * 2
        assert said[7] == [f"8 of 10 queries of the budget of {ledger.path} are spent, 2 are left."]
        assert calls == [(8, 10)]
        with pytest.raises(BudgetSpentError):
            ledger.claim(keys("one more"))
    assert calls == [(8, 10)]


def test_a_claim_that_passes_the_share_says_how_much_is_spent(place):
    calls = []
    with QueryLedger(
        place("l"), 10, warn_at=0.3, on_warning=lambda *said: calls.append(said)
    ) as ledger:
        assert len(ask(ledger, *"abcde")) == 1
        # What is given back and spent again is no second time.
        ledger.release_all(ledger.claim(keys("f")).ours.values())
        assert not ask(ledger, "f", "g")
    assert calls == [(5, 10)]


def test_without_it_nothing_is_said(place):
    with QueryLedger(place("l"), budget=2) as ledger:
        assert not ask(ledger, "a") and not ask(ledger, "b")


def test_money_counts_in_queries(place):
    """0.02 at 2.00 per 1,000 are 10 queries, fewer than the other budget."""
    options = {"price_per_thousand": 2.0, "money_budget": 0.02, "warn_at": 0.5}
    with QueryLedger(place("l"), budget=12, **options) as ledger:
        assert not ask(ledger, *"abcd")
        (said,) = ask(ledger, "e")
        assert said.startswith("5 of 10 queries")


@pytest.mark.parametrize(
    ("share", "budget", "expected"),
    [(0.07, 100, 7), (0.8, 10, 8), (1 / 3, 10, 4), (1, 3, 3), (1e-9, 5, 1), (0.5, 0, 0)],
)
def test_the_share_is_exact(share, budget, expected):
    assert SoftLimit(share, budget).queries == expected


def test_each_open_ledger_warns_once_whoever_spent(place):
    path = place("l")
    with QueryLedger(path, 10, warn_at=0.5) as one, QueryLedger(path, 10, warn_at=0.5) as other:
        assert not ask(one, *"abcd")
        assert len(ask(other, "e")) == 1
        # Answers that are stored cost nothing, and say nothing.
        assert not ask(one, *"abcde")
        (said,) = ask(one, "f")
        assert said.startswith("6 of 10")
        assert not ask(one, "g") and not ask(other, "h")
    with QueryLedger(path, 10, warn_at=0.5) as later:
        (said,) = ask(later, "i")
        assert said.startswith("9 of 10")


def test_each_process_warns_once(place):
    path = place("l")
    with QueryLedger(path, 10, warn_at=0.5) as ledger:
        assert not ask(ledger, *"abc")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with QueryLedger(path, 10, warn_at=0.5) as own:
                    said = [ask(own, name) for name in "defg"]
                os.write(writer, repr([len(each) for each in said]).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as of_child:
            assert of_child.read() == "[0, 1, 0, 0]"
        os.waitpid(child, 0)
        assert [len(ask(ledger, name)) for name in "hij"] == [1, 0, 0]


def test_threads_call_it_once(place):
    calls = []
    with QueryLedger(
        place("l"), 40, warn_at=0.25, on_warning=lambda *said: calls.append(said)
    ) as ledger:
        start = threading.Barrier(4)

        def work(number):
            start.wait()
            for step in range(10):
                ledger.claim(keys(f"{number} {step}"))

        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert ledger.spent == 40
    assert len(seen) == len(calls) == 1
    spent, budget = calls[0]
    assert 10 <= spent <= 14 and budget == 40


def test_what_the_callback_raises_sends_nothing_of_that_claim(place):
    def stop(spent, budget):
        raise BudgetSpentError(f"{spent} of {budget} are enough.")

    sent = []

    def function(images):
        sent.append(len(images))
        return np.tile(ANSWER, (len(images), 1))

    with QueryLedger(place("l"), 10, warn_at=0.5, on_warning=stop) as ledger:
        source = OpaqueSource(
            function, (8, 8, 3), 2, value_range=(0, 255), identity="a", ledger=ledger, max_batch=2
        )
        images = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 3)).astype("float32")
        with (
            pytest.warns(UserWarning, match="6 of 10 queries"),
            pytest.raises(BudgetSpentError, match="6 of 10 are enough"),
        ):
            source(images)
        assert sent == [2, 2]
        assert ledger.counts() == {"sent": 0, "billed": 4, "free": 2}
        # It was called once: who goes on nevertheless may spend the rest.
        assert source(images).shape == (6, 2)
        assert (sent, ledger.spent) == ([2, 2, 2], 6)


WRONG = [
    ({"budget": 10, "warn_at": 0}, "above 0 and at most 1. Received: warn_at=0"),
    ({"budget": 10, "warn_at": 80}, "Received: warn_at=80. Pass 0.8"),
    ({"budget": 10, "warn_at": float("nan")}, "Received: warn_at=nan"),
    ({"budget": 10, "warn_at": True}, "Received: warn_at=True"),
    ({"budget": 10, "warn_at": "80 %"}, "Received: warn_at='80 %'"),
    ({"warn_at": 0.8}, "Received: warn_at=0.8 without a budget. Pass `budget` or `money_budget`"),
    ({"budget": 10, "on_warning": print}, "Received: warn_at=None. Pass `warn_at=0.8`"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_arguments_make_no_file(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        QueryLedger(tmp_path / "l", **options)
    assert not list(tmp_path.iterdir())
