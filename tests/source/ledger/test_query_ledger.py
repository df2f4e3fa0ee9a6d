"""QueryLedger: never over budget, never twice for an answer, whatever ends a run."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from keras_reprogram.source import (
    BudgetSpentError,
    QueryLedger,
    UnknownFateError,
    query_key,
)
from keras_reprogram.source.ledger.query_ledger import query_limit

ANSWER = np.array([0.25, 0.75], np.float32)


def keys(*names):
    return [query_key("a model", "", str(name).encode()) for name in names]


def ask(ledger, names):
    """Claims and settles; the names that had to be sent."""
    wanted = dict(zip(keys(*names), names, strict=True))
    claim = ledger.claim(list(wanted))
    for attempt in claim.ours.values():
        ledger.settle(attempt, ANSWER)
    return [wanted[key] for key in claim.ours]


def test_an_answer_is_paid_for_once(place):
    with QueryLedger(place("l")) as ledger:
        assert ask(ledger, ["a", "b"]) == ["a", "b"]
        assert ask(ledger, ["b", "c"]) == ["c"]
    with QueryLedger(place("l")) as again:
        claim = again.claim(keys("a", "a", "c"))
        assert not claim.ours and sorted(claim.answers) == sorted(keys("a", "c"))
        np.testing.assert_array_equal(claim.answers[keys("a")[0]], ANSWER)
        assert again.spent == 3


def test_a_key_that_comes_twice_is_sent_once(place):
    with QueryLedger(place("l"), budget=1) as ledger:
        assert len(ledger.claim(keys("a", "a", "a")).ours) == 1
        assert ledger.left == 0


def test_key_tells_all_parts_apart():
    asked = {
        query_key("a", "b", b"c"),
        query_key("ab", "", b"c"),
        query_key("a", "", b"bc"),
        query_key("", "ab", b"c"),
    }
    assert len(asked) == 4


def test_over_budget_nothing_is_claimed(place):
    with QueryLedger(place("l"), budget=3) as ledger:
        ask(ledger, "ab")
        with pytest.raises(BudgetSpentError, match="2 more queries. Received: a limit of 3, 2 sp"):
            ledger.claim(keys("c", "d"))
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
        assert ask(ledger, "abc") == ["c"]


def test_free_attempts_give_the_budget_back(place):
    with QueryLedger(place("l"), budget=1) as ledger:
        (attempt,) = ledger.claim(keys("a")).ours.values()
        ledger.release(attempt, "429")
        assert ledger.spent == 0
        assert ask(ledger, "a") == ["a"]
        assert ledger.counts() == {"sent": 0, "billed": 1, "free": 1}


def test_a_useless_answer_is_billed_and_may_be_asked_again(place):
    with QueryLedger(place("l"), budget=2) as ledger:
        (attempt,) = ledger.claim(keys("a")).ours.values()
        ledger.settle(attempt, None, "wrong labels")
        assert ledger.spent == 1
        assert ask(ledger, "a") == ["a"]


def test_an_attempt_is_settled_once(place):
    with QueryLedger(place("l")) as ledger:
        (attempt,) = ledger.claim(keys("a")).ours.values()
        ledger.release(attempt)
        for settle in (lambda: ledger.settle(attempt, ANSWER), lambda: ledger.release(attempt)):
            with pytest.raises(ValueError, match="is not open. Received: a number"):
                settle()
        assert ledger.spent == 0


@pytest.mark.parametrize("on_unknown", ["resend", "raise", "skip"])
def test_unknown_fates(place, on_unknown):
    with QueryLedger(place("l")) as crashed:
        crashed.claim(keys("a"))
    with QueryLedger(place("l"), budget=2, on_unknown=on_unknown) as ledger:
        assert ledger.spent == 1
        if on_unknown == "raise":
            with pytest.raises(UnknownFateError, match="Received: 1 queries of unknown fate"):
                ledger.claim(keys("a", "b"))
            assert ledger.spent == 1
            return
        claim = ledger.claim(keys("a"))
        assert claim.skipped == (set(keys("a")) if on_unknown == "skip" else set())
        assert ledger.spent == (1 if on_unknown == "skip" else 2)


@pytest.mark.parametrize("runs", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_budget_holds_for_any_faults(place, runs):
    """A server that bills as it likes, runs that crash, resume, retry and repeat."""
    rng = np.random.default_rng(runs)
    for run in range(runs):
        path = place(f"{run}")
        budget, billed = int(rng.integers(0, 12)), 0
        answered = Counter()
        for _ in range(int(rng.integers(1, 4))):  # crashes
            with QueryLedger(path, budget) as ledger:
                for _ in range(int(rng.integers(1, 4))):
                    wanted = keys(*rng.integers(0, 8, int(rng.integers(1, 5))))
                    try:
                        claim = ledger.claim(wanted)
                    except BudgetSpentError:
                        continue
                    assert not any(answered[key] for key in claim.ours)
                    for key, attempt in claim.ours.items():
                        fate = rng.integers(0, 5)
                        billed += fate in (0, 1, 2)
                        if fate == 0:  # billed, and the answer is here
                            ledger.settle(attempt, ANSWER)
                            answered[key] += 1
                        elif fate == 1:  # billed, of no use
                            ledger.settle(attempt, None)
                        elif fate == 3:  # surely free
                            ledger.release(attempt)
                        # 2 and 4: nobody knows
                assert billed <= ledger.spent <= budget
                assert ledger.spent == sum(ledger.counts()[state] for state in ("sent", "billed"))


def test_threads_share_a_budget(place):
    with QueryLedger(place("l"), budget=100) as ledger:
        sent, stopped = [], []

        def work(number):
            try:
                for step in range(50):
                    sent.extend(ask(ledger, [f"{number % 4} {step}", f"{number} {step}"]))
            except BudgetSpentError:
                stopped.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(stopped) == 8
        assert 99 <= len(sent) == ledger.spent <= 100
        assert max(Counter(sent).values()) == 1


CHILD = """
import sys, time
sys.path[:0] = {path!r}
from keras_reprogram.source import QueryLedger, query_key
ledger = QueryLedger({ledger!r}, budget=10)
ledger.claim([query_key("a model", "", b"a")])
print("sent", flush=True)
time.sleep(100)
"""


@pytest.mark.slow
def test_another_process_is_waited_for_and_survived(place, tmp_path):
    code = CHILD.format(path=sys.path, ledger=str(place("l")))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "sent\n"
        with QueryLedger(place("l"), budget=10) as ledger:
            claim = ledger.claim(keys("a", "b"))
            assert claim.elsewhere == set(keys("a")) and set(claim.ours) == set(keys("b"))
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            assert set(ledger.claim(keys("a")).ours) == set(keys("a"))
            # The one in flight at the kill, its repetition, and b.
            assert ledger.spent == 3
    finally:
        child.kill()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".lock"] == []


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [((None, None, None), None), ((7, None, 2.0), 7), ((None, 0.3, 100.0), 3), ((2, 20, 1.5), 2)],
)
def test_limit_of_both_budgets(arguments, limit):
    assert query_limit(*arguments) == limit
    # 20 dollars at 1.5 for 1,000.
    assert query_limit(None, 20, 1.5) == 13_333


def test_money(place):
    with QueryLedger(place("l"), price_per_thousand=1.5, money_budget=0.003) as ledger:
        ask(ledger, "ab")
        assert ledger.money_spent == 0.003 and ledger.left == 0
    with QueryLedger(place("l")) as ledger:
        assert ledger.money_spent is None and ledger.left is None


def test_images_are_stored_only_if_asked(tmp_path):
    for keep in (False, True):
        with QueryLedger(tmp_path / f"{keep}", keep_payloads=keep) as ledger:
            ledger.claim(keys("a"), [b"the bytes of an image"])
        # The log of an SQLite file is merged into it at the end.
        assert (b"the bytes of an image" in (tmp_path / f"{keep}").read_bytes()) is keep


def test_full_disk_sends_nothing(tmp_path):
    with QueryLedger(tmp_path / "l") as ledger:
        connection = ledger._store.database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="could not be written. Received: database or disk is fu"):
            for number in range(1000):
                ledger.claim(keys(number))
        assert ledger.spent == ledger.counts()["sent"]


def test_a_file_that_is_no_ledger(tmp_path):
    (tmp_path / "image.png").write_bytes(b"\x89PNG" + bytes(2000))
    with pytest.raises(ValueError, match="Expected .*image.png to be a query ledger. Received"):
        QueryLedger(tmp_path / "image.png")
    assert (tmp_path / "image.png").read_bytes()[:4] == b"\x89PNG"
    QueryLedger(tmp_path / "l").close()
    with sqlite3.connect(tmp_path / "l") as database:
        database.execute("UPDATE facts SET value = '9'")
    with pytest.raises(ValueError, match="Received: format 9. Update"):
        QueryLedger(tmp_path / "l")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": -1}, "`budget` must be a finite number >= 0. Received: -1"),
        ({"budget": 3, "money_budget": float("nan")}, "`money_budget` must be"),
        ({"money_budget": 5}, "needs a price. Received: price_per_thousand=None"),
        ({"on_unknown": "guess"}, "`on_unknown` must be one of .* Received: 'guess'"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        QueryLedger(tmp_path / "l", **arguments)
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.slow
def test_overhead_is_two_milliseconds_a_query(place):
    with QueryLedger(place("l")) as ledger:
        start = time.perf_counter()
        for number in range(0, 2000, 16):
            claim = ledger.claim(keys(*range(number, number + 16)))
            ledger.settle_all(dict.fromkeys(claim.ours.values(), ANSWER))
        assert (time.perf_counter() - start) / 2000 < 2e-3


def test_a_closed_ledger_says_so(place):
    ledger = QueryLedger(place("l"))
    ledger.close()
    with pytest.raises(ValueError, match="must be open .* Received: .*closed"):
        ledger.claim([query_key("a", "", b"b")])
