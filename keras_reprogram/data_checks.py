"""DataChecks: what a model looks at in its data before it asks its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.data_batches import (
    batches,
    check_end,
    first_batch,
    is_array,
    is_read_once,
)
from keras_reprogram.image_checks import EMPTY, check_images, check_labels
from keras_reprogram.image_range import SeenRange, check_range, check_set


@dataclass(frozen=True)
class DataChecks:
    """Checks of images, labels and weights against one model's program and map.

    Every method raises a ValueError that says what was expected, what came, and how to fix it.

    Args:
        target_shape: `(h, w, c)` of the program's images.
        target_range: `(low, high)` of their values, or `None` for no check.
        num_classes: classes of the output map.
    """

    target_shape: tuple[int, ...]
    target_range: tuple[float, float] | None
    num_classes: int

    def images(self, x: Any) -> np.ndarray:
        """Target images as a float32 array `(n, h, w, c)`."""
        images = check_images(x, self.target_shape, self.target_range)
        return images.astype(np.float32, copy=False)

    def image_set(self, x: Any) -> np.ndarray:
        """The same for images that are learned from, which are not dark all together."""
        images = self.images(x)
        check_set(self._seen(images), self.target_range)
        return images

    def arrays(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[np.ndarray, ...]:
        """Images, labels as they came, and weights if there are any, as arrays."""
        return self._arrays(self.image_set(x), y, sample_weight)

    def _arrays(self, images: np.ndarray, y: Any, sample_weight: Any) -> tuple[np.ndarray, ...]:
        check_labels(y, len(images), self.num_classes)
        arrays = (images, np.asarray(y))
        if sample_weight is None:
            return arrays
        weight = np.asarray(sample_weight, np.float32)
        if len(weight.reshape(-1)) != len(images):
            raise ValueError(
                f"`sample_weight` must be ({len(images)},), a number for each image. "
                f"Received: shape {weight.shape}."
            )
        return (*arrays, weight.reshape(-1))

    def first_batch(self, x: Any, *, labelled: bool) -> None:
        """A data set where that costs little: in its first batch."""
        batch = first_batch(x)
        if batch is not None:
            self._batch(*batch, labelled)
        elif not is_read_once(x):
            raise ValueError(EMPTY)

    def all_batches(self, x: Any, *, labelled: bool, steps: int | None = None) -> np.ndarray | None:
        """A data set from its first batch to its last; its integer labels if it has to have some.

        What can be read only once is left alone.
        """
        if is_read_once(x):
            return None
        labels, seen, batch = [], None, None
        for batch in batches(x, steps=steps):
            here = self._batch(*batch, labelled)
            seen = seen if here is None else here.joined(seen)
            if labelled:
                labels.append(check_labels(batch[1], len(batch[0]), self.num_classes))
        if batch is None:
            raise ValueError(EMPTY)
        check_set(seen, self.target_range)
        return np.concatenate(labels) if labels else None

    def data_set(
        self,
        x: Any,
        *,
        labelled: bool,
        costly: bool,
        steps: int | None = None,
        argument: str = "steps",
    ) -> None:
        """A data set before it is used: as a whole where answers may cost money.

        Args:
            x: yields batches.
            labelled: whether they must have labels.
            costly: whether the source may charge for what it answers.
            steps: batches that are taken, or `None` for all.
            argument: what `steps` is called.
        """
        check_end(x, steps, costs=costly, argument=argument)
        if costly and not is_read_once(x):
            self.all_batches(x, labelled=labelled, steps=steps)
        else:
            self.first_batch(x, labelled=labelled)

    def validation(self, data: Any, *, costly: bool = False, steps: int | None = None) -> None:
        """What `fit` takes as `validation_data`: `None`, `(x, y[, sample_weight])`, a data set."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if is_array(x):
            self.arrays(x, y, sample_weight)
        elif x is not None:
            self.data_set(x, labelled=True, costly=costly, steps=steps, argument="validation_steps")

    def _batch(self, x: Any, y: Any, sample_weight: Any, labelled: bool) -> SeenRange | None:
        images = self.images(x)
        if labelled:
            self._arrays(images, y, sample_weight)
        return self._seen(images)

    def _seen(self, images: np.ndarray) -> SeenRange | None:
        return None if self.target_range is None else check_range(images, self.target_range)
