"""Figures in a JSON file: `--json`, and `run.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keras_reprogram.whole_file import write_whole_file


def write_json(path: Path, content: Any) -> None:
    """Writes figures, whole or not at all.

    Args:
        path: its folder exists; an older file is replaced.
        content: plain values, no NaN.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole_file(path, f"{text}\n".encode())


def check_json_path(path: Path | None) -> None:
    """Refuses a path for figures that cannot be written, before anything is measured.

    Args:
        path: what `--json` named, or `None`.

    Raises:
        ValueError: if it is a folder, or its folder does not exist.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ValueError(
            "--json must be a file in a folder that exists. "
            f"Received: {path}. Make the folder, or choose another file."
        )
