"""LedgerOwner: which processes that share a ledger are still there."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path

from keras_reprogram.source.ledger_forks import ForkedConnection

_SUFFIX = ".lock"


class LedgerOwner:
    """A name for this use of a ledger, and a lock that ends with its process, however it ends.

    A process number alone would not do: numbers are given again. The lock is one of SQLite's on an
    empty file beside the ledger: wherever there can be a ledger, there can be its owner, and a
    SIGKILL releases it too. Owners are made and looked for in transactions of the ledger, so that
    nobody takes a lock that is not there yet for one that was left.

    Args:
        ledger: path of the ledger's file.
    """

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
        """Whether an owner still holds its lock; tidies up after one that does not.

        Args:
            name: of an owner of the same ledger, this one or another.
        """
        return name == self.name or not _removed_if_left(self._path_of(name))

    def tidy(self) -> None:
        """Removes the files of all owners that are no more."""
        start, own = f"{self.ledger.name}.", self._path.name
        for path in self.ledger.parent.iterdir():
            middle = path.name.removeprefix(start).removesuffix(_SUFFIX)
            is_lock = path.name == f"{start}{middle}{_SUFFIX}" and _is_name(middle)
            if is_lock and path.name != own:
                _removed_if_left(path)

    def _path_of(self, name: str) -> Path:
        return self.ledger.with_name(f"{self.ledger.name}.{name}{_SUFFIX}")


def _is_name(word: str) -> bool:
    return len(word) == 32 and set(word) <= set("0123456789abcdef")


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)


def _removed_if_left(path: Path) -> bool:
    """Whether nobody holds the lock of a file; then the file goes."""
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
