"""The PostgreSQL database of a ledger: its tables and transactions, from any machine."""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_reprogram.source.ledger.ledger_store import FORMAT, Attempt, check_format
from keras_reprogram.source.ledger.ledger_writer import NotOpenError
from keras_reprogram.source.ledger.postgres_url import PostgresURL

if TYPE_CHECKING:
    import psycopg

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE spent (attempts BIGINT NOT NULL CHECK (attempts >= 0));
CREATE TABLE attempts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key BYTEA NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'billed', 'free')),
    sent_at DOUBLE PRECISION NOT NULL,
    settled_at DOUBLE PRECISION,
    answer BYTEA,
    note TEXT,
    payload BYTEA
);
CREATE INDEX attempts_by_key ON attempts (key);
INSERT INTO spent VALUES (0);
"""
# The server ends the session of a machine that is gone, and with it the owner's lock; and that of
# a process that was stopped in the midst of a transaction, for which all others wait.
_SESSION = """
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '60s';
"""
# Held by whoever makes the tables of a ledger.
_MAKING = 0x6B72_6C65_6467_6572


class PostgresDatabase:
    """The `LedgerDatabase` of many machines: a schema on a server."""

    # An owner is alive as long as its session is, which holds an advisory lock. The one row of
    # `spent` is locked by every transaction, so that they come one after the other, as in SQLite.

    closed_errors: tuple[type[Exception], ...] = ()
    way_out = "Let this role reach and write to its database, and ask again"

    def __init__(self, url: PostgresURL) -> None:
        import psycopg

        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self.place: Path | str = str(url)
        self.lock: AbstractContextManager[Any] = threading.RLock()
        self._url, self._process, self._closed = url, os.getpid(), False
        self.owner, self._connection = _opened(url)
        _databases.add(self)

    @property
    def is_here(self) -> bool:
        return os.getpid() == self._process

    def check_here(self) -> None:
        if not self.is_here:
            raise NotOpenError("opened by the process that this one was forked from")

    @contextmanager
    def reading(self) -> Iterator[None]:
        self.check_here()
        with self.lock:
            self._connect_again()
            yield

    def told(self, error: Exception) -> str:
        return self._url.told(error)

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[None]:
        import psycopg

        self._connect_again()
        connection = self._connection
        try:
            # What returns nothing is not waited for.
            with connection.pipeline():
                connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
                if not synced:
                    connection.execute("SET LOCAL synchronous_commit = off")
                connection.execute("SELECT attempts FROM spent FOR UPDATE")
                yield
                end = connection.execute("COMMIT")
        except BaseException:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                # The server takes back what a lost session did not commit.
                connection.close()
            raise
        if end.statusmessage != "COMMIT":
            raise psycopg.OperationalError(f"the transaction ended with {end.statusmessage}")

    @contextmanager
    def part(self) -> Iterator[None]:
        self._connection.execute("SAVEPOINT one")
        try:
            yield
        except Exception as error:
            if self.survives(error):
                self._connection.execute("ROLLBACK TO one")
                self._connection.execute("RELEASE one")
            raise
        self._connection.execute("RELEASE one")

    def survives(self, error: Exception) -> bool:
        return not isinstance(error, self.errors)

    def attempts_of(self, keys: Sequence[bytes]) -> dict[bytes, list[Attempt]]:
        found: dict[bytes, list[Attempt]] = {key: [] for key in keys}
        question = (
            "SELECT key, state, owner, answer FROM attempts WHERE key = ANY(%s::bytea[]) "
            "ORDER BY id"
        )
        for key, *attempt in self._rows(question, list(found)):
            found[key].append(tuple(attempt))
        return found

    def unanswered(self, keys: Sequence[bytes]) -> list[bytes]:
        question = "SELECT key FROM attempts WHERE key = ANY(%s::bytea[]) AND answer IS NOT NULL"
        answered = {key for (key,) in self._rows(question, list(keys))}
        return [key for key in keys if key not in answered]

    def spent(self) -> int:
        return int(self._rows("SELECT attempts FROM spent")[0][0])

    def counts(self) -> dict[str, int]:
        return dict(self._rows("SELECT state, COUNT(*) FROM attempts GROUP BY state"))

    def add(self, payloads: Mapping[bytes, bytes | None], limit: int) -> dict[bytes, int] | None:
        question = """
            WITH paid AS (
                UPDATE spent SET attempts = attempts + %s WHERE attempts + %s <= %s RETURNING 1
            )
            INSERT INTO attempts (key, owner, state, sent_at, payload)
            SELECT new.key, %s, 'sent', %s, new.payload
            FROM paid, unnest(%s::bytea[], %s::bytea[]) AS new (key, payload)
            RETURNING key, id
        """
        budget = len(payloads), len(payloads), limit
        new = list(payloads), list(payloads.values())
        return dict(self._rows(question, *budget, self.owner, time.time(), *new)) or None

    def settle(self, answers: Mapping[int, bytes | None], note: str | None) -> set[int]:
        question = """
            UPDATE attempts SET state = 'billed', answer = new.answer, note = %s, settled_at = %s
            FROM unnest(%s::bigint[], %s::bytea[]) AS new (id, answer)
            WHERE attempts.id = new.id AND state = 'sent'
            RETURNING attempts.id
        """
        new = list(answers), list(answers.values())
        return {number for (number,) in self._rows(question, _plain(note), time.time(), *new)}

    def free(self, attempts: Sequence[int], note: str | None) -> int:
        question = """
            WITH freed AS (
                UPDATE attempts SET state = 'free', note = %s, settled_at = %s
                WHERE id = ANY(%s::bigint[]) AND state = 'sent' RETURNING 1
            ),
            counted AS (SELECT COUNT(*) AS number FROM freed),
            back AS (UPDATE spent SET attempts = attempts - number FROM counted)
            SELECT number FROM counted
        """
        return int(self._rows(question, _plain(note), time.time(), list(attempts))[0][0])

    def abandon(self, attempts: Sequence[int], note: str | None) -> None:
        self._connection.execute(
            "UPDATE attempts SET owner = '', note = %s "
            "WHERE id = ANY(%s::bigint[]) AND state = 'sent'",
            (_plain(note), list(attempts)),
        )

    def is_alive(self, owner: str) -> bool:
        if owner == self.owner:
            return True
        # Shared, so that two who look do not take each other for the owner.
        question = "SELECT pg_try_advisory_xact_lock_shared(%s)"
        return not self._rows(question, _lock_of(owner))[0][0]

    def close(self) -> None:
        if self.is_here:
            with self.lock:
                self._closed = True
                self._connection.close()

    def leave(self) -> None:
        """In a forked child: the parent's session ends with the parent, not with its children."""
        # Only the descriptor is closed: libpq's own end of a session would end the parent's.
        if not self._connection.closed:
            os.close(self._connection.fileno())

    def _connect_again(self) -> None:
        if self._closed:
            raise NotOpenError("closed")
        if self._connection.closed:
            # It was lost. What its session had in flight is of unknown fate from now on.
            self.owner, self._connection = _session(self._url)

    def _rows(self, question: str, *values: object) -> list[tuple]:
        return self._connection.execute(question, values, binary=True).fetchall()


def _opened(url: PostgresURL) -> tuple[str, psycopg.Connection]:
    """A session, in which the tables are there."""
    import psycopg

    try:
        owner, connection = _session(url)
        try:
            check_format(str(url), _made(connection, url.schema))
        except BaseException:
            connection.close()
            raise
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        raise OSError(
            f"The ledger {url} could not be opened. Received: {url.told(error)}. Start its server, "
            "give this role access, and set PGPASSWORD or what else the server asks for."
        ) from error
    except psycopg.Error as error:
        raise ValueError(
            f"Expected {url} to be a query ledger. Received: a schema with other tables "
            f"({url.told(error)}). Pass another name in `?ledger=`."
        ) from error
    return owner, connection


def _session(url: PostgresURL) -> tuple[str, psycopg.Connection]:
    """A new owner, and its connection."""
    connection = url.connect()
    try:
        owner = uuid.uuid4().hex
        if _first(connection, "SELECT pg_backend_pid()") != connection.info.backend_pid:
            raise ValueError(
                "A ledger needs sessions of its own, whose locks say that their processes live. "
                f"Received: a pooler such as PgBouncer at {url}. Connect to PostgreSQL itself."
            )
        connection.execute(_SESSION + f'SET search_path = "{url.schema}";')
        if connection.execute("SHOW synchronous_commit").fetchone() == ("off",):
            # An attempt is on the disk before its request leaves.
            connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_advisory_lock(%s)", (_lock_of(owner),))
    except BaseException:
        connection.close()
        raise
    return owner, connection


def _made(connection: psycopg.Connection, schema: str) -> str | None:
    """Makes the tables where there are none; the format of those that are there."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
        if _first(connection, "SELECT to_regclass(%s)", f'"{schema}".facts') is None:
            if not _first(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
                connection.execute(f'CREATE SCHEMA "{schema}"')
            connection.execute(_TABLES)
            connection.execute("INSERT INTO facts VALUES ('format', %s)", (FORMAT,))
        return _first(connection, "SELECT value FROM facts WHERE name = 'format'")


def _first(connection: psycopg.Connection, question: str, *values: object) -> Any:
    found = connection.execute(question, values).fetchone()
    return found and found[0]


def _lock_of(owner: str) -> int:
    return int.from_bytes(bytes.fromhex(owner)[:8], "big", signed=True)


def _plain(note: str | None) -> str | None:
    """A note that databases of any encoding take."""
    if note is None:
        return None
    return note.encode("ascii", "backslashreplace").decode().replace("\0", r"\x00")


_databases: weakref.WeakSet[PostgresDatabase] = weakref.WeakSet()


def _after_in_child() -> None:
    for database in list(_databases):
        database.leave()
    _databases.clear()


# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
