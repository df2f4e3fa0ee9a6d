"""Texts of a page that may be passed on: names of files, but not where they lie."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

# An absolute path up to its last part; what begins behind a word is a fraction or an address.
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])+(?=[^\s/\\'\"])")


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
        # The root alone would take every slash.
        if len(Path(path).parts) > 1:
            value = value.replace(path, Path(path).name)
    for folder in (Path.cwd(), Path.home()):
        value = value.replace(f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", value)
