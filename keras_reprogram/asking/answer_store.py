"""Stores a source's answers between fits, in memory or in files."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.files import whole_file
from keras_reprogram.fitting.weight_copy import WeightCopy, random_states

# Bytes. Larger answers are stored in files only.
MOST_MEMORY = 2**31
# Of one fit: for training and for validation.
_SETS_KEPT = 2


class AnswerMemory:
    """Keeps the answers of the last fit in memory, by fingerprint."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def get(self, fingerprint: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """The answers kept under this fingerprint, or `None`."""
        answers = self._kept.pop(fingerprint, None)
        if answers is None or answers.shape != shape:
            return None
        # Moved to the end: the least recently used entry is dropped first.
        self._kept[fingerprint] = answers
        return answers

    def keep(
        self, fingerprint: str, shape: tuple[int, ...], parts: Iterable[np.ndarray]
    ) -> np.ndarray:
        """Keeps answers, and forgets those of earlier fits."""
        answers, start = np.empty(shape, np.float32), 0
        for part in parts:
            answers[start : start + len(part)] = part
            start += len(part)
        self._kept[fingerprint] = answers
        for old in list(self._kept)[:-_SETS_KEPT]:
            del self._kept[old]
        return answers


class AnswerFiles:
    """Stores answers as float32 `.npy` files in a folder, and memory-maps them for reading.

    A file is named by its fingerprint, so that answers of another source, program or data set are
    never taken for these: they lie beside them. Files that are no longer wanted may be deleted.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                "`cache_features` must be a folder, which may be new. "
                f"Received: {self.folder}, a file. Name another place."
            )

    def get(self, fingerprint: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """The stored answers, mapped into memory, or `None`."""
        path = self._path(fingerprint)
        return _mapped(path, shape) if path.exists() else None

    def keep(
        self, fingerprint: str, shape: tuple[int, ...], parts: Iterable[np.ndarray]
    ) -> np.ndarray:
        """Writes answers part by part; the file takes its name when it is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_room(4 * math.prod(shape))
        path = self._path(fingerprint)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        # Not a writable map: a full disk would end the process instead of raising.
        with whole_file(path) as file:
            np.lib.format.write_array_header_2_0(file, header)
            for part in parts:
                file.write(np.ascontiguousarray(part, "<f4").tobytes())
        return _mapped(path, shape)

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"The answers need {needed:,} bytes in {self.folder}. Received: {free:,} free "
                "bytes. Make room, name a folder on another disk, or pass `cache_features=None`",
            )

    def _path(self, fingerprint: str) -> Path:
        return self.folder / f"{fingerprint}.npy"


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        answers = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{_damaged(path, shape)} Received: {error}. Delete it.") from error
    if answers.shape != shape or answers.dtype != np.float32:
        found = f"{answers.dtype} of shape {answers.shape}"
        raise ValueError(f"{_damaged(path, shape)} Received: {found}. Delete it.")
    return answers


def _damaged(path: Path, shape: tuple[int, ...]) -> str:
    return f"{path} must hold float32 answers of shape {shape}, as `fit` wrote them."


_PROBED_IMAGES = 16
# Of a pixel in [0, 255]: less may be rounding.
_DECIMALS = 1


class MovingAnswersError(Exception):
    """Answers cannot be cached across epochs; `fit` reports why and asks in every epoch."""


def is_cacheable(program: Any, trainable: bool) -> bool:
    """Whether source outputs can be cached: `fit` trains no weight that reaches a pixel."""
    trained = trainable and program.trainable_variables
    return not (trained and np.any(program.live_coordinates()))


def check_cacheable(program: keras.layers.Layer, images: np.ndarray) -> np.ndarray:
    """Source images of the first 16 images; raises if training would change them."""
    if random_states(program):
        raise MovingAnswersError("the program draws random numbers (augmentation)")
    before = WeightCopy(program.weights)
    some = images[:_PROBED_IMAGES]
    in_training = np.asarray(program(some, training=True))
    before.restore()
    shown = np.asarray(program(some, training=False))
    if not np.allclose(in_training, shown, atol=1e-3):
        raise MovingAnswersError("the program gives other images in training (augmentation)")
    return shown


def answers_fingerprint(
    program: Any, source: Any, digest: str, shown: np.ndarray, trainable: bool
) -> str:
    """Digest of all that answers depend on: source, program with its weights, and images."""
    # The key includes `shown`, the source images of some rows: the code of a program may change
    # without any change of its config.
    try:
        parts = [source.fingerprint, keras.saving.serialize_keras_object(program), digest]
    except NotImplementedError as error:
        raise MovingAnswersError(f"what its answers depend on is not known ({error})") from error
    # A service's answers also depend on the request's other options.
    parts += [source.request_options]
    # Of series and texts nobody may know the range.
    low, high = source.probe_range
    parts.append(_projections(shown * (255 / (high - low))))
    parts += [images_digest(variable.numpy()) for variable in _fixed(program, trainable)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class CacheGuard(keras.callbacks.Callback):
    """Stops a fit on cached answers if a callback or other code changes the program."""

    def __init__(self, program: Any, trainable: bool) -> None:
        super().__init__()
        # Those of now: what else is trainable in between changes no answer.
        self._variables = _fixed(program, trainable)
        self._expected = [images_digest(variable.numpy()) for variable in self._variables]

    def on_train_begin(self, logs: Any = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check()

    def _check(self) -> None:
        if [images_digest(variable.numpy()) for variable in self._variables] != self._expected:
            raise ValueError(
                "`fit` trains on answers that the source gave before the first epoch. Received: a "
                "program with other weights than then, which a callback gave it. Load them before "
                "`fit`, or pass `cache_features=None` to ask in every epoch."
            )


def _fixed(program: Any, trainable: bool) -> list[Any]:
    # Those that are trained reach no pixel.
    return program.non_trainable_weights if trainable else program.weights


def _projections(images: np.ndarray) -> list[float]:
    """One number an image: changes with the pixels, but not with their rounding."""
    rows = images.reshape(len(images), -1)
    direction = np.random.default_rng(0).standard_normal(rows.shape[1])
    return np.round(rows @ direction / np.linalg.norm(direction), _DECIMALS).tolist()


def images_digest(images: np.ndarray) -> str:
    """Digest of an array: shape, dtype and values."""
    digest = hashlib.sha256(f"{images.shape}{images.dtype}".encode())
    digest.update(np.ascontiguousarray(images).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
