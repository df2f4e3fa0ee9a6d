"""What a command says: data on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# A pipe has no width: wide enough that no cell is ever cut.
_PIPE_WIDTH = 200


class Talk:
    """Progress bars and notes on stderr.

    Args:
        quiet: say nothing at all.

    Example:
    ```python
    from keras_reprogram.command_line.console import Talk

    talk = Talk(quiet=False)
    talk.note("Reading the images.")
    with talk.bar("asking the source", total=3) as advance:
        for _ in range(3):
            advance(1)
    ```
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Writes a line.

        Args:
            text: shown as it is.
        """
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows a progress bar while the block runs.

        Args:
            description: what is being done.
            total: steps until it is done.

        Yields:
            A function that takes the number of steps done since its last call.
        """
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        console = Console(stderr=True)
        # Left alone, rich would send to stderr what a command prints on stdout meanwhile.
        with Progress(
            *columns, console=console, redirect_stdout=False, disable=self.quiet
        ) as progress:
            task = progress.add_task(description, total=total)
            yield lambda steps: progress.advance(task, steps)

    def slices(self, description: str, total: int, size: int) -> Iterator[slice]:
        """Slices of `range(total)` in order, with a bar that counts them.

        Args:
            description: what is being done.
            total: rows in all.
            size: rows a slice.

        Yields:
            Slices of at most `size` rows.
        """
        with self.bar(description, total) as advance:
            for start in range(0, total, size):
                rows = slice(start, min(start + size, total))
                yield rows
                advance(rows.stop - rows.start)


def print_table(table: Table) -> None:
    """Prints a table on stdout, whole even where stdout is a pipe.

    Args:
        table: any rich table.

    Example:
    ```python
    from rich.table import Table
    from keras_reprogram.command_line.console import print_table

    print_table(Table("name", "value", title="facts"))
    ```
    """
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width).print(table)


def facts_table(title: str, facts: dict[str, Any]) -> Table:
    """A table of names and values.

    Args:
        title: above the table.
        facts: shown in their order; `None` as "-".

    Returns:
        A table for `print_table`.

    Example:
    ```python
    from keras_reprogram.command_line.console import facts_table, print_table

    print_table(facts_table("source", {"labels": 43}))
    ```
    """
    table = Table(title=Text(title), show_header=False)
    for name, value in facts.items():
        shown = f"{value:,}" if type(value) is int else "-" if value is None else str(value)
        table.add_row(Text(name), Text(shown))
    return table


@contextlib.contextmanager
def stdout_is_for_data() -> Iterator[None]:
    """Sends to stderr what libraries print inside, such as Keras's downloads.

    Example:
    ```python
    from keras_reprogram.command_line.console import stdout_is_for_data

    with stdout_is_for_data():
        print("this goes to stderr")
    ```
    """
    with contextlib.redirect_stdout(sys.stderr):
        yield
