"""No ledger stands on a write-ahead log that its SQLite may lose, and none loses a row for it."""

import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_reprogram.source import QueryLedger, query_key
from keras_reprogram.source.ledger.connections import keeps_wal_whole, open_database

LOSES, KEEPS = (3, 51, 2), (3, 51, 3)
ANSWER = np.array([0.25, 0.75], np.float32)


def keys(names):
    return [query_key("a model", "", str(name).encode()) for name in names]


def ask(ledger, names):
    for attempt in ledger.claim(keys(names)).ours.values():
        ledger.settle(attempt, ANSWER)


def journal_of(path):
    with sqlite3.connect(path) as database:
        found = database.execute("PRAGMA journal_mode").fetchone()[0]
    database.close()
    return found


def version(monkeypatch, numbers):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", numbers)


@pytest.fixture
def with_log(tmp_path, monkeypatch):
    """A ledger as a killed run left it: 200 answers, all of them in its write-ahead log."""
    version(monkeypatch, KEEPS)
    with QueryLedger(tmp_path / "running" / "l") as running:
        running._store.database._connection.execute("PRAGMA wal_autocheckpoint = 0")
        ask(running, range(200))
        running.claim(keys(["in flight"]))
        (tmp_path / "killed").mkdir()
        for name in ("l", "l-wal"):
            shutil.copy(tmp_path / "running" / name, tmp_path / "killed" / name)
    assert (tmp_path / "killed" / "l-wal").stat().st_size > 100_000
    return tmp_path / "killed" / "l"


@pytest.mark.parametrize(
    ("numbers", "whole"),
    [
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_which_sqlite_keeps_its_log(numbers, whole):
    assert keeps_wal_whole(numbers) is whole


@pytest.mark.parametrize(("numbers", "journal"), [(LOSES, "delete"), (KEEPS, "wal")])
def test_a_new_ledger_has_the_journal_that_its_sqlite_may_be_trusted_with(
    tmp_path, monkeypatch, numbers, journal
):
    version(monkeypatch, numbers)
    with QueryLedger(tmp_path / "l") as ledger:
        ask(ledger, "ab")
        # Only a log is a property of the file; other connections see "delete" otherwise.
        assert journal_of(tmp_path / "l") == journal
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l"]


def test_a_log_that_a_killed_run_left_is_moved_into_the_file(with_log, monkeypatch):
    version(monkeypatch, LOSES)
    with QueryLedger(with_log) as ledger:
        assert ledger.spent == 201
        assert ledger.counts() == {"sent": 1, "billed": 200, "free": 0}
        claim = ledger.claim(keys(range(200)))
        assert len(claim.answers) == 200 and not claim.ours
        assert journal_of(with_log) == "delete"
        assert not with_log.with_name("l-wal").exists()


def test_many_convert_the_same_ledger(with_log, monkeypatch):
    version(monkeypatch, LOSES)

    def spent(_):
        with QueryLedger(with_log) as ledger:
            return ledger.spent, ledger.counts()["billed"]

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(spent, range(6))) == {(201, 200)}
    assert journal_of(with_log) == "delete"


def test_a_ledger_that_another_process_keeps_with_a_log_is_waited_for(with_log, monkeypatch):
    version(monkeypatch, LOSES)
    other = sqlite3.connect(with_log, check_same_thread=False)
    assert other.execute("SELECT attempts FROM spent").fetchone() == (201,)
    closing = threading.Event()

    def close():
        closing.set()
        other.close()

    threading.Timer(0.2, close).start()
    with QueryLedger(with_log) as ledger:
        assert closing.is_set()
        assert ledger.spent == 201


def test_a_ledger_that_stays_open_with_a_log_is_refused(with_log, monkeypatch):
    version(monkeypatch, LOSES)
    other = sqlite3.connect(with_log)
    other.execute("SELECT attempts FROM spent").fetchone()
    with pytest.raises(OSError, match="another process.*SQLite 3.51.3"):
        open_database(with_log, patience=0.2)
    assert other.execute("SELECT attempts FROM spent").fetchone() == (201,)
    other.close()


def test_a_trusted_sqlite_leaves_a_rollback_journal_alone(tmp_path, monkeypatch):
    """Another process may have the ledger open whose SQLite is not to be trusted with a log."""
    version(monkeypatch, LOSES)
    with QueryLedger(tmp_path / "l") as ledger:
        ask(ledger, "a")
        version(monkeypatch, KEEPS)
        with QueryLedger(tmp_path / "l") as other:
            ask(other, "b")
        assert ledger.spent == 2
    assert journal_of(tmp_path / "l") == "delete"


def ask_at_a_time(path, seconds, total, at_a_time=16):
    """Queries and transactions a second, of a service that answers after some time."""
    commits = []
    with QueryLedger(path) as ledger:
        connection = ledger._store.database._connection
        connection.set_trace_callback(lambda said: said == "COMMIT" and commits.append(said))

        def work(number):
            for step in range(total // at_a_time):
                (attempt,) = ledger.claim(keys([(number, step)])).ours.values()
                time.sleep(seconds)
                ledger.settle(attempt, ANSWER)

        start = time.monotonic()
        with ThreadPoolExecutor(at_a_time) as threads:
            list(threads.map(work, range(at_a_time)))
        took = time.monotonic() - start
        assert ledger.spent == ledger.counts()["billed"] == total
    return total / took, len(commits) / took


@pytest.mark.slow
def test_threads_share_what_they_wait_for(tmp_path):
    """A query is written twice; alone in its transaction it would wait for the disk twice."""
    queries, transactions = ask_at_a_time(tmp_path / "l", 0.0, 320)
    assert transactions < queries


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "total"), [(0.0, 1600), (0.1, 800)])
def test_what_a_rollback_journal_costs(tmp_path, monkeypatch, seconds, total):
    """Prints the table of README: queries a second at 16 in flight, beside a write-ahead log."""
    for name, numbers in (("write-ahead log", KEEPS), ("rollback journal", LOSES)):
        version(monkeypatch, numbers)
        runs = [ask_at_a_time(tmp_path / f"{name} {run}", seconds, total) for run in range(3)]
        queries, transactions = np.median(runs, axis=0)
        print(
            f"a service of {1000 * seconds:.0f} ms, {name}: {queries:.0f} queries a second in "
            f"{transactions:.0f} transactions"
        )
        # 20 ms a query on the slowest disk that this was tried on, one query after the other.
        assert queries > 50
