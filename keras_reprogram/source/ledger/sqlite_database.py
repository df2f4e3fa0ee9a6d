"""The SQLite file of a ledger: its tables and transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from keras_reprogram.source.ledger.connections import (
    ForkedConnection,
    LedgerOwner,
    close_inherited,
    journal_of,
    open_database,
    remove_journal,
)
from keras_reprogram.source.ledger.ledger_store import FORMAT, Attempt, check_format

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spent (attempts INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'billed', 'free')),
    sent_at REAL NOT NULL,
    settled_at REAL,
    answer BLOB,
    note TEXT,
    payload BLOB
);
CREATE INDEX IF NOT EXISTS attempts_by_key ON attempts (key);
"""


class SQLiteDatabase:
    """The `LedgerDatabase` of one machine: a file."""

    closed_errors: tuple[type[Exception], ...] = (sqlite3.ProgrammingError,)
    errors: tuple[type[Exception], ...] = (sqlite3.OperationalError,)
    way_out = "Make room or give access to it"

    def __init__(self, path: Path) -> None:
        self.place: Path | str = path
        path.parent.mkdir(parents=True, exist_ok=True)
        close_inherited()
        self._connection = _open(path)
        self._forked = ForkedConnection(self._connection)
        self.lock: AbstractContextManager[Any] = self._forked.lock
        self._has_log = journal_of(self._connection) == "wal"
        with self.transaction(synced=True):
            self.owner = LedgerOwner(path).tidy()

    @property
    def is_here(self) -> bool:
        return self._forked.is_here

    def check_here(self) -> None:
        self._forked.check_process()

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._forked.here():
            yield

    def told(self, error: Exception) -> str:
        return str(error)

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[None]:
        # Half a transaction of a rollback journal may spoil the file if the power fails.
        full = synced or not self._has_log
        try:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._is_writing():
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def part(self) -> Iterator[None]:
        self._connection.execute("SAVEPOINT one")
        try:
            yield
        except Exception:
            if self._is_writing():
                self._connection.execute("ROLLBACK TO one")
                self._connection.execute("RELEASE one")
            raise
        self._connection.execute("RELEASE one")

    def survives(self, error: Exception) -> bool:
        # On a full disk SQLite takes the whole transaction back.
        return self._is_writing()

    def attempts_of(self, keys: Sequence[bytes]) -> dict[bytes, list[Attempt]]:
        question = "SELECT state, owner, answer FROM attempts WHERE key = ?"
        return {key: self._connection.execute(question, (key,)).fetchall() for key in keys}

    def unanswered(self, keys: Sequence[bytes]) -> list[bytes]:
        question = "SELECT 1 FROM attempts WHERE key = ? AND answer IS NOT NULL LIMIT 1"
        return [key for key in keys if not self._connection.execute(question, (key,)).fetchone()]

    def spent(self) -> int:
        return int(self._connection.execute("SELECT attempts FROM spent").fetchone()[0])

    def counts(self) -> dict[str, int]:
        question = "SELECT state, COUNT(*) FROM attempts GROUP BY state"
        return dict(self._connection.execute(question).fetchall())

    def add(self, payloads: Mapping[bytes, bytes | None], limit: int) -> dict[bytes, int] | None:
        question = "UPDATE spent SET attempts = attempts + ?1 WHERE attempts + ?1 <= ?2"
        if not self._connection.execute(question, (len(payloads), limit)).rowcount:
            return None
        insert = (
            "INSERT INTO attempts (key, owner, state, sent_at, payload) VALUES (?, ?, 'sent', ?, ?)"
        )
        numbers = {}
        for key, payload in payloads.items():
            values = (key, self.owner.name, time.time(), payload)
            numbers[key] = int(self._connection.execute(insert, values).lastrowid or 0)
        return numbers

    def settle(self, answers: Mapping[int, bytes | None], note: str | None) -> set[int]:
        return {
            attempt
            for attempt, answer in answers.items()
            if self._closed(attempt, "billed", answer, note)
        }

    def free(self, attempts: Sequence[int], note: str | None) -> int:
        freed = sum(self._closed(attempt, "free", None, note) for attempt in attempts)
        self._connection.execute("UPDATE spent SET attempts = attempts - ?", (freed,))
        return freed

    def abandon(self, attempts: Sequence[int], note: str | None) -> None:
        question = "UPDATE attempts SET owner = '', note = ? WHERE id = ? AND state = 'sent'"
        self._connection.executemany(question, [(note, attempt) for attempt in attempts])

    def is_alive(self, owner: str) -> bool:
        return self.owner.is_alive(owner)

    def close(self) -> None:
        self._forked.close(before=remove_journal)
        self.owner.close()

    def _closed(self, attempt: int, state: str, answer: bytes | None, note: str | None) -> bool:
        """Closes an attempt; whether it was open."""
        question = (
            "UPDATE attempts SET state = ?, answer = ?, note = ?, settled_at = ? "
            "WHERE id = ? AND state = 'sent'"
        )
        values = (state, answer, note, time.time(), attempt)
        return bool(self._connection.execute(question, values).rowcount)

    def _is_writing(self) -> bool:
        try:
            return self._connection.in_transaction
        except sqlite3.ProgrammingError:
            # It was closed.
            return False


def _open(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        connection = open_database(path)
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        connection.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (FORMAT,))
        connection.execute("INSERT INTO spent SELECT 0 WHERE NOT EXISTS (SELECT * FROM spent)")
        found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        raise ValueError(
            f"Expected {path} to be a query ledger. Received: a file that SQLite cannot use "
            f"({error}). Restore it, or pass another path."
        ) from error
    try:
        check_format(path, found and found[0])
    except BaseException:
        connection.close()
        raise
    return connection
