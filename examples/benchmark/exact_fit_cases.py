"""The answers that exact fits are timed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rounds import fresh_process

NUM_TEST = 1000


@dataclass(frozen=True)
class Case:
    """One size of a fit.

    Attributes:
        target: whose images.
        rows: training images.
        features: columns of the log-scores, from the first view on.
        classes: the target's first classes.
        source: whose answers.
    """

    target: str
    rows: int
    features: int
    classes: int
    source: str = "mobilenet_025_128"

    @property
    def answers(self) -> str:
        """The name of the files with the log-scores."""
        return f"{self.source}_{self.target}"


def store_answers(cases: Sequence[Case], folder: str) -> None:
    """Asks each source for the most images and views that a case needs."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for answers in sorted({case.answers for case in cases}):
        if Path(folder, f"{answers}_test_labels.npy").exists():
            continue
        alike = [case for case in cases if case.answers == answers]
        most = max(case.rows for case in alike)
        views = -(-max(case.features for case in alike) // 1000)
        with fresh_process() as process:
            process.submit(store_features, alike[0], most, views, folder).result()


def store_features(case: Case, most: int, views: int, folder: str) -> None:
    """Asks the source for all images of a target and writes its log-scores."""
    from sources import source_choices

    from keras_reprogram import DenseMap, FrozenSource, ProgramLayer
    from keras_reprogram.datasets import load_target

    data = load_target(case.target)
    data = data.draw(min(most, len(data.train_labels)), NUM_TEST, 0)
    if case.source == "mobilenet_v2":
        source = FrozenSource.from_application("MobileNetV2", max_batch=32)
    else:
        source = source_choices()[case.source].transparent()
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="gentle_views",
        num_views=views,
        masked=False,
        seed=0,
    )
    output_map = DenseMap(len(data.class_names))
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        scores = np.concatenate(
            [_scores(program, source, images[i : i + 32]) for i in range(0, len(images), 32)]
        )
        if part == "train":
            output_map.adapt(scores)
        features = np.concatenate(
            [
                np.asarray(output_map.features(scores[i : i + 500]))
                for i in range(0, len(scores), 500)
            ]
        )
        np.save(Path(folder, f"{case.answers}_{part}.npy"), features)
        np.save(Path(folder, f"{case.answers}_{part}_labels.npy"), labels)
    if data.train_groups is not None:
        np.save(Path(folder, f"{case.answers}_train_groups.npy"), data.train_groups)


def _scores(program: Any, source: Any, images: np.ndarray) -> np.ndarray:
    seen = np.asarray(program(images))
    answers = source(seen.reshape(-1, *source.source_shape))
    return np.asarray(answers).reshape(len(images), -1, source.num_labels)


def part_of(case: Case, part: str, folder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Features, labels and, where the target has them, groups: a sign's photographs in a row."""
    features = np.load(Path(folder, f"{case.answers}_{part}.npy"), mmap_mode="r")
    labels = np.load(Path(folder, f"{case.answers}_{part}_labels.npy"))
    grouped = Path(folder, f"{case.answers}_{part}_groups.npy")
    groups = np.load(grouped) if grouped.exists() else None
    chosen = np.flatnonzero(labels < case.classes)
    if part == "train":
        chosen = np.random.default_rng(0).permutation(chosen)[: case.rows]
    rows = np.ascontiguousarray(features[chosen, : case.features])
    return rows, labels[chosen], None if groups is None else groups[chosen]
