"""LedgerOwner: which processes that share a ledger are still there."""

from __future__ import annotations

import fcntl
import os
import uuid
import weakref
from pathlib import Path

_owners: weakref.WeakSet[LedgerOwner] = weakref.WeakSet()


def _let_go() -> None:
    for owner in _owners:
        owner._file.close()


os.register_at_fork(after_in_child=_let_go)


class LedgerOwner:
    """A name for this use of a ledger, and a lock that ends with its process, however it ends.

    A process number alone would not do: numbers are given again. The lock is the operating
    system's, on a file beside the ledger, so that a SIGKILL releases it too.

    Args:
        ledger: path of the ledger's file.
    """

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.name = uuid.uuid4().hex
        self._path = _lock_path(ledger, self.name)
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _owners.add(self)

    def close(self) -> None:
        """Releases the lock and removes its file."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()

    def is_alive(self, name: str) -> bool:
        """Whether an owner still holds its lock; tidies up after one that does not.

        Args:
            name: of an owner of the same ledger, this one or another.
        """
        if name == self.name:
            return True
        path = _lock_path(self.ledger, name)
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(file)


def _lock_path(ledger: Path, name: str) -> Path:
    return ledger.with_name(f"{ledger.name}.{name}.lock")
