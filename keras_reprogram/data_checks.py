"""DataChecks: what a model looks at in its data before it asks its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.data_batches import batches, first_batch, is_array
from keras_reprogram.image_checks import EMPTY, check_images, check_labels


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

    def arrays(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[np.ndarray, ...]:
        """Images, labels as they came, and weights if there are any, as arrays."""
        images = self.images(x)
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
        elif not hasattr(x, "__next__"):
            raise ValueError(EMPTY)

    def all_batches(self, x: Any, *, labelled: bool) -> np.ndarray | None:
        """A data set from its first batch to its last; its integer labels if it has to have some.

        What can be read only once is left alone.
        """
        if hasattr(x, "__next__"):
            return None
        labels = []
        for batch in batches(x):
            self._batch(*batch, labelled)
            if labelled:
                labels.append(check_labels(batch[1], len(batch[0]), self.num_classes))
        return np.concatenate(labels) if labels else None

    def validation(self, data: Any) -> None:
        """What `fit` takes as `validation_data`: `None`, `(x, y[, sample_weight])`, a data set."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if is_array(x):
            self.arrays(x, y, sample_weight)
        elif x is not None:
            self.first_batch(x, labelled=True)

    def _batch(self, x: Any, y: Any, sample_weight: Any, labelled: bool) -> None:
        if labelled:
            self.arrays(x, y, sample_weight)
        else:
            self.images(x)
