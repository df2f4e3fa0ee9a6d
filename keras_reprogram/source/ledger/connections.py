"""SQLite connections of a ledger: journal mode, safety after a fork, owners' locks.

A write-ahead log is kept only where none of it can be lost.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

_BUSY_SECONDS = 60.0
# How long another process may take to close a ledger that has a write-ahead log.
_CONVERTING_SECONDS = 10.0
_SUFFIX = ".lock"


def keeps_wal_whole(version: tuple[int, ...]) -> bool:
    """Whether this SQLite version is free of the WAL-reset bug."""
    # With the bug, a write during two checkpoints may lose transactions that were committed.
    fixed = version >= (3, 51, 3)
    return fixed or (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51)


def open_database(path: Path, patience: float = _CONVERTING_SECONDS) -> sqlite3.Connection:
    """Opens an SQLite file with the journal that this SQLite may be trusted with."""
    # A new file gets a write-ahead log (WAL) if `keeps_wal_whole`, and a file that has one keeps
    # it. All other files get a rollback journal; if a file had a log, the log is first moved into
    # the file. A file with a rollback journal keeps it: another SQLite may have it open.
    deadline = time.monotonic() + patience
    while True:
        # Anew each time: an open connection keeps others from converting.
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _choose_journal(connection)
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise _in_use(path, error) from error
            time.sleep(random.uniform(0.01, 0.1))
        except BaseException:
            connection.close()
            raise


def remove_journal(connection: sqlite3.Connection) -> None:
    """Removes an empty rollback journal, unless another process is about to write."""
    if journal_of(connection) == "persist":
        connection.execute("PRAGMA journal_mode = DELETE")


def journal_of(connection: sqlite3.Connection) -> str:
    """`"wal"`, `"persist"` or another of SQLite's journal modes."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _choose_journal(connection: sqlite3.Connection) -> None:
    trusted = keeps_wal_whole(sqlite3.sqlite_version_info)
    is_new = not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if trusted and (is_new or journal_of(connection) == "wal"):
        connection.execute("PRAGMA journal_mode = WAL")
        return
    # Its file stays, emptied: making one for each transaction takes as long as writing it.
    chosen = connection.execute("PRAGMA journal_mode = PERSIST").fetchone()[0]
    if chosen != "persist":
        raise sqlite3.OperationalError(f"locked in journal mode {chosen}")


def _in_use(path: Path, error: sqlite3.OperationalError) -> Exception:
    if "locked" not in str(error):
        return error
    return OSError(
        f"The ledger {path} must not be open in another process while it is converted: it has a "
        f"write-ahead log, in which SQLite {sqlite3.sqlite_version} may lose what was written. "
        f"Received: {error}. End the other process, or run both with SQLite 3.51.3 or newer."
    )


class ForkedConnection:
    """An SQLite connection that only the process that opened it may use."""

    # SQLite keeps its locks in tables of the process. A child's copy of them is wrong from the
    # start, because it takes its parent's locks for its own. So a child does not use the
    # connection, and closes it before it opens one.

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.lock = threading.RLock()
        self._connection, self._process = connection, os.getpid()
        self._closed = False
        _connections.add(self)

    @property
    def is_here(self) -> bool:
        """Whether this is the process that opened it."""
        return os.getpid() == self._process

    def check_process(self) -> None:
        """Raises an `sqlite3.ProgrammingError` in a forked child."""
        if not self.is_here:
            raise sqlite3.ProgrammingError("opened by the process that this one was forked from")

    @contextlib.contextmanager
    def here(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time."""
        self.check_process()
        with self.lock:
            yield self._connection

    def close(self, before: Callable[[sqlite3.Connection], None] | None = None) -> None:
        """Closes it, in a forked child too; `before` runs first in the process that opened it."""
        with self.lock:
            if before is not None and self.is_here and not self._closed:
                before(self._connection)
            self._connection.close()
            self._closed = True


_connections: weakref.WeakSet[ForkedConnection] = weakref.WeakSet()
_held: list[ForkedConnection] = []
_inherited: list[ForkedConnection] = []


def close_inherited() -> None:
    """Closes connections inherited from the parent, before this process opens its own."""
    while _inherited:
        _inherited.pop().close()


def _before_fork() -> None:
    # No transaction is under way when the process is copied.
    _held.extend(_connections)
    for connection in _held:
        connection.lock.acquire()


def _after_in_parent() -> None:
    while _held:
        _held.pop().lock.release()


def _after_in_child() -> None:
    _inherited.extend(_held)
    _connections.clear()
    _after_in_parent()


# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )


class LedgerOwner:
    """A name for one user of a ledger, with a lock that its process's end releases."""

    # A process number would not do, because numbers are re-used. The lock is an SQLite lock on an
    # empty file beside the ledger: it works wherever a ledger works, and a SIGKILL releases it too.
    # Owners are created and looked up in transactions of the ledger, so that nobody mistakes a lock
    # that is not taken yet for an abandoned one.

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.name = uuid.uuid4().hex
        self._path = self._path_of(self.name)
        connection = _opened(self._path)
        connection.execute("BEGIN EXCLUSIVE")
        self._lock = ForkedConnection(connection)

    def close(self) -> None:
        """Releases the lock and removes its file."""
        self._lock.close()
        if self._lock.is_here:
            _remove(self._path)

    def is_alive(self, name: str) -> bool:
        """Whether an owner still holds its lock; tidies up after one that does not."""
        return name == self.name or not _removed_if_left(self._path_of(name))

    def tidy(self) -> Self:
        """Removes the files of dead owners."""
        start, own = f"{self.ledger.name}.", self._path.name
        for path in self.ledger.parent.iterdir():
            middle = path.name.removeprefix(start).removesuffix(_SUFFIX)
            is_lock = path.name == f"{start}{middle}{_SUFFIX}" and _is_name(middle)
            if is_lock and path.name != own:
                _removed_if_left(path)
        return self

    def _path_of(self, name: str) -> Path:
        return self.ledger.with_name(f"{self.ledger.name}.{name}{_SUFFIX}")


def _is_name(word: str) -> bool:
    return len(word) == 32 and set(word) <= set("0123456789abcdef")


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)


def _removed_if_left(path: Path) -> bool:
    """Removes a lock file that no process holds; whether it did."""
    if not path.exists():
        return True
    with contextlib.closing(_opened(path)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError:
            # Held, or no lock at all.
            return False
        connection.execute("ROLLBACK")
    _remove(path)
    return True


def _remove(path: Path) -> None:
    # Windows removes no file that another process is looking at: who opens the ledger next will.
    with contextlib.suppress(PermissionError):
        path.unlink(missing_ok=True)
