"""The SQLite file of a ledger: its tables, and writing that is whole or not at all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FORMAT = "1"
_BUSY_SECONDS = 60.0
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


class LedgerFile:
    """An open ledger file, for the threads of one process; other processes open it too.

    Args:
        path: the file; made with its folders if it is not there.

    Raises:
        ValueError: if it is no ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = _open(path)

    @contextmanager
    def writing(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction that no other thread or process writes beside.

        Args:
            synced: whether it is on the disk at the end, even if the power fails then. Otherwise
                it is with the next that is, or when the file is closed; a crash of this process
                loses nothing either way.

        Raises:
            ValueError: if it was closed.
            OSError: if the disk does not take it; then nothing of it was written.
        """
        with self._lock:
            try:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.ProgrammingError as error:
                raise ValueError(
                    f"A ledger must be open while its source is asked. Received: {self.path}, "
                    "closed. Open it again, and make the source with the new one."
                ) from error
            except sqlite3.OperationalError as error:
                raise OSError(
                    f"The ledger {self.path} could not be written. Received: {error}. Make room or "
                    "give access to it; nothing that it does not hold was sent."
                ) from error

    def read(self, question: str, *values: object) -> list[tuple]:
        """All rows that answer a question.

        Args:
            question: SQL.
            values: for its question marks.
        """
        with self._lock:
            return self._connection.execute(question, values).fetchall()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        connection.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (_FORMAT,))
        connection.execute("INSERT INTO spent SELECT 0 WHERE NOT EXISTS (SELECT * FROM spent)")
        found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ValueError(
            f"Expected {path} to be a query ledger. Received: a file that SQLite cannot use "
            f"({error}). Restore it, or pass another path."
        ) from error
    if found != (_FORMAT,):
        connection.close()
        raise ValueError(
            f"Expected {path} to be a query ledger of format {_FORMAT}. Received: format "
            f"{found[0]}. Update keras_reprogram, or pass another path."
        )
    return connection
