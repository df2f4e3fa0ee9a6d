"""Groups of image files, such as patients, from a table beside a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_reprogram.datasets.image_table import ImageTable, read_table


def groups_of_files(table: Path, folder: Path, paths: Sequence[Path]) -> list[str]:
    """The group of each file; a `ValueError` names a file that the table lacks."""
    rows = read_table(table, {})
    named, groups = rows.column("path", required=True), rows.column("group", required=True)
    known: dict[Path, str] = {}
    for number, (path, group) in enumerate(zip(named, groups, strict=True)):
        if not group:
            raise rows.error(number, "a group", "an empty cell", "Fill it, or remove the row.")
        place = (folder / path).resolve()
        if known.setdefault(place, group) != group:
            what = f"{path} in the groups {known[place]} and {group}"
            raise rows.error(number, "one group an image", what, "Remove one of the rows.")
    missing = [path for path in paths if path.resolve() not in known]
    if missing:
        raise ValueError(_missing(rows, folder, missing, len(paths)))
    return [known[path.resolve()] for path in paths]


def _missing(rows: ImageTable, folder: Path, missing: Sequence[Path], count: int) -> str:
    wanted = missing[0].relative_to(folder)
    return (
        f"Expected {rows.name} to name the group of every image in {folder}. Received: none for "
        f"{len(missing):,} of {count:,}, such as {wanted}. Add a row for each of them; paths "
        f"start from {folder}."
    )
