"""PostgresURL: where a ledger's database is, shown without its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from keras_reprogram.optional_packages import needs_extra

if TYPE_CHECKING:
    import psycopg

_SCHEMES = ("postgresql://", "postgres://")
_WANTED = "Expected a URL such as postgresql://user@host:5432/database?ledger=name."
_SECRETS = ("password", "sslpassword")
# A machine that lost its power or its network is noticed within a minute, on either side.
_NOTICED = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def is_postgres_url(path: str | Path) -> bool:
    """Whether this names a PostgreSQL database."""
    if isinstance(path, str) and path.startswith(_SCHEMES):
        return True
    if re.match(r"postgres(ql)?:/", str(path)):
        # A `Path` of it would become a folder whose name holds the password.
        raise ValueError(f"{_WANTED} Received: a path of one. Pass the URL as a string.")
    return False


class PostgresURL:
    """A server, a database in it and the schema that is the ledger."""

    def __init__(self, url: str) -> None:
        with needs_extra("psycopg", "postgres"):
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        address, self.schema = _without_ledger(url)
        try:
            options: dict[str, Any] = dict(conninfo_to_dict(address))
        except psycopg.ProgrammingError:
            # What libpq says of it may hold a part of the password.
            raise _not_a_url() from None
        names = ("host", "hostaddr", "port", "dbname", "user", "service")
        if any("@" in str(options.get(name, "")) for name in names):
            # It stood in a password, with what follows it.
            raise _not_a_url()
        self._options = options

    def __repr__(self) -> str:
        """The URL without a password and without options."""
        shown = {name: str(self._options.get(name, "")) for name in ("user", "host", "port")}
        user = quote(shown["user"]) + "@" if shown["user"] else ""
        hosts = [
            f"[{host}]" if ":" in host else quote(host, safe="")
            for host in shown["host"].split(",")
        ]
        ports = shown["port"].split(",")
        if len(ports) < len(hosts):
            ports = ports[:1] * len(hosts)
        where = ",".join(
            f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)
        )
        service = self._options.get("service")
        of_service = f"service={quote(str(service))}&" if service else ""
        database = quote(str(self._options.get("dbname", "")))
        return f"postgresql://{user}{where}/{database}?{of_service}ledger={self.schema}"

    def connect(self) -> psycopg.Connection:
        """A new connection, each of whose statements is a transaction unless it says otherwise."""
        import psycopg

        options = _NOTICED | {"fallback_application_name": "keras_reprogram"} | self._options
        if "PGCONNECT_TIMEOUT" not in os.environ:
            options.setdefault("connect_timeout", 10)
        return psycopg.connect(**options, autocommit=True)

    def told(self, error: Exception) -> str:
        """The words of an error, in one line and without a password."""
        words = " ".join(str(error).split()).rstrip(".")
        secrets = [self._options.get(name) for name in _SECRETS] + [os.environ.get("PGPASSWORD")]
        for secret in filter(None, secrets):
            words = words.replace(str(secret), "***")
        return words


def _without_ledger(url: str) -> tuple[str, str]:
    """The URL as libpq takes it, and the schema."""
    address, _, query = url.partition("?")
    parts = [part for part in query.split("&") if part]
    names = [unquote(part.removeprefix("ledger=")) for part in parts if part.startswith("ledger=")]
    rest = "&".join(part for part in parts if not part.startswith("ledger="))
    name = names[0] if names else "ledger"
    is_name = re.fullmatch("[a-z_][a-z0-9_]{0,62}", name) and not name.startswith("pg_")
    if len(names) > 1 or not is_name:
        raise ValueError(
            "A ledger in PostgreSQL needs one name of small letters, digits and '_', that begins "
            f"with neither a digit nor 'pg_'. Received: {', '.join(names)!r} in "
            "`?ledger=`. Rename it."
        )
    return (f"{address}?{rest}" if rest else address), name


def _not_a_url() -> ValueError:
    return ValueError(
        f"{_WANTED} Received: one that libpq cannot read, not shown because it may hold a "
        "password. Leave the password out and set PGPASSWORD, or write its special characters as "
        "`urllib.parse.quote(password, safe='')` does."
    )
