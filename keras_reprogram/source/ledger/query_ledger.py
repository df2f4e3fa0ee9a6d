"""QueryLedger: a durable record of queries, their cost and their answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from keras_reprogram.source.errors import BudgetSpentError, UnknownFateError
from keras_reprogram.source.ledger.ledger_store import (
    UNLIMITED,
    Attempt,
    LedgerDatabase,
    LedgerStore,
)
from keras_reprogram.source.ledger.postgres_database import PostgresDatabase
from keras_reprogram.source.ledger.postgres_url import PostgresURL, is_postgres_url
from keras_reprogram.source.ledger.soft_limit import OnWarning, soft_limit
from keras_reprogram.source.ledger.sqlite_database import SQLiteDatabase

ON_UNKNOWN = ("resend", "raise", "skip")
_NOT_OPEN = (
    "Attempt {} is not open. Received: a number that was settled before, or of another ledger. "
    "Settle each attempt of a claim once."
)


@dataclass
class Claim:
    """Result of `QueryLedger.claim`.

    Args:
        answers: key -> scores `(num_labels,)`, paid for before.
        ours: key -> number of the attempt that this process may now send.
        elsewhere: keys that another running process has sent and not settled yet.
        skipped: keys of unknown fate, under `on_unknown="skip"`.
    """

    answers: dict[bytes, np.ndarray] = field(default_factory=dict)
    ours: dict[bytes, int] = field(default_factory=dict)
    elsewhere: set[bytes] = field(default_factory=set)
    skipped: set[bytes] = field(default_factory=set)

    def __contains__(self, key: bytes) -> bool:
        """Whether a key need not be sent, or is ours to send."""
        found = (self.answers, self.ours, self.elsewhere, self.skipped)
        return any(key in part for part in found)

    def take(self, other: Claim) -> None:
        """Adds everything of another claim to this one."""
        self.answers |= other.answers
        self.ours |= other.ours
        self.elsewhere |= other.elsewhere
        self.skipped |= other.skipped


class QueryLedger:
    """A budget that is never exceeded, and answers that are never paid for twice.

    Each attempt to ask is a row of an SQLite file or a PostgreSQL database: `sent`, on the disk
    before the request leaves, then `billed` or `free`. Attempts whose fate is unknown (a crash, a
    lost connection) stay `sent` and count as spent. A key is the hash of the exact bytes sent, of
    the source's identity and of the request's options. Any number of threads and processes of one
    machine may share a file, and those of many machines a database.

    No client can rule out that a query in flight during a crash is paid for twice; at most as many
    as were in flight are. An attempt is on the disk before its request leaves, an answer with the
    next attempt: if the power fails, answers that came since then may be paid for twice.

    Args:
        path: the file; or `"postgresql://user@host:5432/database?ledger=name"` (extra `postgres`),
            in which a ledger is a schema of this name, `"ledger"` without one. Either is made if
            it is not there. All that libpq takes may stand in the URL and in the environment:
            the password in `PGPASSWORD`, a file named by `PGPASSFILE`, `PGSERVICE`, `sslmode`.
            `path` of a ledger, errors and logs show neither a password nor options.
        budget: most queries that may be spent, those of earlier runs on this file included;
            `None` for no limit.
        price_per_thousand: of 1,000 queries, in any currency, to show and to limit money.
        money_budget: most money that may be spent; needs the price.
        on_unknown: what happens to queries of a run that crashed before their answer: `"resend"`
            asks again and counts both, `"raise"` stops, `"skip"` never asks again.
        keep_payloads: whether the bytes that are sent (the images) are stored too.
        warn_at: share of the budget, above 0 and at most 1, such as 0.8; `None` for no warning.
            Of two budgets the one counts that is spent first. Each open ledger gives one
            `UserWarning`, at its first claim of new queries after which this share is spent,
            whichever run or process spent it. So each process that still asks warns once.
        on_warning: called with `(spent, budget)`, in queries, right after the warning, in the
            thread that claims, before anything of that claim is sent. What it raises ends the
            claim, whose queries are released: a `BudgetSpentError` ends training as a spent
            budget does.

    Raises:
        ValueError: for wrong arguments, or a file or schema that is no ledger.
        OSError: if the file or the database cannot be opened, read or written. Nothing that the
            ledger does not hold was sent. After a lost connection the next use connects again;
            what was in flight is of unknown fate, unless its answer still comes and is stored.
        ImportError: for a URL without the extra `postgres`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import QueryLedger
    from keras_reprogram.source import query_key

    with QueryLedger("answers.ledger", budget=100, price_per_thousand=1.5) as ledger:
        key = query_key("a model, version 1", "", b"the bytes of an image")
        claim = ledger.claim([key])
        for attempt in claim.ours.values():
            ledger.settle(attempt, np.array([0.9, 0.1]))    # what the source answered
        assert ledger.claim([key]).answers[key].argmax() == 0
        print(ledger.spent, ledger.money_spent)
    ```
    """

    def __init__(
        self,
        path: str | Path,
        budget: int | None = None,
        *,
        price_per_thousand: float | None = None,
        money_budget: float | None = None,
        on_unknown: str = "resend",
        keep_payloads: bool = False,
        warn_at: float | None = None,
        on_warning: OnWarning | None = None,
    ) -> None:
        if on_unknown not in ON_UNKNOWN:
            raise ValueError(f"`on_unknown` must be one of {ON_UNKNOWN}. Received: {on_unknown!r}.")
        self.price_per_thousand = price_per_thousand
        self.limit = query_limit(budget, money_budget, price_per_thousand)
        self.on_unknown, self.keep_payloads = on_unknown, keep_payloads
        self._soft_limit = soft_limit(warn_at, self.limit, on_warning)
        self._store = LedgerStore(_opened(path))
        self.path = self._store.database.place

    @property
    def spent(self) -> int:
        """Queries that are billed or of unknown fate, all runs and processes together."""
        return self._store.read(lambda database: database.spent())

    @property
    def left(self) -> int | None:
        """Queries that may still be sent, or `None` without a budget."""
        return None if self.limit is None else max(0, self.limit - self.spent)

    @property
    def money_spent(self) -> float | None:
        """Price of the `spent` queries, or `None` without a price."""
        return money_for(self.spent, self.price_per_thousand)

    def claim(
        self,
        keys: Sequence[bytes],
        payloads: Sequence[bytes] | None = None,
        *,
        again: bool = False,
    ) -> Claim:
        """Claims the queries that have no stored answer, for this caller to send.

        Args:
            keys: of the queries, as `query_key` makes them; a key may come twice.
            payloads: the bytes that will be sent, stored under `keep_payloads=True` only.
            again: whether this repeats, within one run, what a lost connection or a failing service
                left open. `on_unknown` is for runs that crashed.

        Returns:
            A `Claim`. Each attempt in `ours` is on the disk as sent: send it, then `settle` it.

        Raises:
            BudgetSpentError: if not all new queries fit the budget; none is claimed.
            Exception: what `on_warning` raises; what was claimed is released.
            UnknownFateError: under `on_unknown="raise"`; none is claimed.
        """
        claim = Claim()
        try:
            self.claim_into(claim, keys, payloads, again=again)
        except BaseException:
            # Ctrl-C: no caller has these attempts, and none of them was sent.
            self.release_all(claim.ours.values(), "never sent")
            raise
        return claim

    def claim_into(
        self,
        claim: Claim,
        keys: Sequence[bytes],
        payloads: Sequence[bytes] | None = None,
        *,
        again: bool = False,
    ) -> None:
        """`claim` for callers that must know what was claimed even after Ctrl-C.

        Args:
            claim: an empty one, filled at the moment when the attempts are written.
            keys: as of `claim`.
            payloads: as of `claim`.
            again: as of `claim`.
        """
        by_key: dict[bytes, bytes | None] = dict.fromkeys(keys)
        if self.keep_payloads and payloads is not None:
            by_key |= dict(zip(keys, payloads, strict=True))

        def change(database: LedgerDatabase) -> Claim:
            found = self._found(database, list(by_key), again)
            new = {key: by_key[key] for key in by_key if key not in found}
            found.ours |= self._added(database, new)
            return found

        self._store.write(change, written=claim.take, droppable=True)
        if claim.ours and self._soft_limit is not None:
            self._soft_limit.check(lambda: self.spent, f" of {self.path}")

    def look(self, keys: Sequence[bytes], *, again: bool = False) -> Claim:
        """What `claim` would return, without claiming: `ours` is empty.

        Args:
            keys: of queries, each once.
            again: as of `claim`.

        Raises:
            UnknownFateError: under `on_unknown="raise"`.
        """
        return self._store.read(lambda database: self._found(database, keys, again))

    def missing(self, keys: Sequence[bytes]) -> list[bytes]:
        """The keys without a stored answer; claims nothing.

        Args:
            keys: of queries.
        """
        return self._store.read(lambda database: database.unanswered(keys))

    def settle(self, attempt: int, answer: np.ndarray | None, note: str | None = None) -> None:
        """Marks an attempt as billed.

        Args:
            attempt: its number.
            answer: scores `(num_labels,)`; `None` if what came is of no use, so that the query
                may be asked once more.
            note: why it is of no use.
        """
        self.settle_all({attempt: answer}, note)

    def settle_all(self, answers: Mapping[int, np.ndarray | None], note: str | None = None) -> None:
        """Marks attempts as billed: all of them or, if one is not open, none.

        Args:
            answers: number of an attempt -> its answer, as of `settle`.
            note: why the answers are of no use.
        """
        self.settling(answers, note)()

    def settling(
        self, answers: Mapping[int, np.ndarray | None], note: str | None = None
    ) -> Callable[[], None]:
        """`settle_all` without waiting: returns a function that waits until it is written.

        Args:
            answers: as of `settle_all`.
            note: as of `settle_all`.

        Returns:
            The function that waits.
        """
        stored = {
            attempt: None if answer is None else np.asarray(answer, "<f4").tobytes()
            for attempt, answer in answers.items()
        }

        def change(database: LedgerDatabase) -> None:
            settled = database.settle(stored, note)
            for attempt in stored:
                if attempt not in settled:
                    raise ValueError(_NOT_OPEN.format(attempt))

        # Waiting for the disk takes as long as all the rest; whoever asks next waits for it.
        return self._store.writing(change, synced=False)

    def release(self, attempt: int, note: str | None = None) -> None:
        """Marks an attempt as free: surely not billed, such as a refused connection or a 429.

        Args:
            attempt: its number.
            note: why.
        """
        if not self.release_all([attempt], note):
            raise ValueError(_NOT_OPEN.format(attempt))

    def release_all(self, attempts: Iterable[int], note: str | None = None) -> int:
        """Marks those attempts as free that are still open.

        Args:
            attempts: their numbers.
            note: why.

        Returns:
            How many they were.
        """
        numbers = list(attempts)
        if not numbers:
            return 0
        return self._store.write(lambda database: database.free(numbers, note))

    def abandon(self, attempt: int, note: str | None = None) -> None:
        """Gives up an attempt whose fate is unknown, such as a lost connection; it stays spent.

        Args:
            attempt: its number.
            note: why.
        """
        self.abandon_all([attempt], note)

    def abandon_all(self, attempts: Iterable[int], note: str | None = None) -> None:
        """Gives up those attempts that are still open.

        Args:
            attempts: their numbers.
            note: why.
        """
        # No owner of this name is alive: what `on_unknown` says holds from now on.
        numbers = list(attempts)
        if numbers:
            self._store.write(lambda database: database.abandon(numbers, note))

    def counts(self) -> dict[str, int]:
        """Attempts by state: `sent` (in flight or of unknown fate), `billed`, `free`."""
        found = self._store.read(lambda database: database.counts())
        return {state: found.get(state, 0) for state in ("sent", "billed", "free")}

    def close(self) -> None:
        """Closes the ledger; attempts in flight become ones of unknown fate."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _found(self, database: LedgerDatabase, keys: Sequence[bytes], again: bool) -> Claim:
        """A claim of all keys but those that have to be sent."""
        claim = Claim()
        for key, attempts in database.attempts_of(keys).items():
            self._sort(database, key, attempts, claim, again)
        return claim

    def _sort(
        self,
        database: LedgerDatabase,
        key: bytes,
        attempts: list[Attempt],
        claim: Claim,
        again: bool,
    ) -> None:
        """Adds a key to a claim, unless it has to be sent."""
        for _, _, answer in attempts:
            if answer is not None:
                claim.answers[key] = np.frombuffer(answer, "<f4").astype(np.float32)
                return
        owners = {owner for state, owner, _ in attempts if state == "sent"}
        if again:
            # Attempts that were given up: this is their repetition.
            owners.discard("")
        # No owner without a name is alive.
        if any(owner and database.is_alive(owner) for owner in owners):
            claim.elsewhere.add(key)
            return
        if owners and self.on_unknown != "resend":
            # An owner may have settled the query and ended between the two questions. Once it has
            # ended it changes nothing.
            latest = database.attempts_of([key])[key]
            if latest != attempts:
                self._sort(database, key, latest, claim, again)
                return
        if owners and self.on_unknown == "skip":
            claim.skipped.add(key)
        elif owners and self.on_unknown == "raise":
            raise UnknownFateError(
                "A run on this ledger ended before the answers to its last queries came; they may "
                f"have been billed. Received: {database.counts()['sent']} queries of unknown fate "
                f"in {self.path}. Pass `on_unknown='resend'` to ask again, or 'skip' to go on "
                "without."
            )

    def _added(
        self, database: LedgerDatabase, payloads: Mapping[bytes, bytes | None]
    ) -> dict[bytes, int]:
        """Spends on new attempts; key -> number."""
        if not payloads:
            return {}
        limit = UNLIMITED if self.limit is None else min(self.limit, UNLIMITED)
        numbers = database.add(payloads, limit)
        if numbers is None:
            raise BudgetSpentError(
                f"The budget does not pay for {len(payloads)} more queries. Received: a limit of "
                f"{limit:,}, {database.spent():,} spent. What was answered stays in {self.path}; "
                "raise the budget to go on."
            )
        return numbers


def _opened(path: str | Path) -> LedgerDatabase:
    if is_postgres_url(path):
        return PostgresDatabase(PostgresURL(str(path)))
    return SQLiteDatabase(Path(path))


def query_key(identity: str, options: str, payload: bytes) -> bytes:
    """The key of a query.

    Args:
        identity: which source, in words.
        options: what else the request says (number of labels, threshold, ...).
        payload: the exact bytes sent.

    Returns:
        32 bytes.
    """
    digest = hashlib.sha256()
    for part in (identity.encode(), options.encode(), payload):
        # With its length, so that no two triples run together.
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def query_limit(
    budget: int | None, money_budget: float | None, price_per_thousand: float | None
) -> int | None:
    """Most queries that both budgets allow, or `None` without any."""
    for name, value in (
        ("budget", budget),
        ("money_budget", money_budget),
        ("price_per_thousand", price_per_thousand),
    ):
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"`{name}` must be a finite number >= 0. Received: {value}.")
    limits = [] if budget is None else [int(budget)]
    if money_budget is not None:
        if not price_per_thousand:
            raise ValueError(
                "`money_budget` needs a price. "
                f"Received: price_per_thousand={price_per_thousand}. Pass what 1,000 queries cost."
            )
        # In fractions: 0.3 / 0.1 is 2.9999... in floating point.
        exact = Fraction(str(money_budget)) * 1000 / Fraction(str(price_per_thousand))
        limits.append(math.floor(exact))
    return min(limits, default=None)


def money_for(queries: int, price_per_thousand: float | None) -> float | None:
    """Price of some queries, or `None` without a price."""
    if price_per_thousand is None:
        return None
    return float(queries * Fraction(str(price_per_thousand)) / 1000)
