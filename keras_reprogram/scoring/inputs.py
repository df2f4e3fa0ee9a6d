"""Lists images in files, TFRecords and Parquet tables, and cuts the list into shards."""

from __future__ import annotations

import glob
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from keras_reprogram.datasets.image_files import is_image_file
from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.scoring.choices import DEFAULT_COLUMN, DEFAULT_FEATURE, DEFAULT_SHARD_SIZE


class NamedImage(NamedTuple):
    """An image file's content under its name in the output.

    Args:
        name: its path, or `FILE#N` for a record or a row, counted from 0.
        content: the encoded image.
        reason: why it could not be read; empty for one that was.
    """

    name: str
    content: bytes
    reason: str = ""


@dataclass(frozen=True)
class ImageFiles:
    """Image files of one shard."""

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self) -> Iterator[NamedImage]:
        """The files; one that cannot be read has a reason."""
        return (_read_file(path, path) for path in self.paths)


@dataclass(frozen=True)
class RecordRange:
    """Records of one TFRecord file that stand one after the other."""

    path: str
    first: int
    offset: int
    count: int
    feature: str

    def __len__(self) -> int:
        return self.count

    def read(self) -> Iterator[NamedImage]:
        """The image in a feature of each record."""
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            for number in range(self.first, self.first + self.count):
                (length,) = _LENGTH.unpack(file.read(_HEAD)[: _LENGTH.size])
                record = file.read(length)
                file.read(_TAIL)
                yield _image_of_record(record, f"{self.path}#{number}", self.feature)


@dataclass(frozen=True)
class RowRange:
    """Rows of one Parquet file that stand one after the other."""

    path: str
    first: int
    count: int
    column: str

    def __len__(self) -> int:
        return self.count

    def read(self) -> Iterator[NamedImage]:
        """The image in a column of each row: its bytes, or a path seen from the table's folder."""
        with _parquet_file(self.path) as table:
            start, groups = 0, []
            skipped = 0
            for group in range(table.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                if start + rows <= self.first:
                    skipped = start + rows
                elif start < self.first + self.count:
                    groups.append(group)
                start += rows
            batches = table.iter_batches(_ROWS_READ, row_groups=groups, columns=[self.column])
            values = (value for batch in batches for value in batch.column(0).to_pylist())
            for row, value in enumerate(values, skipped):
                if self.first <= row < self.first + self.count:
                    yield _image_of_cell(value, f"{self.path}#{row}", Path(self.path).parent)
                elif row >= self.first + self.count:
                    return


class Shard(NamedTuple):
    """A part of the images, with its number."""

    number: int
    part: ImageFiles | RecordRange | RowRange


@dataclass(frozen=True)
class Listing:
    """All images, cut into shards in an order that depends on their names only.

    Args:
        kind: what holds the images.
        shards: one after the other.
        digest: of names, sizes, and where the shards are cut.
    """

    kind: InputKind
    shards: tuple[Shard, ...]
    digest: str

    @property
    def num_images(self) -> int:
        """Images in all shards."""
        return sum(len(shard.part) for shard in self.shards)


class InputKind(StrEnum):
    """What holds the images."""

    IMAGES = "images"
    TFRECORD = "tfrecord"
    PARQUET = "parquet"


def list_images(
    inputs: Sequence[str | Path],
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    feature: str = DEFAULT_FEATURE,
    column: str = DEFAULT_COLUMN,
) -> Listing:
    """Lists files, folders and globs; all must hold images in one way."""
    if shard_size < 1:
        raise ValueError(f"`shard_size` must be at least 1. Received: {shard_size}.")
    files = sorted({os.path.normpath(file) for text in inputs for file in _files(str(text))})
    kinds = sorted({_kind(file) for file in files})
    if not files:
        shown = ", ".join(map(str, inputs)) or "nothing"
        raise ValueError(
            f"Expected image files, TFRecords or Parquet files. Received: no images in {shown}. "
            "Check the path; quote a glob, and write ** for folders at any depth."
        )
    if len(kinds) > 1:
        raise ValueError(
            "Expected one kind of input: image files, TFRecords or Parquet files. "
            f"Received: {' and '.join(kinds)}. Score each with an output of its own."
        )
    kind = InputKind(kinds[0])
    digest = hashlib.sha256(f"{kind} {feature} {column} {shard_size}\n".encode())
    for file in files:
        digest.update(f"{file}\0{Path(file).stat().st_size}\n".encode(errors="surrogateescape"))
    parts: Iterable[Any]
    if kind == InputKind.IMAGES:
        starts = range(0, len(files), shard_size)
        parts = (ImageFiles(tuple(files[start : start + shard_size])) for start in starts)
    elif kind == InputKind.TFRECORD:
        parts = (part for file in files for part in _record_ranges(file, shard_size, feature))
    else:
        parts = (part for file in files for part in _row_ranges(file, shard_size, column))
    shards = tuple(Shard(number, part) for number, part in enumerate(parts))
    listing = Listing(kind, shards, digest.hexdigest())
    if not listing.num_images:
        raise ValueError(
            f"Expected images. Received: {len(files)} {kind} files without a record. Check them."
        )
    return listing


def _files(text: str) -> Iterator[str]:
    path = Path(text).expanduser()
    if path.is_dir():
        yield from _files_below(path)
    elif path.exists():
        yield str(path)
    elif glob.has_magic(text):
        # `Path.glob` takes no absolute pattern.
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207
        yield from (name for name in found if Path(name).is_file())
    else:
        raise FileNotFoundError(f"There is no image {text}. Check the path.")


def _files_below(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = str(Path(parent, name))
            if name.startswith("."):
                continue
            if _kind(path) != InputKind.IMAGES or is_image_file(Path(path)):
                yield path


def _kind(file: str) -> InputKind:
    name = Path(file).name.lower()
    if name.endswith(".parquet"):
        return InputKind.PARQUET
    # TensorFlow Datasets writes `name-train.tfrecord-00000-of-00004`.
    return InputKind.TFRECORD if ".tfrecord" in name else InputKind.IMAGES


def _read_file(path: str, name: str) -> NamedImage:
    try:
        return NamedImage(name, Path(path).read_bytes())
    except OSError as error:
        return NamedImage(name, b"", f"{error.strerror or error}: {path}")


# A record is its length, the length's checksum, the content, and the content's checksum.
_LENGTH = struct.Struct("<Q")
_HEAD, _TAIL = 12, 4
_GZIP_START = b"\x1f\x8b"


def _record_ranges(path: str, shard_size: int, feature: str) -> Iterator[RecordRange]:
    starts, count = [], 0
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        place = 0
        while place < size:
            head = file.read(_HEAD)
            length = _LENGTH.unpack(head[: _LENGTH.size])[0] if len(head) == _HEAD else size
            if count % shard_size == 0:
                starts.append(place)
            place += _HEAD + length + _TAIL
            if place > size:
                raise ValueError(_no_records(path, head, count))
            file.seek(place)
            count += 1
    for number, start in enumerate(starts):
        first = number * shard_size
        yield RecordRange(path, first, start, min(shard_size, count - first), feature)


def _no_records(path: str, head: bytes, count: int) -> str:
    if not count and head.startswith(_GZIP_START):
        return (
            f"Expected {path} to be a TFRecord file without compression. Received: one of gzip. "
            "Unpack it with gunzip."
        )
    return (
        f"Expected {path} to be a whole TFRecord file. Received: a file that ends inside of what "
        f"should be record {count}. Copy it again."
    )


def _image_of_record(record: bytes, name: str, feature: str) -> NamedImage:
    # TensorFlow takes seconds to import.
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return NamedImage(name, b"", "the record is no tf.Example")
    values = list(features[feature].bytes_list.value) if feature in features else []
    if len(values) != 1:
        there = ", ".join(sorted(features)[:20]) or "none"
        return NamedImage(name, b"", f"no bytes in the feature {feature}; its features: {there}")
    return NamedImage(name, values[0])


_ROWS_READ = 256


def _parquet_file(path: str) -> Any:
    with needs_extra("pyarrow", "parquet"):
        import pyarrow
        from pyarrow.parquet import ParquetFile
    try:
        return ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"Expected {path} to be a Parquet file. Received: {error}. Write it again."
        ) from error


def _row_ranges(path: str, shard_size: int, column: str) -> Iterator[RowRange]:
    with _parquet_file(path) as table:
        names, rows = table.schema_arrow.names, table.metadata.num_rows
    if column not in names:
        raise ValueError(
            f"{path} must have a column of encoded images, or of their paths. Received: no column "
            f"{column!r}. Its columns are {', '.join(names)}: name one (--column)."
        )
    for first in range(0, rows, shard_size):
        yield RowRange(path, first, min(shard_size, rows - first), column)


def _image_of_cell(value: Any, name: str, folder: Path) -> NamedImage:
    if isinstance(value, dict):
        # Hugging Face's image columns hold both.
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return NamedImage(name, value)
    if isinstance(value, str):
        return _read_file(str(folder / value), name)
    return NamedImage(name, b"", f"no bytes and no path: {type(value).__name__}")


def batches(images: Iterator[NamedImage], size: int) -> Iterator[list[NamedImage]]:
    """Lists of at most `size` images; the next one is read while the caller works on one."""
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(lambda: list(islice(images, size)))
        while batch := waiting.result():
            waiting = reader.submit(lambda: list(islice(images, size)))
            yield batch
