"""The file of labels that becomes an asset of a SavedModel."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def labels_file(class_names: Sequence[str]) -> Iterator[Path]:
    """A labels.txt for the length of a block: TensorFlow copies it and keeps its name.

    Args:
        class_names: a line each.

    Yields:
        Its path.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.txt"
        file.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        yield file
