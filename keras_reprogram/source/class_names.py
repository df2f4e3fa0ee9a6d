"""read_class_names: the names of a classifier's scores, from the text file beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_NUMBERED = re.compile(r"(\d+)\s+(\S.*)")


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Reads a text file of one name a line, in the order of the scores.

    Args:
        path: the file, UTF-8. If every line begins with its number from 0 (`0 cat`, `1 dog`, as
            Teachable Machine writes `labels.txt`), the numbers are left out.

    Returns:
        The names.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is no text, or holds no names.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of class names at {path}. Check the path.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a text file of class names, one a line. Received: a file that is not "
            f"UTF-8 ({error}). Save it as UTF-8."
        ) from error
    names = names_of_lines(lines)
    if not names:
        raise ValueError(
            f"{path} must hold class names, one a line. Received: an empty file. Write the names "
            "in the order of the scores."
        )
    return names


def names_of_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The names that lines hold, without numbers that only count the lines."""
    names = [line.strip() for line in lines if line.strip()]
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    if all(match and int(match[1]) == row for row, match in enumerate(numbered)):
        names = [match[2] for match in numbered if match]
    return tuple(names)
