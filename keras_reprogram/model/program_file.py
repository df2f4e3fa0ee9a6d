"""save_program and load_program: the trained parts, with the source's fingerprint."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.asking.strategy import is_chief
from keras_reprogram.files import write_whole_file
from keras_reprogram.fitting.calibration import Calibration, from_plain, to_plain
from keras_reprogram.fitting.weight_copy import WeightCopy, trained_variables
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source
from keras_reprogram.version import __version__

_FORMAT = 1
_SUFFIX = ".reprogram"
# In files of calibrated models; versions that know of none leave it alone.
_CALIBRATION = "calibration"
# Far more than any program; a small file of zeros may unpack to more than a machine has.
_MOST_BYTES = 4 * 2**30
# What reading a file that is damaged, or none of ours, may raise.
_UNREADABLE: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error, OSError, EOFError)
_UNREADABLE += (KeyError, ValueError, NotImplementedError, RuntimeError)
_PARTS = ("program", "output_map", "gradient_estimator")
# An opaque source may round or serve from another machine; a changed model answers elsewhere.
_PROBE_TOLERANCE = 0.05
_FIELDS = {*_PARTS, "class_names", "seed", "source", "fingerprint", "probe"}


class _UnknownFormatError(ValueError):
    """A program file of an unknown format version."""


def save_program(model: ReprogrammedModel, path: str | Path, *, overwrite: bool = False) -> Path:
    """Writes program, output map, views, ranges, names, calibration, reading: all but the source.

    The file holds the source's fingerprint, so that another source is refused on load. For a
    source that runs as Python code, which has no weights to look at, one probe image is asked
    (one query) and its answer is stored too. Of several workers (`tf.distribute`) only the chief
    writes.

    Args:
        model: a trained model.
        path: file name ending in `.reprogram`.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix.
        FileExistsError: if the file exists and `overwrite` is false.

    Example:
    ```python
    import keras
    from keras_reprogram import FrozenSource, NewHead, ProgramLayer, ReprogrammedModel
    from keras_reprogram import embedded_path, load_program, save_program

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255), output="features")
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, NewHead(num_classes=10))
    save_program(model, "digits.reprogram")
    again = load_program("digits.reprogram", source)
    ```
    """
    path = Path(path)
    if path.suffix != _SUFFIX:
        raise ValueError(f"A program file must end in `{_SUFFIX}`. Received: {path.name}.")
    if not is_chief(model.distribute_strategy):
        return path
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Pass `overwrite=True` to replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("program.json", json.dumps(_describe(model), indent=1))
        archive.writestr("weights.npz", _npz(WeightCopy(trained_variables(model)).values))
        if model.calibration is not None:
            plain, arrays = to_plain(model.calibration)
            archive.writestr(f"{_CALIBRATION}.json", json.dumps(plain, indent=1))
            archive.writestr(f"{_CALIBRATION}.npz", _npz(arrays))
    write_whole_file(path, content.getvalue())
    return path


def load_program(
    path: str | Path, source: Source, *, check_probe: bool = True
) -> ReprogrammedModel:
    """Reads a program file and joins it to its source again.

    Args:
        path: what `save_program` wrote.
        source: the same source as before.
        check_probe: for a source that runs as Python code, ask the stored probe image again
            (one query) and compare.

    Returns:
        A model that is not compiled; it predicts at once.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: for a corrupt or foreign file, or another source than the file's.

    Example:
    ```python
    from keras_reprogram import load_program

    help(load_program)
    ```
    """
    described, weights, calibration = _read(Path(path))
    _check_source(Path(path), described, source, check_probe)
    parts = {key: keras.saving.deserialize_keras_object(described[key]) for key in _PARTS}
    model = ReprogrammedModel(
        **parts,
        source=source,
        class_names=described["class_names"],
        seed=described["seed"],
    )
    variables = trained_variables(model)
    if [list(v.shape) for v in variables] != [list(w.shape) for w in weights]:
        raise ValueError(
            f"{path} is corrupt: its weights do not fit its own description. Received: shapes "
            f"{[w.shape for w in weights]}. Copy it again, or save the program anew."
        )
    for variable, weight in zip(variables, weights, strict=True):
        variable.assign(weight)
    model.calibration = calibration
    model.image_reading = ImageReading.from_facts(described.get("image_reading"))
    return model


def read_description(path: str | Path) -> dict[str, Any]:
    """The description in a program file, without its source.

    Args:
        path: what `save_program` wrote.

    Returns:
        Plain values: configs of the parts, class names, versions, facts of the source.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: for a corrupt or foreign file.

    Example:
    ```python
    from keras_reprogram import read_description

    help(read_description)
    ```
    """
    return _read(Path(path))[0]


def _describe(model: ReprogrammedModel) -> dict[str, Any]:
    serialize = keras.saving.serialize_keras_object
    return {
        "format": _FORMAT,
        "keras_reprogram": __version__,
        "keras": keras.__version__,
        **{key: serialize(getattr(model, key)) for key in _PARTS},
        "class_names": model.class_names,
        "seed": model.seed,
        "image_reading": model.image_reading.as_facts(),
        "queries_used": model.queries_used,
        "source": model.source.describe(),
        "fingerprint": model.source.fingerprint,
        "probe": _probe_answer(model.source),
    }


def _npz(arrays: list[np.ndarray] | dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays) if isinstance(arrays, dict) else {}
    np.savez(buffer, *([] if named else arrays), **named)
    return buffer.getvalue()


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_size(archive)
    return dict(np.load(io.BytesIO(content), allow_pickle=False))


def _check_size(archive: zipfile.ZipFile) -> None:
    """Refuses what would unpack to too much, by the sizes that reading never goes beyond."""
    size = sum(member.file_size for member in archive.infolist())
    if size > _MOST_BYTES:
        raise ValueError(f"it would unpack to {size:,} bytes, more than {_MOST_BYTES:,}")


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray], Calibration | None]:
    if not path.exists():
        raise FileNotFoundError(f"There is no program file at {path}. Check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive)
            described = _checked_format(json.loads(archive.read("program.json")), path)
            stored = _arrays(archive.read("weights.npz"))
            weights = [stored[f"arr_{i}"] for i in range(len(stored))]
            calibration = _read_calibration(archive)
    except _UnknownFormatError:
        raise
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not a program file, or it is corrupt. Expected what `save_program` wrote. "
            f"Received: {type(error).__name__}: {error}. Copy it again, or save the program anew."
        ) from error
    return described, weights, calibration


def _read_calibration(archive: zipfile.ZipFile) -> Calibration | None:
    if f"{_CALIBRATION}.json" not in archive.namelist():
        return None
    plain = json.loads(archive.read(f"{_CALIBRATION}.json"))
    return from_plain(plain, _arrays(archive.read(f"{_CALIBRATION}.npz")))


def _checked_format(described: Any, path: Path) -> dict[str, Any]:
    if not isinstance(described, dict) or "format" not in described:
        raise ValueError("program.json does not describe a program")
    if described["format"] != _FORMAT:
        raise _UnknownFormatError(
            f"{path} has format {described['format']}; this version reads format {_FORMAT}. "
            f"Received: a file of keras_reprogram {described.get('keras_reprogram')}, here is "
            f"{__version__}. Install a version that fits."
        )
    missing = sorted(_FIELDS - described.keys())
    if missing:
        raise ValueError(f"program.json lacks {missing}")
    return described


def _check_source(path: Path, described: dict[str, Any], source: Source, check_probe: bool) -> None:
    if described["fingerprint"] != source.fingerprint:
        raise ValueError(
            f"{path} was trained on another source. Expected: {described['source']}, fingerprint "
            f"{described['fingerprint'][:16]}. Received: {source.describe()}, fingerprint "
            f"{source.fingerprint[:16]}. Pass the source that it was trained on."
        )
    probe = described["probe"]
    if probe is None or source.asked_part().answers_at_random or not check_probe:
        return
    difference = float(np.abs(np.asarray(_probe_answer(source)) - np.asarray(probe)).max())
    if not difference <= _PROBE_TOLERANCE:
        raise ValueError(
            f"The source answers the probe image stored in {path} differently: scores differ by "
            f"up to {difference:.3f}. Received: a source with the same identity that has changed. "
            "Train again, or use it as it is in Python: `load_program(..., check_probe=False)`."
        )


def _probe_answer(source: Source) -> list[float] | None:
    """The answer to one fixed image, for sources whose fingerprint is only a name."""
    if source.in_graph or source.asked_part().answers_at_random:
        return None
    low, high = source.probe_range
    ramp = np.linspace(low, high, math.prod(source.source_shape), dtype=np.float32)
    answer = source(ramp.reshape(1, *source.source_shape))
    return keras.ops.convert_to_numpy(answer)[0].tolist()
