"""The attack of an audit: exact maps on the answers, as a stranger would fit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np

from keras_reprogram.asking.exact_fit import map_solver
from keras_reprogram.audit.measures import Answers
from keras_reprogram.output_map.dense_map import DenseMap

# Rows that a map reads at once: the log-scores of a thousand labels and several views are large.
_ROWS = 256


@dataclass(frozen=True)
class Point:
    """One stranger's effort, and what it brought.

    Args:
        train_images: labelled images.
        num_views: queries of each image.
        accuracy: on test images.
    """

    train_images: int
    num_views: int
    accuracy: float

    @property
    def queries(self) -> int:
        """Paid for the map."""
        return self.train_images * self.num_views


def exact_map_accuracy(
    train: Answers,
    train_labels: np.ndarray,
    test: Answers,
    test_labels: np.ndarray,
    *,
    num_classes: int,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> float:
    """Test accuracy of the map that is fitted exactly on answers, as `fit_output_map` fits it.

    Args:
        train: answers `(n, V, S)` to labelled images.
        train_labels: `(n,)` integers.
        test: answers `(m, V, S)` to test images.
        test_labels: `(m,)` integers.
        num_classes: K.
        seed: draws the part that chooses the regularisation.
        groups: `(n,)` or `None`; images of one value stay on one side of that draw.

    Returns:
        A share, from 0 to 1.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.audit import Answers, exact_map_accuracy

    labels = np.arange(60) % 3
    answers = Answers((np.eye(3)[labels][:, None] * 0.7 + 0.1).astype("float32"), "probabilities")
    assert exact_map_accuracy(answers, labels, answers, labels, num_classes=3) == 1.0
    ```
    """
    # Of fewer than ten images a class the closed form spares none.
    output_map = DenseMap(num_classes, fit="auto")
    output_map.attach(train.score_kind, train.score_step)
    solver = map_solver(output_map, seed, validation_split=0.2, groups=groups)
    output_map.fit_answers(train.scores, train_labels, solver=solver)
    parts = (test.scores[start : start + _ROWS] for start in range(0, len(test.scores), _ROWS))
    found = [keras.ops.convert_to_numpy(output_map(part)).argmax(axis=1) for part in parts]
    return float(np.mean(np.concatenate(found) == test_labels))


def efforts(train_images: int, num_views: int, least: int) -> Iterator[tuple[int, int]]:
    """Numbers of images and views, from the least effort to the most: images first, then views."""
    for images in (train_images // 4, train_images // 2):
        if images >= least:
            yield images, 1
    yield from ((train_images, views) for views in view_counts(num_views))


def view_counts(num_views: int) -> list[int]:
    """1, 2, 4 ... and the number itself."""
    counts = [2**power for power in range(num_views.bit_length()) if 2**power < num_views]
    return [*counts, num_views]


def mean_points(points: Iterable[list[Point]]) -> list[tuple[int, float]]:
    """Queries and mean accuracy over seeds, of points in the same order for each seed."""
    return [
        (some[0].queries, float(np.mean([point.accuracy for point in some])))
        for some in zip(*points, strict=True)
    ]
