"""How many queries a second pass through a ledger in a file, and through one in PostgreSQL?

    export PGPASSWORD=...
    python examples/benchmark/ledger_throughput.py postgresql://me@127.0.0.1:5432/tests

So many threads ask a service that only waits, each one query at a time: claimed, sent, settled. A
round asks through a new file and through a new schema, in turn, so that whatever else the machine
does meets both alike; what counts is the ratio inside a round. Both wait for the disk: put
`--folder` where the server keeps its data. The schemas are removed at the end. What a row takes on
the disk is read off both afterwards. The Markdown goes to stdout, `--json` writes the figures into
a file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer

from keras_reprogram.source import QueryLedger, query_key

LABELS = 1000
STORES = ("SQLite", "PostgreSQL")


def main(
    url: Annotated[str, typer.Argument(help="postgresql://user@host:port/database")],
    rounds: Annotated[int, typer.Option(min=1, help="Each asks through both ledgers.")] = 5,
    queries: Annotated[int, typer.Option(min=1, help="Of a round, through each ledger.")] = 800,
    in_flight: Annotated[int, typer.Option(min=1, help="Threads.")] = 16,
    service_ms: Annotated[
        list[float] | None, typer.Option(min=0, help="How long the service takes; may come again.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the files are written.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Figures go there.")] = None,
) -> None:
    """Queries a second through a ledger in a file and in a database."""
    found = [
        {"service_ms": wait} | measured(url, folder, wait / 1000, rounds, queries, in_flight)
        for wait in service_ms or [0.0, 100.0]
    ]
    print(table(found, in_flight))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


def measured(
    url: str, folder: Path | None, seconds: float, rounds: int, queries: int, in_flight: int
) -> dict[str, Any]:
    """Rates of all rounds by kind of ledger, and the bytes of a row in the last."""
    import psycopg

    row_bytes: dict[str, float] = {}
    rates: dict[str, list[float]] = {store: [] for store in STORES}
    with tempfile.TemporaryDirectory(dir=folder) as files:
        for number in range(rounds):
            name = f"throughput_{uuid.uuid4().hex[:12]}"
            join = "&" if "?" in url else "?"
            places = {"SQLite": f"{files}/{name}", "PostgreSQL": f"{url}{join}ledger={name}"}
            # Who comes first takes turns too.
            for store in STORES if number % 2 else reversed(STORES):
                rates[store].append(rate(places[store], seconds, queries, in_flight))
            row_bytes["SQLite"] = file_bytes(Path(places["SQLite"])) / queries
            with psycopg.connect(url, autocommit=True) as connection:
                row_bytes["PostgreSQL"] = schema_bytes(connection, name) / queries
                connection.execute(f"DROP SCHEMA {name} CASCADE")
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return rates | {"row_bytes": row_bytes}


def file_bytes(path: Path) -> int:
    """What a ledger in a closed file takes, whatever lies beside it included."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def schema_bytes(connection: Any, name: str) -> int:
    """What the tables of a schema take, with their indexes and long values."""
    tables = "SELECT oid FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
    sizes = f"SELECT sum(pg_total_relation_size(oid)) FROM ({tables}) AS own"
    return int(connection.execute(sizes, (name,)).fetchone()[0])


def rate(place: str, seconds: float, queries: int, in_flight: int) -> float:
    """Queries a second through a new ledger."""
    # A database compresses what repeats itself, which no answer does.
    answer = np.random.default_rng(0).dirichlet(np.ones(LABELS)).astype(np.float32)
    with QueryLedger(place, budget=queries) as ledger:

        def ask(number: int) -> None:
            key = query_key("a service", "", number.to_bytes(8, "big"))
            (attempt,) = ledger.claim([key]).ours.values()
            time.sleep(seconds)
            ledger.settle(attempt, answer)

        with ThreadPoolExecutor(in_flight) as threads:
            start = time.perf_counter()
            list(threads.map(ask, range(queries)))
            took = time.perf_counter() - start
        if not ledger.spent == ledger.counts()["billed"] == queries:
            raise RuntimeError(f"{ledger.counts()} after {queries} queries through {ledger.path}.")
    return queries / took


def table(found: list[dict], in_flight: int) -> str:
    """Medians over the rounds, and the quartiles of the ratio inside a round."""
    lines = [
        f"| a service that takes, {in_flight} in flight | SQLite | PostgreSQL | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in found:
        sqlite, postgres = (np.array(row[store]) for store in STORES)
        low, middle, high = np.percentile(postgres / sqlite, [25, 50, 75])
        lines.append(
            f"| {row['service_ms']:.0f} ms | {np.median(sqlite):,.0f} | {np.median(postgres):,.0f} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) |"
        )
    row_bytes = ", ".join(f"{store} {size:,.0f}" for store, size in found[-1]["row_bytes"].items())
    return "\n".join([*lines, "", f"Bytes a row of {LABELS:,} scores: {row_bytes}."])


if __name__ == "__main__":
    # Not typer's own tracebacks: they show variables, and a URL may hold a password.
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
