"""Who shares a ledger, and what is left of those that are no more."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from keras_reprogram.source import QueryLedger, query_key

KEY = query_key("a model", "", b"a")


def locks_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".lock"))


def name_of(ledger):
    return ledger._store.database.owner.name


def in_child(function):
    """Runs a function in a fork of this process; what it writes to a pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        found = said.read()
    os.waitpid(child, 0)
    return found


def test_locks_of_killed_owners_are_tidied_and_no_others(tmp_path):
    left = [f"l.{number:032x}.lock" for number in range(3)]
    others = ["l.lock", "l.0123.lock", f"m.{5:032x}.lock", f"l.{'g' * 32}.lock"]
    for name in left + others:
        (tmp_path / name).touch()
    with QueryLedger(tmp_path / "l") as first:
        live = f"l.{name_of(first)}.lock"
        assert locks_in(tmp_path) == sorted([*others, live])
        with QueryLedger(tmp_path / "l") as second:
            assert locks_in(tmp_path) == sorted([*others, live, f"l.{name_of(second)}.lock"])
            first.claim([KEY])
            assert second.claim([KEY]).elsewhere == {KEY}
    assert locks_in(tmp_path) == sorted(others)


def test_the_lock_of_a_process_stands_until_it_is_killed(tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        ledger = QueryLedger(tmp_path / "l")
        ledger.claim([KEY])
        os.write(writer, b"claimed")
        signal.pause()
    assert os.read(reader, 7) == b"claimed"
    (of_child,) = locks_in(tmp_path)
    with QueryLedger(tmp_path / "l") as ledger:
        assert of_child in locks_in(tmp_path)
        assert ledger.claim([KEY]).elsewhere == {KEY}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert locks_in(tmp_path) == [of_child]
    with QueryLedger(tmp_path / "l") as ledger:
        assert locks_in(tmp_path) == [f"l.{name_of(ledger)}.lock"]
        assert list(ledger.claim([KEY]).ours) == [KEY]
    assert locks_in(tmp_path) == []


@pytest.mark.parametrize("numbers", [(3, 51, 2), (3, 51, 3)])
def test_a_forked_child_opens_the_ledger_itself(tmp_path, monkeypatch, numbers):
    """SQLite's locks are the process's: a connection that a child inherits has none."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", numbers)
    ledger = QueryLedger(tmp_path / "l", budget=5)
    ledger.claim([KEY])

    def inherited():
        try:
            ledger.claim([KEY])
        except ValueError as error:
            return error

    assert "in the process that asks. Received:" in in_child(inherited)
    assert "was forked from" in in_child(inherited)

    def own():
        other = query_key("a model", "", b"b")
        with QueryLedger(tmp_path / "l", budget=5) as own_ledger:
            claim = own_ledger.claim([KEY, other])
            ledger.close()
            return len(claim.elsewhere), len(claim.ours)

    assert in_child(own) == "(1, 1)"
    # The parent's ledger is as it was: open, and its owner alive.
    assert ledger.spent == 2
    assert locks_in(tmp_path) == [f"l.{name_of(ledger)}.lock"]
    ledger.close()


ELSEWHERE = """
import os, sys
sys.path[:0] = {path!r}
# What comes from elsewhere may use what this machine has; we must not, as on Windows.
import keras, matplotlib.figure, sklearn.linear_model, tensorflow
sys.modules["fcntl"] = None
del os.register_at_fork
import keras_reprogram
from keras_reprogram import QueryLedger
from keras_reprogram.source import query_key
keys = [query_key("a model", "", name) for name in (b"a", b"b")]
with QueryLedger({ledger!r}, budget=2) as first, QueryLedger({ledger!r}, budget=2) as second:
    (attempt,) = first.claim(keys[:1]).ours.values()
    assert second.claim(keys[:1]).elsewhere == set(keys[:1])
    first.settle(attempt, [0.25, 0.75])
    print(second.claim(keys[:1]).answers[keys[0]].tolist(), second.left)
    first.close()
    print(list(second.claim(keys[1:]).ours.values()), second.left)
"""


@pytest.mark.slow
def test_a_ledger_works_without_fcntl_and_forks(tmp_path):
    code = ELSEWHERE.format(path=sys.path, ledger=str(tmp_path / "l"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[0.25, 0.75] 1", "[2] 0"]
    assert locks_in(tmp_path) == []
