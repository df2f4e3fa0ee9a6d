"""Runs that are not in a file of rows yet, done one by one with a progress bar; names by commas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from csv_rows import Row, append_row, read_rows
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def do_missing(
    runs: Sequence[Any],
    path: Path,
    minutes: float | None,
    *,
    key: Callable[[Any], tuple[Any, ...]],
    execute: Callable[[Any], Any],
    expected_seconds: Callable[[Sequence[Any], Any], float],
    kind: type[Any] = Row,
    bars: Progress | None = None,
) -> bool:
    """Does the runs that have no row yet and writes each row as soon as it is there.

    Args:
        runs: all that are wanted, in order.
        path: the CSV file.
        minutes: start no run that would not end in this time; `None` for no limit.
        key: of a run, as `key` of the row that it becomes.
        execute: does a run, gives its row.
        expected_seconds: `(rows so far, run)` -> how long it will take.
        kind: of the rows, a dataclass with a `key` and a `line`.
        bars: as `progress_bars` makes them, where `execute` adds bars of its own.

    Returns:
        `False` if Ctrl-C ended it.

    Raises:
        typer.Exit: with 1, after a message, if a data set, a file or a package is not there.
    """
    rows = read_rows(path, kind)
    done = {row.key for row in rows}
    missing = [run for run in runs if key(run) not in done]
    started = time.monotonic()
    with bars or progress_bars() as progress:
        console = progress.console
        bar = progress.add_task("", total=len(runs), completed=len(runs) - len(missing))
        for run in missing:
            left = float("inf") if minutes is None else 60 * minutes + started - time.monotonic()
            if expected_seconds(rows, run) > left:
                console.print("The next run would not fit the time. Run again to go on.")
                break
            name = " ".join(map(str, key(run)))
            progress.update(bar, description=name)
            try:
                row = execute(run)
            except KeyboardInterrupt:
                console.print(f"Interrupted; {path} keeps what was done.", soft_wrap=True)
                return False
            except (ValueError, OSError, ImportError) as error:
                # A data set, a file or a package that is not there; the message says what to do.
                console.print(f"Error in {name}: {error}", soft_wrap=True, markup=False)
                raise typer.Exit(1) from error
            append_row(path, row)
            rows.append(row)
            progress.advance(bar)
            console.print(row.line, soft_wrap=True)
    return True


def progress_bars() -> Progress:
    """Bars on stderr: what is done, how much of it, for how long."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


def names_by_commas(given: str, known: Iterable[str] | None, option: str) -> list[str]:
    """The names of an option.

    Args:
        given: names by commas; empty for all known ones.
        known: the names that there are, or `None` for whole numbers.
        option: for the error.

    Returns:
        The names, in the order given.

    Raises:
        typer.BadParameter: for a name that there is not.
    """
    names = [name.strip() for name in given.split(",") if name.strip()]
    if known is None:
        wrong, expected = [name for name in names if not name.isdigit()], "whole numbers"
    else:
        every = list(known)
        names = names or every
        wrong, expected = [name for name in names if name not in every], ", ".join(every)
    if wrong:
        raise typer.BadParameter(
            f"Expected {expected}. Received: {', '.join(wrong)}.", param_hint=option
        )
    return names
