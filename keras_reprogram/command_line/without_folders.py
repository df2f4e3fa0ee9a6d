"""Texts of a page that may be passed on: names of files, but not where they lie."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

# A path up to its last part. What begins behind a word is a fraction, an address, a relative path.
_PART = r"[^\s/\\'\"<>|]+"
_FOLDERS = re.compile(
    r"(?<![\w./\\)%\]>+~-])(?:"
    rf"(?:file://)?(?:~|\.\.?|[A-Za-z]:)?(?:/{_PART})*/{_PART}/(?:\.\./)*(?={_PART})"
    rf"|(?:[A-Za-z]:|\\)(?:\\{_PART})+\\(?={_PART}))"
)


def without_folders(value: Any, known: tuple[str, ...] = ()) -> Any:
    """A text without the folders of the paths in it; values in dictionaries and lists likewise.

    Args:
        value: a text, or a dictionary or list that holds texts; other things stay as they are.
        known: paths whose folders may hold spaces.

    Returns:
        The same with the last part of each path.

    Example:
    ```python
    from keras_reprogram.command_line.without_folders import without_folders

    assert without_folders("3 files in /data/of mine/signs.", ("/data/of mine/signs",)) == (
        "3 files in signs."
    )
    ```
    """
    if isinstance(value, dict):
        return {key: without_folders(part, known) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part, known) for part in value]
    if not isinstance(value, str):
        return value
    for path in known:
        value = _replaced(value, path, Path(path).name)
    for folder in _own_folders():
        value = _replaced(value, f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", value)


def _replaced(text: str, path: str, name: str) -> str:
    # The root alone would take every slash.
    if len(Path(path).parts) < 2:
        return text
    end = "" if path.endswith(os.sep) else r"(?![\w-])"
    return re.sub(rf"(?<![\w./\\-]){re.escape(path)}{end}", lambda _: name, text)


def _own_folders() -> list[Path]:
    folders = []
    for find in (Path.cwd, Path.home):
        # A folder that was removed, a user without a home.
        with contextlib.suppress(OSError, RuntimeError):
            folders.append(find())
    return folders
