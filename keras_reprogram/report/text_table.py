"""A table of words."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """Headings and rows of plain text.

    Args:
        heads: One heading a column.
        rows: Rows of as many cells.

    Raises:
        ValueError: If a row has more or fewer cells than there are headings.

    Example:
        ```python
        from keras_reprogram.report import TextTable

        table = TextTable(("class", "source labels"), (("zero", "stop, yield"),))
        assert len(table.rows) == 1
        ```
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.heads):
                raise ValueError(
                    f"Expected {len(self.heads)} cells a row, one a heading. Received: "
                    f"{len(row)} in row {number}. Fill what is missing with empty text."
                )
