"""Runs the benchmarks of speed one after the other: ratios inside one run, medians, spreads.

    export KERAS_HOME=...              # MobileNet's weights
    export KERAS_REPROGRAM_DATA=...    # the data sets
    export KERAS_REPROGRAM_POSTGRES=postgresql://me@127.0.0.1:5432/tests    # with PGPASSWORD
    python examples/benchmark/bench.py                  # `make bench` is the same
    python examples/benchmark/bench.py --quick --only folding --only litert_threads

Each writes NAME.json and NAME.md into `bench/`, all tables together are `bench/summary.md`. What
lacks a package or a variable is skipped, and the summary says how to have it. A benchmark that has
its two files is not run again without `--again`, so that an interrupted run goes on. Progress goes
to stderr.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rounds import machine_line

HERE = Path(__file__).parent
WEIGHTS, DATA, POSTGRES = "KERAS_HOME", "KERAS_REPROGRAM_DATA", "KERAS_REPROGRAM_POSTGRES"


@dataclass(frozen=True)
class Benchmark:
    """A script that measures speed and writes its figures with `--json`.

    Attributes:
        title: what it compares.
        minutes: on two quiet cores.
        options: on the command line; `$NAME` is a variable of the environment.
        quick: further ones for a short run, which override.
        packages: module -> what `pip install` is given.
        variables: of the environment, name -> what it holds.
    """

    title: str
    minutes: float
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    packages: Mapping[str, str] | None = None
    variables: Mapping[str, str] | None = None

    def lacks(self) -> list[str]:
        """What has to be installed or set first."""
        packages, variables = self.packages or {}, self.variables or {}
        return [
            *(
                f"`pip install {package}`"
                for module, package in packages.items()
                if importlib.util.find_spec(module) is None
            ),
            *(f"`{name}` ({what})" for name, what in variables.items() if not os.environ.get(name)),
        ]

    def arguments(self, quick: bool) -> list[str]:
        """The options, with variables put in."""
        chosen = self.options + self.quick * quick
        return [os.environ[part[1:]] if part.startswith("$") else part for part in chosen]


_WEIGHTS = {WEIGHTS: "the folder of Keras's pre-trained weights"}
_DATA = {DATA: "the folder of the data sets"}

BENCHMARKS: dict[str, Benchmark] = {
    "folding": Benchmark(
        "A frozen source with and without folded BatchNormalization",
        4,
        quick=("--size", "128", "--rounds", "3"),
        variables=_WEIGHTS,
    ),
    "beside_pytorch": Benchmark(
        "A white-box training step beside PyTorch's",
        8,
        quick=("--size", "128", "--rounds", "3", "--steps", "2"),
        packages={"torch": "torch"},
        variables=_WEIGHTS,
    ),
    "litert_threads": Benchmark(
        "A LiteRT source beside one interpreter",
        8,
        options=("--image-size", "96"),
        quick=("--images", "200", "--rounds", "3"),
        variables=_WEIGHTS,
    ),
    "throughput": Benchmark(
        "The source's share of an estimated step",
        2,
        quick=("--rounds", "5"),
        variables=_WEIGHTS,
    ),
    "exact_fit": Benchmark(
        "The exact fit beside scikit-learn's `LogisticRegressionCV`",
        60,
        quick=("--rounds", "1", "--no-scikit-learn"),
        variables=_WEIGHTS | _DATA,
    ),
    "ledger_throughput": Benchmark(
        "A ledger in a file beside one in PostgreSQL",
        4,
        options=(f"${POSTGRES}",),
        quick=("--rounds", "2", "--queries", "160"),
        packages={"psycopg": "'keras-reprogram[postgres]'"},
        variables={POSTGRES: "postgresql://user@host:port/database"},
    ),
    "scoring_throughput": Benchmark(
        "`score` beside the bare export",
        4,
        quick=("--images", "2000", "--shard-size", "100"),
    ),
    "two_workers": Benchmark("Two workers beside one", 4),
}


def main(
    only: Annotated[list[str] | None, typer.Option(help="A name; may come again.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer rounds: for a first look.")] = False,
    again: Annotated[bool, typer.Option(help="Also what has its files already.")] = False,
    folder: Annotated[Path, typer.Option(help="Where files are written.")] = Path("bench"),
) -> None:
    """Runs benchmarks of speed and writes their tables."""
    known = {name: one for name, one in BENCHMARKS.items() if script_of(name).exists()}
    if unknown := [name for name in only or () if name not in known]:
        raise typer.BadParameter(
            f"Expected {', '.join(known)}. Received: {', '.join(unknown)}.", param_hint="--only"
        )
    chosen = [name for name in known if not only or name in only]
    folder.mkdir(parents=True, exist_ok=True)
    failed = run_all(chosen, folder, quick=quick, again=again)
    summary = joint_summary(known, folder, failed)
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    print(summary)
    if failed:
        raise typer.Exit(1)


def run_all(names: Sequence[str], folder: Path, *, quick: bool, again: bool) -> list[str]:
    """Runs what can run and has no files yet; the names of those that failed."""
    failed = []
    for number, name in enumerate(names, 1):
        one, place = BENCHMARKS[name], f"[{number}/{len(names)}] {name}"
        if lacking := one.lacks():
            say(f"{place}: skipped, it needs {' and '.join(lacking)}")
        elif not again and all(file.exists() for file in files_of(name, folder, quick)):
            say(f"{place}: there already")
        else:
            say(f"{place}: {one.title}; " + ("shortened" if quick else f"about {one.minutes} min"))
            start = time.monotonic()
            failed += [name] * (not run(name, folder, quick))
            say(f"{place}: {'failed' if name in failed else 'done'} in {_took(start)}")
    return failed


def run(name: str, folder: Path, quick: bool) -> bool:
    """One benchmark in a process of its own; whether it succeeded."""
    figures, table = files_of(name, folder, quick)
    unfinished = table.with_suffix(".part")
    command = [sys.executable, str(script_of(name)), *BENCHMARKS[name].arguments(quick)]
    command += ["--json", str(figures)]
    with unfinished.open("w", encoding="utf-8") as output:
        # stderr passes through: each script shows its own progress there.
        ended = subprocess.run(command, stdout=output, check=False)
    if ended.returncode:
        figures.unlink(missing_ok=True)
        unfinished.unlink()
        return False
    unfinished.replace(table)
    return True


def joint_summary(names: Mapping[str, Benchmark], folder: Path, failed: Sequence[str]) -> str:
    """All tables that there are, and what is missing."""
    lines = [f"# Speed\n\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {machine_line()}"]
    missing = []
    for name, one in names.items():
        for quick in (False, True):
            table = files_of(name, folder, quick)[1]
            if table.exists():
                lines.append(_section(name, one, table, quick))
                break
        else:
            lacking = one.lacks()
            reason = f"skipped, it needs {' and '.join(lacking)}" if lacking else "not run"
            missing.append(f"- {name}: {'failed' if name in failed else reason}")
    if missing:
        lines.append("## Not measured\n\n" + "\n".join(missing))
    return "\n\n".join(lines) + "\n"


def _section(name: str, one: Benchmark, table: Path, quick: bool) -> str:
    """A table under the command that makes it."""
    # Variables by their names: a URL may hold a password.
    options = one.options + one.quick * quick
    command = " ".join(["python", f"examples/benchmark/{name}.py", *options])
    shortened = " (shortened)" if quick else ""
    text = table.read_text(encoding="utf-8").strip()
    return f"## {one.title}{shortened}\n\n`{command}`\n\n{text}"


def files_of(name: str, folder: Path, quick: bool) -> tuple[Path, Path]:
    """Where a benchmark's figures and its table are."""
    stem = f"{name}_quick" if quick else name
    return folder / f"{stem}.json", folder / f"{stem}.md"


def script_of(name: str) -> Path:
    """The file of a benchmark."""
    return HERE / f"{name}.py"


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def _took(start: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    return f"{minutes} min {seconds} s"


if __name__ == "__main__":
    typer.run(main)
