"""LedgerWriter: one thread that writes for all threads, many changes in one transaction."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from keras_reprogram.source.ledger.connections import ForkedConnection

Change = Callable[[sqlite3.Connection], Any]


class _Write:
    def __init__(self, change: Change, synced: bool, written: Callable[[Any], None] | None) -> None:
        self.change, self.synced, self.written, self.dropped = change, synced, written, False
        self.future: Future[Any] = Future()


class LedgerWriter:
    """The only thread that writes to a connection."""

    # Waiting for the disk is most of a transaction's time, and takes as long for one write as for
    # sixteen. Ctrl-C never interrupts a transaction, only the thread that waits for it.

    def __init__(self, connection: sqlite3.Connection, lock: AbstractContextManager[Any]) -> None:
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closing, self._closed = threading.Lock(), False
        self._thread = threading.Thread(
            target=_write_all, args=(self._queue, connection, lock), name="ledger", daemon=True
        )
        self._thread.start()
        # The thread knows nothing of this object, so that it ends with it.
        self._end = weakref.finalize(self, self._queue.put, None)

    def write(
        self,
        change: Change,
        *,
        synced: bool = True,
        written: Callable[[Any], None] | None = None,
        droppable: bool = False,
    ) -> Any:
        """Runs a change; returns its result once it is written, or rolls back if it raises."""
        # `written` receives the result of the change even if Ctrl-C has ended the caller;
        # `droppable` leaves the change out where Ctrl-C comes before it is written.
        write = _Write(change, synced, written)
        try:
            self._put(write)
            return write.future.result()
        except BaseException:
            # An interrupted caller must know what was written. Errors of the change come here too.
            write.dropped = droppable
            self._end_of(write)
            raise

    def writing(self, change: Change, *, synced: bool = True) -> Callable[[], Any]:
        """As `write`, but returns a function that waits; further changes may follow meanwhile."""
        write = _Write(change, synced, None)
        self._put(write)
        return write.future.result

    def _put(self, write: _Write) -> None:
        with self._closing:
            if self._closed:
                raise sqlite3.ProgrammingError("closed")
            self._queue.put(write)

    def _end_of(self, write: _Write) -> None:
        """Waits until a write was written or left out, whether or not it had reached the queue."""
        # Ctrl-C may come right before or right after it is queued. A second time does nothing.
        with self._closing:
            if not self._closed:
                self._queue.put(write)
        if self._closed:
            self._end()
            self._thread.join()
        else:
            write.future.exception()

    def close(self) -> None:
        """Writes all pending changes and ends the thread."""
        with self._closing:
            self._closed = True
        self._end()
        self._thread.join()


def _write_all(
    writes: queue.SimpleQueue[_Write | None],
    connection: sqlite3.Connection,
    lock: AbstractContextManager[Any],
) -> None:
    while _write_some(writes, connection, lock):
        pass


def _write_some(
    writes: queue.SimpleQueue[_Write | None],
    connection: sqlite3.Connection,
    lock: AbstractContextManager[Any],
) -> bool:
    """Waits for a change and writes it with all others in the queue; `False` after the last."""
    found = [writes.get()]
    while not writes.empty():
        found.append(writes.get())
    batch = list(dict.fromkeys(write for write in found if write and not write.future.done()))
    if batch:
        with lock:
            outcomes = _written(connection, batch)
        for write, (result, error) in zip(batch, outcomes, strict=True):
            if error is None:
                if write.written is not None:
                    write.written(result)
                write.future.set_result(result)
            else:
                write.future.set_exception(error)
    return None not in found


def _written(
    connection: sqlite3.Connection, batch: list[_Write]
) -> list[tuple[Any, BaseException | None]]:
    """Runs all changes in one transaction; returns a result or an error for each."""
    synced = any(write.synced for write in batch)
    try:
        connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_outcome(connection, write) for write in batch]
        connection.execute("COMMIT")
    except BaseException as error:
        if _is_writing(connection):
            connection.execute("ROLLBACK")
        return [(None, error)] * len(batch)
    return outcomes


def _outcome(connection: sqlite3.Connection, write: _Write) -> tuple[Any, BaseException | None]:
    if write.dropped:
        return None, CancelledError()
    connection.execute("SAVEPOINT one")
    try:
        result = write.change(connection)
    except Exception as error:
        if not connection.in_transaction:
            # A full disk: SQLite has taken the whole transaction back.
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return None, error
    connection.execute("RELEASE one")
    return result, None


def _is_writing(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:
        # It was closed.
        return False


_SUFFIX = ".lock"


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
