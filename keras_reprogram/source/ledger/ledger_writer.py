"""LedgerWriter: one thread that writes for all threads, many changes in one transaction."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from typing import Any, Protocol

Change = Callable[[Any], Any]


class NotOpenError(Exception):
    """A ledger that is closed, or open in another process only."""


class Transactions(Protocol):
    """What changes are written to; each of them receives it."""

    def transaction(self, *, synced: bool) -> AbstractContextManager[None]:
        """A transaction of one process at a time, committed at the end, or taken back."""

    def part(self) -> AbstractContextManager[None]:
        """A part of a transaction, of which an exception takes back no other part."""

    def survives(self, error: Exception) -> bool:
        """Whether the transaction goes on after an error in one part."""


class _Write:
    def __init__(self, change: Change, synced: bool, written: Callable[[Any], None] | None) -> None:
        self.change, self.synced, self.written, self.dropped = change, synced, written, False
        self.future: Future[Any] = Future()


class LedgerWriter:
    """The only thread that writes to a database."""

    # Waiting for the disk is most of a transaction's time, and takes as long for one write as for
    # sixteen. Ctrl-C never interrupts a transaction, only the thread that waits for it.

    def __init__(self, database: Transactions, lock: AbstractContextManager[Any]) -> None:
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closing, self._closed = threading.Lock(), False
        self._thread = threading.Thread(
            target=_write_all, args=(self._queue, database, lock), name="ledger", daemon=True
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
                raise NotOpenError("closed")
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
    database: Transactions,
    lock: AbstractContextManager[Any],
) -> None:
    while _write_some(writes, database, lock):
        pass


def _write_some(
    writes: queue.SimpleQueue[_Write | None],
    database: Transactions,
    lock: AbstractContextManager[Any],
) -> bool:
    """Waits for a change and writes it with all others in the queue; `False` after the last."""
    found = [writes.get()]
    while not writes.empty():
        found.append(writes.get())
    batch = list(dict.fromkeys(write for write in found if write and not write.future.done()))
    if batch:
        with lock:
            outcomes = _written(database, batch)
        for write, (result, error) in zip(batch, outcomes, strict=True):
            if error is None:
                if write.written is not None:
                    write.written(result)
                write.future.set_result(result)
            else:
                write.future.set_exception(error)
    return None not in found


def _written(database: Transactions, batch: list[_Write]) -> list[tuple[Any, BaseException | None]]:
    """Runs all changes in one transaction; returns a result or an error for each."""
    try:
        with database.transaction(synced=any(write.synced for write in batch)):
            return [_outcome(database, write) for write in batch]
    except BaseException as error:
        return [(None, error)] * len(batch)


def _outcome(database: Transactions, write: _Write) -> tuple[Any, BaseException | None]:
    if write.dropped:
        return None, CancelledError()
    try:
        with database.part():
            return write.change(database), None
    except Exception as error:
        if not database.survives(error):
            raise
        return None, error
