"""Loads a MedMNIST archive (.npz) as a target."""

from __future__ import annotations

import ast
import importlib.util
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.datasets.original_files import npz_arrays
from keras_reprogram.datasets.target_data import Draw, TargetData, draw_part, drawn_notes

PARTS = ("train", "val", "test")
# `pathmnist_224.npz` holds the images of `pathmnist.npz` in another size.
_SIZE = re.compile(r"_(\d+)$")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError)


def load_medmnist(file: str | Path, *, draw: Draw | None = None) -> TargetData:
    """Loads an archive of MedMNIST, of any size: `pathmnist.npz`, `chestmnist_224.npz`.

    The archive holds `train_images`, `val_images`, `test_images`, uint8 `(n, side, side)` or
    `(n, side, side, 3)`, and labels: `(n, 1)` are classes, `(n, findings)` of 0 and 1 (ChestMNIST)
    are findings. The images of `val` are held out to choose by. Class names are those of the
    package `medmnist` where it is installed (it is not imported), else numbers. The file is one of
    https://zenodo.org/records/10519652 (Yang et al., MedMNIST v2, Scientific Data 10, 2023).

    Args:
        file: The .npz file.
        draw: How many images are wanted, training and validation images counted together. The
            archive is read through, and only these images are kept in memory.

    Returns:
        A `TargetData`.

    Raises:
        ValueError: If the file is missing or damaged, lacks an array, or holds volumes.

    Example:
        ```python
        import pathlib, tempfile
        import numpy as np
        from keras_reprogram.datasets import load_medmnist

        arrays = {}
        for part in ("train", "val", "test"):  # the layout of the files on Zenodo
            arrays[f"{part}_images"] = np.full((6, 28, 28), 90, "uint8")
            arrays[f"{part}_labels"] = (np.arange(6) % 2)[:, None].astype("uint8")
        path = pathlib.Path(tempfile.mkdtemp(), "pneumoniamnist.npz")
        np.savez_compressed(path, **arrays)
        target = load_medmnist(path)
        print(target.target_shape, int(target.validation_rows.sum()))  # (28, 28, 1) 6
        ```
    """
    path = Path(file).expanduser()
    labels = _labels(path)
    shapes = {part: _checked_shape(path, part, len(labels[part])) for part in PARTS}
    train = np.concatenate([labels["train"], labels["val"]])
    kept = {"train": np.arange(len(train)), "test": np.arange(len(labels["test"]))}
    notes: tuple[str, ...] = ()
    if draw is not None:
        kept["train"] = draw_part(path.name, "training", train, draw.train_images, draw.seed)
        kept["test"] = draw_part(path.name, "test", labels["test"], draw.test_images, draw.seed)
        notes = drawn_notes("training", kept["train"], train, draw.seed)
        notes += drawn_notes("test", kept["test"], labels["test"], draw.seed)
    num_train = shapes["train"][0]
    held = kept["train"] >= num_train
    images = [
        _rows(path, "train_images", kept["train"][~held]),
        _rows(path, "val_images", kept["train"][held] - num_train),
    ]
    return TargetData(
        path.stem,
        np.concatenate(images),
        train[kept["train"]],
        _rows(path, "test_images", kept["test"]),
        labels["test"][kept["test"]],
        class_names=_class_names(path.stem, train, labels["test"]),
        origin=f"{sum(shape[0] for shape in shapes.values()):,} images in {path}.",
        notes=notes,
        validation_rows=held if held.any() and not held.all() else None,
    )


def _labels(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(
            f"Expected an archive of MedMNIST. Received: {path}, no such file. Check the path, or "
            "fetch it from https://zenodo.org/records/10519652."
        )
    arrays = npz_arrays(path, [f"{part}_labels" for part in PARTS])
    found: dict[str, np.ndarray] = {}
    for part in PARTS:
        labels = arrays[f"{part}_labels"]
        if labels.ndim not in (1, 2) or labels.dtype.kind not in "iub" or not len(labels):
            raise ValueError(
                f"Expected `{part}_labels` of {path} to be integers (n, 1) or (n, findings). "
                f"Received: {labels.dtype} of shape {labels.shape}."
            )
        is_one = labels.ndim == 2 and labels.shape[1] == 1
        found[part] = (labels[:, 0] if is_one else labels).astype(np.int64)
    return found


def _checked_shape(path: Path, part: str, count: int) -> tuple[int, ...]:
    with _array(path, f"{part}_images") as (_, shape, dtype):
        pass
    if len(shape) == 4 and shape[-1] not in (1, 3):
        raise ValueError(
            f"Expected `{part}_images` of {path} to be pictures (n, height, width) or (n, height, "
            f"width, 3). Received: volumes, shape {shape}. Reprogram slices: save the middle one "
            "of each, `images[:, :, :, images.shape[3] // 2]`, as an archive of its own."
        )
    if len(shape) not in (3, 4) or dtype != np.uint8 or shape[0] != count:
        raise ValueError(
            f"Expected `{part}_images` of {path} to be uint8 (n, height, width) or (n, height, "
            f"width, 3), n = {count:,} as in `{part}_labels`. Received: {dtype} of shape {shape}."
        )
    return shape


@contextmanager
def _array(path: Path, name: str) -> Iterator[tuple[Any, tuple[int, ...], np.dtype]]:
    """The open file of an array, past its header, with its shape and type."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            header = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
            shape, in_columns, dtype = getattr(np.lib.format, header)(file)
            if in_columns:
                raise ValueError(f"{name} is stored by columns; save it with `np.savez`")
            yield file, shape, dtype
    except _BROKEN as error:
        raise ValueError(
            f"Expected {path} to be a complete archive with {name}. Received: {error}. Fetch it "
            "again."
        ) from error


def _rows(path: Path, name: str, rows: np.ndarray) -> np.ndarray:
    """Some images `(n, h, w, c)` of an array, which is read through once and not kept."""
    with _array(path, name) as (file, shape, _):
        size = math.prod(shape[1:])
        images = np.empty((len(rows), size), np.uint8)
        wanted = {int(row): place for place, row in enumerate(rows)}
        for row in range(max(wanted, default=-1) + 1):
            content = file.read(size)
            if len(content) < size:
                raise ValueError(f"{name} ends in image {row}")
            if row in wanted:
                images[wanted[row]] = np.frombuffer(content, np.uint8)
    return images.reshape(len(rows), *shape[1:3], -1) if len(rows) else _none(shape)


def _none(shape: tuple[int, ...]) -> np.ndarray:
    return np.empty((0, *shape[1:3], 1 if len(shape) == 3 else shape[3]), np.uint8)


def _class_names(name: str, train: np.ndarray, test: np.ndarray) -> tuple[str, ...]:
    count = train.shape[1] if train.ndim == 2 else int(max(train.max(), test.max())) + 1
    official = official_class_names(_SIZE.sub("", name))
    return official if len(official) == count else tuple(map(str, range(count)))


def official_class_names(flag: str) -> tuple[str, ...]:
    """The names in the installed package `medmnist`; none where it does not know the set."""
    # Its import would need torch and make a folder in the user's home: its table is read as text.
    spec = importlib.util.find_spec("medmnist")
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        table = Path(folder, "info.py")
        if not table.is_file():
            continue
        for node in ast.parse(table.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INFO":
                labels = ast.literal_eval(node.value).get(flag, {}).get("label", {})
                return tuple(labels[key] for key in sorted(labels, key=int))
    return ()
