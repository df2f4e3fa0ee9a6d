"""LedgerStore: the rows of a ledger, in an SQLite file or in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from keras_reprogram.source.ledger.ledger_writer import LedgerWriter, NotOpenError, Transactions

FORMAT = "1"
# More than any ledger holds: what "no limit" is to a database of 64-bit numbers.
UNLIMITED = 2**63 - 1

# State, owner and answer of an attempt.
Attempt = tuple[str, str, bytes | None]

_T = TypeVar("_T")


class LedgerDatabase(Transactions, Protocol):
    """What a ledger asks of its database; the methods below `part` run within `reading` too."""

    # Shown to people: without a password.
    place: Path | str
    lock: AbstractContextManager[Any]
    # Those that say that it was closed; all others that may come of it; what helps then.
    closed_errors: tuple[type[Exception], ...]
    errors: tuple[type[Exception], ...]
    way_out: str

    @property
    def is_here(self) -> bool:
        """Whether this is the process that opened it."""

    def reading(self) -> AbstractContextManager[None]:
        """Where one thread at a time may ask, outside transactions."""

    def check_here(self) -> None:
        """Raises an error of `closed_errors`, or a `NotOpenError`, in a forked child."""

    def told(self, error: Exception) -> str:
        """The words of an error, without a password."""

    def attempts_of(self, keys: Sequence[bytes]) -> dict[bytes, list[Attempt]]:
        """All attempts of these keys."""

    def unanswered(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those keys that have no stored answer, in their order."""

    def spent(self) -> int:
        """Attempts that are billed or of unknown fate."""

    def counts(self) -> dict[str, int]:
        """Attempts by state, where there are any."""

    def add(self, payloads: Mapping[bytes, bytes | None], limit: int) -> dict[bytes, int] | None:
        """Spends on attempts of these keys; their numbers, or `None` if the limit is too low."""

    def settle(self, answers: Mapping[int, bytes | None], note: str | None) -> set[int]:
        """Marks open attempts as billed; the numbers of those that were open."""

    def free(self, attempts: Sequence[int], note: str | None) -> int:
        """Marks open attempts as free and gives their budget back; how many were open."""

    def abandon(self, attempts: Sequence[int], note: str | None) -> None:
        """Takes their owner from open attempts."""

    def is_alive(self, owner: str) -> bool:
        """Whether the process of an owner may still settle what it sent."""

    def close(self) -> None:
        """Closes it, in a forked child too."""


class LedgerStore:
    """An open database of a ledger for the threads of one process; others open it too."""

    def __init__(self, database: LedgerDatabase) -> None:
        self.database = database
        self._writer = LedgerWriter(database, database.lock)

    def write(
        self,
        change: Callable[[LedgerDatabase], Any],
        *,
        synced: bool = True,
        written: Callable[[Any], None] | None = None,
        droppable: bool = False,
    ) -> Any:
        """Runs a change in a transaction of its own; returns its result once it is written."""
        # `synced`: on disk when the call returns, even if the power fails then. Otherwise it
        # reaches the disk with the next synced change, or when the ledger is closed; a crash of
        # this process loses nothing in either case. `written` and `droppable`: see
        # `LedgerWriter.write`.
        with self._explained("written"):
            self.database.check_here()
            return self._writer.write(change, synced=synced, written=written, droppable=droppable)

    def writing(
        self, change: Callable[[LedgerDatabase], _T], *, synced: bool = True
    ) -> Callable[[], _T]:
        """As `write`, but returns a function that waits for the result."""
        with self._explained("written"):
            self.database.check_here()
            wait = self._writer.writing(change, synced=synced)

        def result() -> _T:
            with self._explained("written"):
                return wait()

        return result

    def read(self, question: Callable[[LedgerDatabase], _T]) -> _T:
        """What a question to the database returns."""
        with self._explained("read"), self.database.reading():
            return question(self.database)

    def close(self) -> None:
        """Closes the database."""
        if self.database.is_here:
            self._writer.close()
        self.database.close()

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        database = self.database
        not_open: tuple[type[Exception], ...] = (NotOpenError, *database.closed_errors)
        try:
            yield
        except not_open as error:
            raise ValueError(
                "A ledger must be open while its source is asked, in the process that asks. "
                f"Received: {database.place}, {error}. Open it again, and make the source with the "
                "new one."
            ) from error
        except database.errors as error:
            raise OSError(
                f"The ledger {database.place} could not be {done}. Received: "
                f"{database.told(error)}. {database.way_out}; nothing that it does not hold was "
                "sent."
            ) from error


def check_format(place: Path | str, found: str | None) -> None:
    """Raises a `ValueError` unless a ledger has this version's format."""
    if found != FORMAT:
        raise ValueError(
            f"Expected {place} to be a query ledger of format {FORMAT}. Received: format "
            f"{found}. Update keras_reprogram, or pass another path."
        )
