"""The SQLite file of a ledger: its tables and transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_reprogram.source.ledger.connections import (
    ForkedConnection,
    close_inherited,
    journal_of,
    open_database,
    remove_journal,
)
from keras_reprogram.source.ledger.ledger_writer import LedgerWriter

_FORMAT = "1"
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
    """An open ledger file, for the threads of one process; other processes open it too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        close_inherited()
        connection = _open(path)
        self._database = ForkedConnection(connection)
        self._writer = LedgerWriter(connection, self._database.lock)
        self._has_log = journal_of(connection) == "wal"

    def write(
        self,
        change: Callable[[sqlite3.Connection], Any],
        *,
        synced: bool = True,
        written: Callable[[Any], None] | None = None,
        droppable: bool = False,
    ) -> Any:
        """Runs a change in a transaction of its own; returns its result once it is written."""
        # `synced`: on disk when the call returns, even if the power fails then. Otherwise it
        # reaches the disk with the next synced change, or when the file is closed; a crash of this
        # process loses nothing in either case. `written` and `droppable`: see `LedgerWriter.write`.
        with self._explained("written"):
            self._database.check_process()
            # Half a transaction of a rollback journal may spoil the file if the power fails.
            synced = synced or not self._has_log
            return self._writer.write(change, synced=synced, written=written, droppable=droppable)

    def writing(
        self, change: Callable[[sqlite3.Connection], Any], *, synced: bool = True
    ) -> Callable[[], Any]:
        """As `write`, but returns a function that waits for the result."""
        with self._explained("written"):
            self._database.check_process()
            wait = self._writer.writing(change, synced=synced or not self._has_log)

        def result() -> Any:
            with self._explained("written"):
                return wait()

        return result

    def read(self, question: str, *values: object) -> list[tuple]:
        """All rows of a query."""
        with self._explained("read"), self._database.here() as connection:
            return connection.execute(question, values).fetchall()

    def close(self) -> None:
        """Closes the file."""
        if self._database.is_here:
            self._writer.close()
        self._database.close(before=remove_journal)

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise ValueError(
                "A ledger must be open while its source is asked, in the process that asks. "
                f"Received: {self.path}, {error}. Open it again, and make the source with the new "
                "one."
            ) from error
        except sqlite3.OperationalError as error:
            raise OSError(
                f"The ledger {self.path} could not be {done}. Received: {error}. Make room or "
                "give access to it; nothing that it does not hold was sent."
            ) from error


def _open(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        connection = open_database(path)
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        connection.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (_FORMAT,))
        connection.execute("INSERT INTO spent SELECT 0 WHERE NOT EXISTS (SELECT * FROM spent)")
        found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        if connection is not None:
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
