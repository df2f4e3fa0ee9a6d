"""LiteRTMetadata: what a `.tflite` file says of its pixels and scores (TFLITE_METADATA)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from flatbuffers.table import Table

from keras_reprogram.source.class_names import names_of_lines

# Fields and kinds of TensorFlow Lite's metadata schema (metadata_schema.fbs), by position.
_SUBGRAPHS = 3
_INPUTS, _OUTPUTS = 2, 3
_PROCESS_UNITS, _FILES = 4, 6
_UNIT_KIND, _UNIT = 0, 1
_MEAN, _STD = 0, 1
_FILE_NAME, _FILE_KIND = 0, 2
_NORMALIZATION, _AXIS_LABELS = 1, 2


@dataclass(frozen=True)
class LiteRTMetadata:
    """What a file says of itself; empty where it says nothing.

    Args:
        mean: subtracted from pixels of 0 to 255, one number or one a channel.
        std: what they are divided by afterwards, likewise.
        class_names: names of the scores.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def preprocessing(self) -> tuple[Any, Any] | None:
        """`(scale, offset)` for pixels of 0 to 255, or `None` if nothing is said."""
        if not self.mean or len(self.mean) != len(self.std) or not all(self.std):
            return None
        scale = tuple(1 / std for std in self.std)
        offset = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return (scale, offset) if len(scale) > 1 else (scale[0], offset[0])


def read_litert_metadata(path: Path) -> LiteRTMetadata:
    """Reads the metadata of a `.tflite` file that an interpreter has opened."""
    content = path.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    entries = (model.Metadata(number) for number in range(model.MetadataLength()))
    places = [entry.Buffer() for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    if not places:
        return LiteRTMetadata()
    said = model.Buffers(places[0]).DataAsNumpy().tobytes()
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, said, 0)
    subgraphs = list(_tables(Table(said, root), _SUBGRAPHS))
    if not subgraphs:
        return LiteRTMetadata()
    inputs = list(_tables(subgraphs[0], _INPUTS))
    outputs = list(_tables(subgraphs[0], _OUTPUTS))
    mean, std = _normalisation(inputs[0]) if len(inputs) == 1 else ((), ())
    names = _names_of(outputs[0], content) if len(outputs) == 1 else ()
    return LiteRTMetadata(mean, std, names)


def _normalisation(tensor: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in _tables(tensor, _PROCESS_UNITS):
        if _number(unit, _UNIT_KIND) == _NORMALIZATION and (place := _place(unit, _UNIT)):
            options = Table(unit.Bytes, place + unit.Get(number_types.UOffsetTFlags, place))
            return _floats(options, _MEAN), _floats(options, _STD)
    return (), ()


def _names_of(tensor: Table, content: bytes) -> tuple[str, ...]:
    """The lines of the file of labels, which is packed behind the network as a zip."""
    for file in _tables(tensor, _FILES):
        place = _place(file, _FILE_NAME)
        if _number(file, _FILE_KIND) != _AXIS_LABELS or not place:
            continue
        name = file.String(place).decode()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if name in archive.namelist():
                return names_of_lines(archive.read(name).decode("utf-8-sig").splitlines())
    return ()


def _place(table: Table, field: int) -> int:
    """Where a field is; 0 if it was left out."""
    offset = table.Offset(4 + 2 * field)
    return table.Pos + offset if offset else 0


def _number(table: Table, field: int) -> int:
    place = _place(table, field)
    return int(table.Get(number_types.Uint8Flags, place)) if place else 0


def _floats(table: Table, field: int) -> tuple[float, ...]:
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return ()
    start, count = table.Vector(offset), table.VectorLen(offset)
    return tuple(
        float(table.Get(number_types.Float32Flags, start + 4 * number)) for number in range(count)
    )


def _tables(table: Table, field: int) -> Iterator[Table]:
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return
    start = table.Vector(offset)
    for number in range(table.VectorLen(offset)):
        yield Table(table.Bytes, table.Indirect(start + 4 * number))
