"""RepeatedData: a data set that is read twice, and must give the same images both times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_reprogram.data_batches import batches
from keras_reprogram.data_checks import DataChecks
from keras_reprogram.standing_answers import MovingAnswersError, images_digest


class RepeatedData:
    """The first reading of a data set: everything but its images, of which digests are kept.

    Args:
        x: a `tf.data.Dataset` of batches `(images, y[, sample_weight])`.
        checks: of the model.

    Raises:
        MovingAnswersError: if it cannot be known that `x` gives the same again.
        ValueError: for images that do not fit.
    """

    def __init__(self, x: Any, checks: DataChecks) -> None:
        self._data, self._checks = x, checks
        _check_repeatable(x)
        self.others: list[tuple[np.ndarray, ...]] = []
        self._digests: list[str] = []
        self.first_images = np.zeros(0)
        for images, *others in batches(x):
            if not self._digests:
                self.first_images = checks.images(images)
            self._digests.append(images_digest(images))
            self.others.append(_given(others))

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(len(others[0]) for others in self.others)

    @property
    def digest(self) -> str:
        """The identity of all images in their order."""
        return hashlib.sha256("".join(self._digests).encode()).hexdigest()

    def images(self) -> Iterator[np.ndarray]:
        """Reads the images again.

        Yields:
            float32 batches `(rows, h, w, c)`.

        Raises:
            MovingAnswersError: at the first batch that is another than before.
        """
        first = zip(self._digests, self.others, strict=True)
        for (images, *others), (digest, known) in zip(batches(self._data), first, strict=True):
            if images_digest(images) != digest or not _equal(_given(others), known):
                raise MovingAnswersError(
                    "the data set gives other images, labels or weights, or another order, in "
                    "each pass"
                )
            yield self._checks.images(images)


def _given(others: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    return tuple(part for part in others if part is not None)


def _equal(some: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def _check_repeatable(x: Any) -> None:
    if not hasattr(x, "cardinality"):
        raise MovingAnswersError(
            f"a {type(x).__name__} may give other images in each epoch; pass arrays or a "
            "`tf.data.Dataset`"
        )
    if int(x.cardinality()) < 0:
        raise MovingAnswersError(
            "the data set does not say that it ends; leave out `.repeat()`, or use "
            "`.apply(tf.data.experimental.assert_cardinality(batches))`"
        )
