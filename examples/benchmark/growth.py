"""A million images, a thousand replicas, ten services: what do they take?

    export KERAS_HOME=...             # only where there is no network: MobileNet's weights
    export KERAS_REPROGRAM_DATA=...   # only where there is no network: CIFAR-10
    python examples/benchmark/growth.py --save-constants growth.json
    python examples/benchmark/growth.py --constants growth.json --price 1.5
    python examples/benchmark/growth.py --constants growth.json --page docs/growth.md

The first command measures constants on this machine, in a few minutes; one that was stopped goes
on from the file. The second computes the
tables from a file of them; the third writes them into the page of the documentation. `--ledger
FILE` takes the ledgers' rates and sizes from the JSON of `ledger_throughput.py`; without it SQLite
alone is measured. The rest is arithmetic, whose formulas that page lists. The Markdown goes to
stdout.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from rounds import fresh_process, machine

IMAGES = 1_000_000
REPLICAS = (1, 10, 100, 1000)
SERVICES = 10
VIEWS = (1, 4)
ROWS = (1_000, 10_000, 100_000, 1_000_000)
IN_FLIGHT = 16
# The tables of a page lie between these.
START, END = "<!-- tables of growth.py -->", "<!-- end of the tables -->"


@dataclass(frozen=True)
class Constants:
    """What was measured; sizes in bytes, rates a second.

    Attributes:
        request_bytes: body of a request: JSON around one PNG in base64.
        answer_bytes: body of its answer: JSON of 1,000 scores.
        sqlite_rows: ledger rows claimed and settled, all threads together.
        sqlite_row_bytes: of a row of 1,000 scores, on the disk.
        postgres_rows: the same of PostgreSQL; `None` if it was not measured.
        postgres_row_bytes: the same of PostgreSQL.
        scores: images of 224 pixels that MobileNetV2 answers on this machine.
        fit_rows: rows of the exact fit that was timed, with 1,000 features and 10 classes.
        fit_seconds: what it took.
        fit_megabytes: that the process's peak grew by.
        processors: of this machine.
        load_average: while it was measured.
    """

    request_bytes: float
    answer_bytes: float
    sqlite_rows: float
    sqlite_row_bytes: float
    scores: float
    fit_rows: int
    fit_seconds: float
    fit_megabytes: float
    processors: int
    load_average: float
    postgres_rows: float | None = None
    postgres_row_bytes: float | None = None


@dataclass(frozen=True)
class Plan:
    """What is not measured but chosen.

    Attributes:
        price: dollars for 1,000 queries.
        service_seconds: that a service takes to answer.
        in_flight: queries of a replica that are under way at once.
    """

    price: float = 1.0
    service_seconds: float = 0.1
    in_flight: int = IN_FLIGHT

    @property
    def replica_rate(self) -> float:
        """Queries a second that one replica would send, if nothing held it up."""
        return self.in_flight / self.service_seconds


def main(
    constants: Annotated[
        Path | None, typer.Option(help="Of an earlier run; nothing is measured.")
    ] = None,
    save_constants: Annotated[Path | None, typer.Option(help="Where they are written.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="JSON of `ledger_throughput.py`.")] = None,
    price: Annotated[float, typer.Option(min=0, help="Dollars for 1,000 queries.")] = 1.0,
    service_ms: Annotated[float, typer.Option(min=1, help="How long a service takes.")] = 100.0,
    page: Annotated[Path | None, typer.Option(help="A page whose tables are written anew.")] = None,
    quick: Annotated[bool, typer.Option(help="Coarse constants: for a first look.")] = False,
) -> None:
    """Computes what large runs take from constants of this machine."""
    found = measured(quick, save_constants) if constants is None else read_constants(constants)
    if ledger is not None:
        found = with_ledgers(found, json.loads(ledger.read_text(encoding="utf-8")))
    if save_constants is not None:
        write_constants(asdict(found), save_constants)
    text = tables(found, Plan(price, service_ms / 1000))
    print(text)
    if page is not None:
        page.write_text(between_marks(page.read_text(encoding="utf-8"), text), encoding="utf-8")


def between_marks(page: str, text: str) -> str:
    """A page with other tables."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise typer.BadParameter(
            f"Expected a page with {START} and, behind it, {END}. Received: one without.",
            param_hint="--page",
        )
    return f"{before}{START}\n\n{text}\n\n{END}{after}"


def write_constants(values: Mapping[str, Any], path: Path) -> None:
    """Constants, or those that were measured so far, as JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_constants(path: Path) -> Constants:
    """Constants from a file of an earlier run."""
    values = json.loads(path.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Constants)}
    if not isinstance(values, dict) or set(values) != names:
        raise typer.BadParameter(
            f"Expected {path} to hold {', '.join(sorted(names))}. Received: "
            f"{', '.join(sorted(values))}. Measure again with --save-constants.",
            param_hint="--constants",
        )
    return Constants(**values)


def with_ledgers(constants: Constants, found: list[dict[str, Any]]) -> Constants:
    """Takes the ledgers' constants from `ledger_throughput.py`, of the service that waits least."""
    least = min(found, key=lambda row: row["service_ms"])
    return replace(
        constants,
        sqlite_rows=float(np.median(least["SQLite"])),
        postgres_rows=float(np.median(least["PostgreSQL"])),
        sqlite_row_bytes=least["row_bytes"]["SQLite"],
        postgres_row_bytes=least["row_bytes"]["PostgreSQL"],
    )


# === Measuring ===


def measured(quick: bool, path: Path | None) -> Constants:
    """All constants, each kind in a process of its own; a file keeps those of a stopped run."""
    found: dict[str, Any] = {}
    if path is not None and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if {field.name for field in fields(Constants)} <= set(found):
            # Of a run that ended: this one measures anew.
            found = {}
    for name, (kept, work) in MEASUREMENTS.items():
        if kept in found:
            say(f"{name}: there already")
            continue
        say(f"measuring {name}")
        start = time.monotonic()
        with fresh_process() as process:
            found |= process.submit(work, quick).result()
        if path is not None:
            write_constants(found, path)
        say(f"{name}: {time.monotonic() - start:.0f} s")
    return Constants(**found | machine())


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def query_bytes(quick: bool) -> dict[str, float]:
    """Bodies as `HTTPSource` sends them and a server of its protocol answers, for CIFAR-10."""
    from folding import mobilenet_v2

    from keras_reprogram import ProgramLayer
    from keras_reprogram.datasets import load_target
    from keras_reprogram.source.remote.http_source import HTTPClient
    from keras_reprogram.source.remote.payloads import encode_image

    data = load_target("cifar10")
    images = data.draw(4 if quick else 32, 10, 0).train_images
    source = mobilenet_v2(224, 1.0, trained=not quick)
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="full",
        masked=False,
    )
    placed = np.asarray(program(images))[:, 0]
    files = [encode_image(image, source.value_range, "png") for image in placed]
    client = HTTPClient()
    requests = [len(client.body([file])[0]) for file in files]
    scores = np.asarray(source(placed), np.float32)
    # As TensorFlow Serving writes a float32: the shortest decimals that give it back.
    answers = [
        len(json.dumps({"predictions": [[float(str(one)) for one in row]]})) for row in scores
    ]
    return {"request_bytes": float(np.mean(requests)), "answer_bytes": float(np.mean(answers))}


def sqlite_ledger(quick: bool) -> dict[str, float]:
    """Rows a second and bytes a row of a ledger in a file, with a service that takes no time."""
    from ledger_throughput import file_bytes, rate

    queries = 100 if quick else 800
    with tempfile.TemporaryDirectory() as folder:
        rates = []
        for number in range(1 if quick else 5):
            place = Path(folder) / f"ledger_{number}"
            rates.append(rate(str(place), 0.0, queries, IN_FLIGHT))
        size = file_bytes(place) / queries
    return {"sqlite_rows": float(np.median(rates)), "sqlite_row_bytes": size}


def scores_a_second(quick: bool) -> dict[str, float]:
    """MobileNetV2's rate at 224 pixels, 32 images a call."""
    import tensorflow as tf
    from folding import mobilenet_v2
    from rounds import seconds_of

    source = mobilenet_v2(224, 1.0, trained=False)
    images = tf.zeros((32, *source.source_shape)) + 100.0
    answer = tf.function(source, autograph=False)
    times = [seconds_of(lambda: answer(images).numpy()) for _ in range(3 if quick else 12)]
    return {"scores": 32 / float(np.median(times[2:]))}


def exact_fit(quick: bool) -> dict[str, float]:
    """The exact fit on real answers with 1,000 labels."""
    from growth_curves import Size, measure

    rows = 200 if quick else 4000
    point = measure(Size("labels", images=rows, labels=1000, classes=10), rounds=1 if quick else 3)
    return {"fit_rows": rows, "fit_seconds": point.fit, "fit_megabytes": point.megabytes}


# Name -> one of the constants that it gives, and what measures them.
MEASUREMENTS: dict[str, tuple[str, Callable[[bool], dict[str, float]]]] = {
    "a query through HTTP": ("request_bytes", query_bytes),
    "a ledger in a file": ("sqlite_rows", sqlite_ledger),
    "MobileNetV2's answers": ("scores", scores_a_second),
    "the exact fit": ("fit_seconds", exact_fit),
}

# === Arithmetic ===


def tables(constants: Constants, plan: Plan) -> str:
    """All tables as Markdown."""
    parts = (measured_lines, million_lines, replica_lines, service_lines, fit_lines)
    return "\n\n".join("\n".join(part(constants, plan)) for part in parts)


def measured_lines(c: Constants, plan: Plan) -> Iterator[str]:
    """What the rest is computed from."""
    yield "| constant | measured |"
    yield "| --- | ---: |"
    yield f"| a request: a PNG of 224 pixels in base64 in JSON | {size(c.request_bytes)} |"
    yield f"| its answer, 1,000 scores in JSON | {size(c.answer_bytes)} |"
    yield f"| SQLite ledger | {c.sqlite_rows:,.0f} rows/s, {size(c.sqlite_row_bytes)} a row |"
    if c.postgres_rows is not None and c.postgres_row_bytes is not None:
        row_size = size(c.postgres_row_bytes)
        yield f"| PostgreSQL ledger | {c.postgres_rows:,.0f} rows/s, {row_size} a row |"
    yield f"| MobileNetV2 on this machine | {c.scores:,.0f} images/s |"
    yield (
        f"| exact fit, {c.fit_rows:,} x 1,000, 10 classes "
        f"| {c.fit_seconds:.1f} s, {c.fit_megabytes:,.0f} MB |"
    )
    yield ""
    yield (
        f"Measured on {c.processors} processors at a load average of {c.load_average:.1f}. "
        f"Chosen: ${plan.price:g} for 1,000 queries, a service that takes "
        f"{1000 * plan.service_seconds:g} ms, {plan.in_flight} queries of a replica in flight."
    )


def million_lines(c: Constants, plan: Plan) -> Iterator[str]:
    """Queries = images x views; the slowest of service, ledger and wire is the run's."""
    yield f"| {IMAGES:,} images, one replica | " + " | ".join(_views(v) for v in VIEWS) + " |"
    yield "| --- |" + " ---: |" * len(VIEWS)
    queries = [IMAGES * views for views in VIEWS]
    ledger_rate = min(plan.replica_rate, c.sqlite_rows)
    rows = {
        "queries": [f"{n:,}" for n in queries],
        "money": [f"${n * plan.price / 1000:,.0f}" for n in queries],
        "sent": [size(n * c.request_bytes) for n in queries],
        "received": [size(n * c.answer_bytes) for n in queries],
        "SQLite ledger": [size(n * c.sqlite_row_bytes) for n in queries],
        "PostgreSQL ledger": [_optional(c.postgres_row_bytes, n) for n in queries],
        "waiting for the service alone": [hours(n / plan.replica_rate) for n in queries],
        "through a SQLite ledger": [hours(n / ledger_rate) for n in queries],
        "MobileNetV2 on this machine instead": [hours(n / c.scores) for n in queries],
    }
    for name, cells in rows.items():
        yield f"| {name} | {' | '.join(cells)} |"


def replica_lines(c: Constants, plan: Plan) -> Iterator[str]:
    """A ledger gives min(replicas x rate of one, its own rate)."""
    names = ["SQLite"] + ["PostgreSQL"] * (c.postgres_rows is not None)
    limits = [c.sqlite_rows] + [c.postgres_rows or 0.0] * (c.postgres_rows is not None)
    heads = [f"{name}: {IMAGES:,} queries" for name in names]
    yield f"| replicas | queries/s wanted | {' | '.join(heads)} |"
    yield "| ---: | ---: |" + " ---: |" * len(names)
    for replicas in REPLICAS:
        wanted = replicas * plan.replica_rate
        cells = [
            f"{hours(IMAGES / min(wanted, limit))}{'' if wanted <= limit else ', full'}"
            for limit in limits
        ]
        yield f"| {replicas:,} | {wanted:,.0f} | {' | '.join(cells)} |"
    yield ""
    for name, limit in zip(names, limits, strict=True):
        yield (
            f"One {name} ledger is full at {limit / plan.replica_rate:,.1f} replicas "
            f"({limit:,.0f} of {plan.replica_rate:,.0f} queries/s)."
        )


def service_lines(c: Constants, plan: Plan) -> Iterator[str]:
    """Each service is asked all queries and has a ledger of its own, or all share one."""
    yield f"| {SERVICES} services, {IMAGES:,} images each | one ledger each | one for all |"
    yield "| --- | ---: | ---: |"
    queries = SERVICES * IMAGES
    both = {
        "queries": f"{queries:,}",
        "money": f"${queries * plan.price / 1000:,.0f}",
        "sent and received": size(queries * (c.request_bytes + c.answer_bytes)),
        "SQLite ledgers": size(queries * c.sqlite_row_bytes),
    }
    for name, cell in both.items():
        yield f"| {name} | {cell} | {cell} |"
    own = min(plan.replica_rate, c.sqlite_rows)
    shared = min(SERVICES * plan.replica_rate, c.sqlite_rows)
    yield f"| SQLite | {hours(IMAGES / own)} | {hours(queries / shared)} |"
    if c.postgres_rows is not None:
        # Databases on machines of their own, as files are; one server for all is the last column.
        own = min(plan.replica_rate, c.postgres_rows)
        shared = min(SERVICES * plan.replica_rate, c.postgres_rows)
        yield f"| PostgreSQL | {hours(IMAGES / own)} | {hours(queries / shared)} |"
    yield ""
    yield (
        "The first column has a disk for each ledger; ledgers on one disk share its writes and "
        "come close to the second."
    )


def fit_lines(c: Constants, plan: Plan) -> Iterator[str]:
    """Time and memory in proportion to the rows."""
    yield "| exact map, 1,000 scores a row, 10 classes | seconds | memory | the scores alone |"
    yield "| ---: | ---: | ---: | ---: |"
    for rows in ROWS:
        share = rows / c.fit_rows
        yield (
            f"| {rows:,} rows | {share * c.fit_seconds:,.1f} "
            f"| {size(share * c.fit_megabytes * 2**20)} | {size(rows * 4000)} |"
        )


def size(count: float) -> str:
    """Bytes in the unit that suits, of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def hours(seconds: float) -> str:
    """Hours, or days where they are many."""
    number = seconds / 3600
    return f"{number:.1f} h" if number < 100 else f"{number / 24:,.0f} days"


def _optional(row_bytes: float | None, count: int) -> str:
    return "not measured" if row_bytes is None else size(count * row_bytes)


def _views(number: int) -> str:
    return "1 view" if number == 1 else f"{number} views"


if __name__ == "__main__":
    typer.run(main)
