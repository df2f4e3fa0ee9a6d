"""Loads a manifest, a table with one image file a row, as a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.datasets.image_table import (
    GROUP,
    LABEL,
    PATH,
    ROLES,
    SPLIT,
    TEXT,
    WEIGHT,
    Columns,
    ImageTable,
    read_table,
)
from keras_reprogram.datasets.listed_images import ListedImages
from keras_reprogram.datasets.parts import Part
from keras_reprogram.datasets.target_data import Draw, TargetData

_PARTS = {
    **{name: Part.TRAIN for name in ("train", "training")},
    **{name: Part.VALIDATION for name in ("validation", "val", "valid", "dev")},
    **{name: Part.TEST for name in ("test", "testing")},
}
_ZERO_ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def load_manifest(
    table: Any,
    *,
    folder: str | Path | None = None,
    columns: Columns | None = None,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    target_range: tuple[float, float] | None = None,
    draw: Draw | None = None,
    fit: str = "stretch",
    reading: ImageReading | None = None,
) -> TargetData:
    r"""Loads a table of image files: a row an image, with columns for what is known of it.

    The columns are `path`, `label` and, if they are there, `group`, `split` and `weight`. A column
    `label` names one class an image. Without it every column without another meaning is a finding
    of 0 and 1, and the target's labels are rows of them, `(n, findings)`. `split` is train,
    validation or test; without test rows 20 % of the training rows are split off. Images of one
    group (a patient's) stay in one part. `weight` is the `sample_weight` of a row.

    Args:
        table: A .csv, .tsv or .parquet file (the latter needs the extra `parquet`), or a pandas
            DataFrame.
        folder: What relative paths start from; by default the table's folder, for a DataFrame the
            current one.
        columns: Headers by their meaning, where they are called otherwise:
            `{"path": "Image Index", "group": "Patient ID", "label": ["Mass", "Nodule"]}`.
        image_size: As `load_image_folder` takes it.
        seed: Decides the split where there are no test rows.
        target_range: As `load_image_folder` takes it.
        draw: How many images are wanted; only these files are opened.
        fit: As `load_image_folder` takes it.
        reading: As `load_image_folder` takes it.

    Returns:
        A `TargetData`; class names are sorted, numbers by their value.

    Raises:
        ValueError: Before an image is opened, for missing columns, empty cells, missing files,
            files that are named twice, labels that are no classes, and groups in two parts; then
            for images that cannot be read.
        ImportError: For Parquet without pyarrow.

    Example:
        ```python
        import pathlib, tempfile
        from PIL import Image
        from keras_reprogram.datasets import load_manifest

        folder = pathlib.Path(tempfile.mkdtemp())
        rows = ["path,label,group"]
        for number in range(20):
            Image.new("L", (8, 8), 10 * number).save(folder / f"{number}.png")
            rows.append(f"{number}.png,{('cat', 'dog')[number % 2]},owner {number // 4}")
        (folder / "pets.csv").write_text("\n".join(rows))
        target = load_manifest(folder / "pets.csv")
        print(target.class_names, target.train_groups)  # ('cat', 'dog') [0 0 0 0 ...
        ```
    """
    rows = read_table(table, columns or {})
    start = Path(folder).expanduser() if folder is not None else _folder_of(table)
    listed = list_manifest(rows, start)
    return listed.read(
        image_size=image_size,
        seed=seed,
        target_range=target_range,
        draw=draw,
        fit=fit,
        reading=reading,
    )


def _folder_of(table: Any) -> Path:
    return Path(table).expanduser().parent if isinstance(table, str | Path) else Path()


def list_manifest(rows: ImageTable, folder: Path) -> ListedImages:
    """The files of a table with what it says of them; all must exist, none is opened."""
    paths = _paths(rows, folder)
    labels, class_names, notes = _labels(rows)
    name = Path(rows.name).stem if Path(rows.name).suffix else "table"
    return ListedImages(
        name,
        paths,
        labels,
        class_names,
        origin=f"{len(paths):,} image files in the table {rows.name}.",
        parts=parts_of(rows),
        groups=groups_of(rows),
        weight=weights_of(rows),
        notes=notes,
        unit="rows",
    )


def _paths(rows: ImageTable, folder: Path) -> tuple[Path, ...]:
    seen: dict[Path, int] = {}
    missing: list[Path] = []
    for number, text in enumerate(rows.column(PATH, required=True)):
        if not text:
            raise rows.error(number, "a path", "an empty cell", "Fill it, or remove the row.")
        path = folder / Path(text).expanduser()
        if path in seen:
            what = f"{text}, which is row {seen[path] + 1} too"
            raise rows.error(number, "another file", what, "Write one row an image.")
        seen[path] = number
        if not path.is_file():
            missing.append(path)
    if missing:
        raise ValueError(
            f"Expected the {len(seen):,} files that {rows.name} names. Received: {len(missing):,} "
            f"that do not exist, such as {missing[0]}. Relative paths start from the folder "
            f"{folder}; correct them, or remove the rows."
        )
    return tuple(seen)


def _labels(rows: ImageTable) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    headers = rows.headers(LABEL)
    others = other_headers(rows, TEXT)
    if len(headers) == 1:
        labels, names = classes_of(rows, headers[0])
        return labels, names, unused_note(others)
    return _findings(rows, headers or others), headers or others, ()


def other_headers(rows: ImageTable, foreign_role: str) -> tuple[str, ...]:
    """Headers without a meaning, where one of the roles is none of this kind of table."""
    roles = (role for role in ROLES if role != foreign_role)
    taken = {header for role in roles for header in rows.headers(role)}
    return tuple(header for header in rows.cells if header not in taken)


def unused_note(others: tuple[str, ...]) -> tuple[str, ...]:
    """Says which columns were not used, if there are any."""
    return (f"Columns that were not used: {', '.join(others)}.",) if others else ()


def classes_of(rows: ImageTable, header: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integer labels `(n,)` of a column, and the names of its classes, sorted."""
    cells = rows.cells[header]
    for number, cell in enumerate(cells):
        if not cell:
            raise rows.error(number, "a label", "an empty cell", "Fill it, or remove the row.")
    kinds = set(cells)
    numbers = all(kind.lstrip("-").isdecimal() for kind in kinds)
    names = sorted(kinds, key=int) if numbers else sorted(kinds)
    if len(names) < 2:
        raise ValueError(
            f"Expected two or more classes in the column {header!r} of {rows.name}. Received: "
            f"{names[0]!r} in every row. Add rows of another class."
        )
    if len(names) == len(cells) > 10:
        raise ValueError(
            f"Expected classes in the column {header!r} of {rows.name}. Received: {len(names):,} "
            "different labels in as many rows. Say which column holds them: --column label=NAME."
        )
    positions = {name: position for position, name in enumerate(names)}
    return np.array([positions[cell] for cell in cells], np.int64), tuple(names)


def _findings(rows: ImageTable, headers: tuple[str, ...]) -> np.ndarray:
    advice = (
        "Name the class of each image in a column `label`, or the columns of findings: --column "
        "label=NAME for each of them."
    )
    if len(headers) < 2:
        raise ValueError(
            f"Expected {rows.name} to have a column 'label', or two or more columns of findings. "
            f"Received: {', '.join(rows.cells)}. {advice}"
        )
    table = np.empty((len(rows), len(headers)), np.int64)
    for column, header in enumerate(headers):
        for number, cell in enumerate(rows.cells[header]):
            value = _ZERO_ONE.get(cell.lower())
            if value is None:
                what = f"{cell!r} in the column {header!r}"
                raise rows.error(number, "0 or 1 for each finding", what, advice)
            table[number, column] = value
    return table


def groups_of(rows: ImageTable) -> np.ndarray | None:
    """The column `group`, or `None`."""
    groups = rows.column(GROUP)
    for number, group in enumerate(groups):
        if not group:
            raise rows.error(number, "a group", "an empty cell", "Give each such row its own.")
    return np.array(groups) if groups else None


def parts_of(rows: ImageTable) -> tuple[Part, ...] | None:
    """The column `split`, or `None`."""
    cells = rows.column(SPLIT)
    for number, cell in enumerate(cells):
        if cell.lower() not in _PARTS:
            expected = "train, validation or test"
            raise rows.error(number, expected, repr(cell), "Correct the column `split`.")
    parts = tuple(_PARTS[cell.lower()] for cell in cells)
    if parts and Part.TRAIN not in parts:
        raise ValueError(
            f"Expected rows of {rows.name} whose split is train. Received: "
            f"{', '.join(sorted(set(cells)))}. Correct the column `split`."
        )
    return parts or None


def weights_of(rows: ImageTable) -> np.ndarray | None:
    """The column `weight`, or `None`."""
    cells = rows.column(WEIGHT)
    weights = np.empty(len(cells), np.float64)
    for number, cell in enumerate(cells):
        try:
            weights[number] = float(cell)
        except ValueError:
            weights[number] = np.nan
        if not np.isfinite(weights[number]) or weights[number] < 0:
            raise rows.error(number, "a weight of 0 or more", repr(cell), "Correct it.")
    return weights if len(cells) else None
