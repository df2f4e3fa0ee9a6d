"""Folders that a command writes into: `--output`."""

from __future__ import annotations

from pathlib import Path


def check_folder(path: Path) -> None:
    """Refuses a folder that cannot be made, before anything is computed for it.

    Args:
        path: what `--output` named; it may exist or not.

    Raises:
        ValueError: if it, or a folder above it, is a file.

    Example:
    ```python
    from pathlib import Path
    from keras_reprogram.command_line.folder_option import check_folder

    check_folder(Path("runs/of/today"))
    ```
    """
    path = path.expanduser()
    for one in (path, *path.parents):
        if one.exists():
            if not one.is_dir():
                where = "a file" if one == path else f"inside {one}, which is a file"
                raise ValueError(
                    f"--output must be a folder. Received: {path}, {where}. Choose another."
                )
            return
