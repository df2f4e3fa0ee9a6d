"""Answers of a source that are asked for once, whatever seed, fold or method wants them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from black_box import black_box

from keras_reprogram import DenseMap, FrozenSource, NewHead, ProgramLayer, ReprogrammedModel
from keras_reprogram.program import Placement

_BATCH_SIZE = 64


class StoredAnswers:
    """A source's answers to one view of images, in a file of a folder.

    Each image is known by its pixels, so that draws of several seeds share what they have in
    common.

    Args:
        source: a `FrozenSource`, of scores or of features.
        program: a `ProgramLayer` of one view.
        folder: made when the first file is.
    """

    def __init__(self, source: FrozenSource, program: ProgramLayer, folder: Path) -> None:
        self.source, self.program = source, program
        facts = [source.fingerprint, source.output_kind, program.placement.get_config()]
        facts += [program.target_shape, program.target_range, source.source_shape]
        name = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
        self.path = folder / f"{name}.npz"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Answers `(n, S)` to images `(n, h, w, c)`; only new ones are asked for."""
        digests = np.array([hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in images])
        known, answers = self._read()
        _, first = np.unique(digests, return_index=True)
        new = np.sort(first[~np.isin(digests[first], known)])
        if len(new):
            asked = self._ask(images[new])
            known = np.concatenate([known, digests[new]])
            answers = asked if answers is None else np.concatenate([answers, asked])
            self._write(known, answers)
        order = np.argsort(known)
        return answers[order[np.searchsorted(known, digests, sorter=order)]]

    def _ask(self, images: np.ndarray) -> np.ndarray:
        output_map = NewHead(2) if self.source.score_kind == "features" else DenseMap(2)
        model = ReprogrammedModel(self.program, self._fastest(), output_map)
        return model.collect_scores(images, batch_size=_BATCH_SIZE, verbose=0)[:, 0]

    def _fastest(self) -> Any:
        """Without a GPU, a LiteRT copy: the same to 1e-6, several times as fast."""
        if self.source.score_kind == "features" or tf.config.list_physical_devices("GPU"):
            return self.source
        return black_box(self.source, self.source.name)

    def _read(self) -> tuple[np.ndarray, Any]:
        if not self.path.exists():
            return np.zeros(0, "<U32"), None
        with np.load(self.path, allow_pickle=False) as stored:
            return stored["digests"], stored["answers"]

    def _write(self, digests: np.ndarray, answers: np.ndarray) -> None:
        write_whole(self.path, lambda file: np.savez(file, digests=digests, answers=answers))


def write_whole(path: Path, write: Callable[[Any], None]) -> None:
    """Writes a file that takes its name when it is whole.

    Args:
        path: of the file; its folder is made.
        write: given the open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as file:
        write(file)
    beside.replace(path)


def view_answers(
    source: FrozenSource, placement: Placement, target: Any, folder: Path
) -> Callable[[np.ndarray], np.ndarray]:
    """Answers to all views of a placement, one file a view.

    Args:
        source: a `FrozenSource`.
        placement: its views.
        target: the `TargetData`, for shape and range.
        folder: of the files.

    Returns:
        images `(n, h, w, c)` -> answers `(n, V, S)`.
    """
    stores = []
    for view in placement.views:
        program = ProgramLayer(
            target.target_shape,
            source.source_shape,
            source_range=source.value_range,
            target_range=target.target_range,
            placement=Placement([view]),
        )
        stores.append(StoredAnswers(source, program, folder))
    return lambda images: np.stack([store(images) for store in stores], axis=1)
