"""What a forked process must not do with the SQLite connections of its parent."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ForkedConnection:
    """An SQLite connection that is used in the process that opened it, and nowhere else.

    SQLite keeps its locks in tables of the process. A child has a copy of them that is wrong from
    its first moment: it takes its parent's locks for its own. So a child leaves the connection
    alone, and closes it before it opens one.

    Args:
        connection: in autocommit mode.
    """

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

    @contextmanager
    def here(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time.

        Raises:
            sqlite3.ProgrammingError: in a forked child.
        """
        self.check_process()
        with self.lock:
            yield self._connection

    def close(self, before: Callable[[sqlite3.Connection], None] | None = None) -> None:
        """Closes it; in a forked child too.

        Args:
            before: what is done first, in the process that opened it.
        """
        with self.lock:
            if before is not None and self.is_here and not self._closed:
                before(self._connection)
            self._connection.close()
            self._closed = True


_connections: weakref.WeakSet[ForkedConnection] = weakref.WeakSet()
_held: list[ForkedConnection] = []
_inherited: list[ForkedConnection] = []


def close_inherited() -> None:
    """Closes what this process has from its parent: before it opens a connection of its own."""
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
