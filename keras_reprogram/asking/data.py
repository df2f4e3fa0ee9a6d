"""DataChecks: checks a model's data before its source is asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.arguments import is_image
from keras_reprogram.asking.finding_labels import (
    check_every_finding,
    check_findings,
    finding_weights,
    positive_weights,
)
from keras_reprogram.asking.foreign_data import no_array, no_batches_of_hugging_face
from keras_reprogram.asking.image_weights import class_weights, finite_weights, image_weights
from keras_reprogram.asking.images import (
    EMPTY,
    SeenRange,
    check_every_class,
    check_images,
    check_labels,
    check_range,
    check_set,
    most_probable_labels,
)
from keras_reprogram.fitting.findings_fit import matrix_of


@dataclass(frozen=True)
class DataChecks:
    """Checks of images, labels and weights against one model's program and map.

    Every method raises a ValueError that says what was expected, what came, and how to fix it.

    Args:
        target_shape: `(h, w, c)` of the program's images, or another number of axes.
        target_range: `(low, high)` of their values, or `None` for no check.
        num_classes: classes of the output map.
        multi_label: whether they are findings, of which an image has any number: labels are rows
            `(n, K)` of 0 and 1.
        tokens: whether targets are numbers of tokens.
    """

    target_shape: tuple[int, ...]
    target_range: tuple[float, float] | None
    num_classes: int
    multi_label: bool = False
    tokens: bool = False

    def labels(self, y: Any, num_images: int) -> np.ndarray:
        """Labels as integers: classes `(n,)`, or findings `(n, K)`."""
        check = check_findings if self.multi_label else check_labels
        return check(y, num_images, self.num_classes)

    def learned_labels(self, y: Any, num_images: int, stacklevel: int = 3) -> np.ndarray:
        """`labels` where a map is fitted to them; warns if that leaves something out."""
        if self.multi_label:
            return check_findings(y, num_images, self.num_classes)
        return most_probable_labels(y, num_images, self.num_classes, stacklevel + 1)

    def every_class(self, labels: np.ndarray, class_names: Any) -> None:
        """Raises a ValueError that names classes without an image, and findings that never vary."""
        if self.multi_label:
            check_every_finding(labels, class_names)
        else:
            check_every_class(labels, self.num_classes, class_names)

    def weights(
        self, labels: np.ndarray, sample_weight: Any, class_weight: dict[int, float] | None
    ) -> np.ndarray | None:
        """Weights of images `(n,)`, or of findings of images `(n, K)`."""
        if self.multi_label:
            return finding_weights(labels, sample_weight, class_weight)
        return image_weights(labels, sample_weight, class_weight, self.num_classes)

    def class_weights(self, class_weight: dict[int, float] | None) -> None:
        """Checks weights of classes, or of findings, by themselves."""
        if class_weight is not None:
            weigh = positive_weights if self.multi_label else class_weights
            weigh(class_weight, self.num_classes)

    def images(self, x: Any) -> np.ndarray:
        """Target images as a float32 array `(n, h, w, c)`."""
        if not is_array(x):
            raise ValueError(no_array(x, self.target_shape))
        images = check_images(x, self.target_shape, self.target_range, tokens=self.tokens)
        return images.astype(np.float32, copy=False)

    def image_set(self, x: Any) -> np.ndarray:
        """As `images`, for training images, which cannot all be dark."""
        images = self.images(x)
        check_set(self._seen(images), self.target_range)
        return images

    def arrays(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[np.ndarray, ...]:
        """Images, labels as they came, and weights if there are any, as arrays."""
        return self._arrays(self.image_set(x), y, sample_weight)

    def _arrays(self, images: np.ndarray, y: Any, sample_weight: Any) -> tuple[np.ndarray, ...]:
        self.labels(y, len(images))
        arrays = (images, np.asarray(y))
        if sample_weight is None:
            return arrays
        return (*arrays, finite_weights(sample_weight, len(images)).astype(np.float32))

    def first_batch(self, x: Any, *, labelled: bool) -> None:
        """Checks the first batch of a data set, where reading it is cheap."""
        batch = first_batch(x)
        if batch is not None:
            self._batch(*batch, labelled)
        elif not is_read_once(x):
            raise ValueError(EMPTY)

    def all_batches(self, x: Any, *, labelled: bool, steps: int | None = None) -> np.ndarray | None:
        """Checks a data set from its first batch to its last; returns its integer labels."""
        # What can be read only once is left alone.
        if is_read_once(x):
            return None
        labels, seen, batch = [], None, None
        for batch in batches(x, steps=steps):
            here = self._batch(*batch, labelled)
            seen = seen if here is None else here.joined(seen)
            if labelled:
                labels.append(self.labels(batch[1], len(batch[0])))
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
        """Checks a data set before it is used: as a whole where answers may cost money."""
        check_end(x, steps, costs=costly, argument=argument)
        if costly and not is_read_once(x):
            self.all_batches(x, labelled=labelled, steps=steps)
        else:
            self.first_batch(x, labelled=labelled)

    def validation(self, data: Any, *, costly: bool = False, steps: int | None = None) -> None:
        """Checks `validation_data` of `fit`: `None`, `(x, y[, sample_weight])`, or a data set."""
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
        if self.target_range is None or not is_image(self.target_shape):
            return None
        return check_range(images, self.target_range)


def is_array(x: Any) -> bool:
    """Whether `x` is an array or a list, in contrast to something that yields batches."""
    return isinstance(x, list | tuple) or (
        hasattr(x, "shape") and hasattr(x, "__array__") and hasattr(x, "dtype")
    )


def batches(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 64,
    steps: int | None = None,
) -> Iterator[tuple[Any, Any, Any]]:
    """`(x, y, sample_weight)` NumPy batches of arrays or of whatever yields batches."""
    if is_array(x):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            yield tuple(None if part is None else part[rows] for part in (x, y, sample_weight))  # type: ignore[misc]
        return
    for batch in _steps(x, steps):
        _check_batch(x, batch)
        parts = keras.utils.unpack_x_y_sample_weight(batch)
        yield tuple(None if part is None else np.asarray(part) for part in parts)  # type: ignore[misc]


def _check_batch(data: Any, batch: Any) -> None:
    """Refuses rows and tables that other packages give where batches are expected."""
    if hasattr(data, "iloc"):
        raise ValueError(no_array(data, ("h", "w", "c")))
    if not isinstance(batch, str | Mapping):
        return
    expected = "Data must be arrays, or yield batches (x, y) of arrays."
    splits = list(data) if isinstance(data, Mapping) else []
    if splits:
        raise ValueError(
            f"{expected} Received: a {type(data).__name__} with {', '.join(map(repr, splits))}. "
            f"Choose one of them: `data[{splits[0]!r}]`."
        )
    if isinstance(batch, str):
        raise ValueError(
            f"{expected} Received: a {type(data).__name__} that yields texts, {batch[:40]!r} first."
            " Read image files with `load_image_folder`, and take the columns of a table."
        )
    columns = list(map(str, batch))
    if type(data).__module__.split(".")[0] != "datasets":
        raise ValueError(
            f"{expected} Received: dictionaries with {', '.join(columns)}. Yield tuples (x, y)."
        )
    raise ValueError(no_batches_of_hugging_face(expected, data, columns))


def _steps(x: Any, steps: int | None) -> Iterable[Any]:
    length = known_length(x)
    # Keras's older image iterators state their length, but restart after it.
    most = min(math.inf if steps is None else steps, math.inf if length is None else length)
    read = (x[i] for i in itertools.count()) if isinstance(x, keras.utils.PyDataset) else x
    return itertools.islice(read, None if most == math.inf else int(most))


def known_length(x: Any) -> float | None:
    """The number of batches that a data set declares: a number, infinity, or `None`."""
    if isinstance(x, keras.utils.PyDataset):
        return math.inf if x.num_batches is None else x.num_batches
    if hasattr(x, "cardinality"):
        count = int(x.cardinality())
        # Cardinalities of `tf.data` for `.repeat()` without a count, and for unknown lengths.
        return {-1: math.inf, -2: None}.get(count, count)
    try:
        return len(x)
    except (TypeError, NotImplementedError):
        return None


def check_end(x: Any, steps: int | None, *, costs: bool, argument: str = "steps") -> None:
    """Refuses endless data, and data of unknown length where queries cost money."""
    if steps is not None:
        if isinstance(steps, bool) or int(steps) != steps or steps < 1:
            raise ValueError(f"`{argument}` must be a whole number >= 1. Received: {steps!r}.")
        return
    length = known_length(x)
    if length == math.inf:
        raise ValueError(
            f"The data must end, or `{argument}` say how many batches are wanted. Received: an "
            f"endless data set and no `{argument}`. Pass `{argument}=`, leave out `.repeat()`, "
            "or take a part of it with `.take(n)`."
        )
    if length is None and costs:
        raise ValueError(
            "Each image is a query to the source, so the data must say how many batches they have. "
            f"Received: a {type(x).__name__}, which does not, and no `{argument}`. Pass "
            f"`{argument}=`, the number of batches; or arrays, a `PyDataset`, or a "
            "`tf.data.Dataset` with `.apply(tf.data.experimental.assert_cardinality(batches))`."
        )


def is_read_once(x: Any) -> bool:
    """Whether the data can be read only once, as a generator."""
    return isinstance(x, Iterator) and not isinstance(x, keras.utils.PyDataset)


def first_batch(x: Any) -> tuple[Any, Any, Any] | None:
    """The first batch of a data set that can be read again, or `None` for a plain generator."""
    if is_read_once(x):
        return None
    return next(batches(x), None)


@dataclass
class LabelledImages:
    """Images, integer labels and weights of one part.

    Args:
        images: `(n, h, w, c)`.
        labels: `(n,)` integers, or of several findings `(n, K)` of 0 and 1.
        targets: the labels as the compiled loss takes them.
        weight: `(n,)` or `None`; of several findings `(n, K)` too.
        groups: `(n,)` or `None`; images of one value belong together.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weight: np.ndarray | None
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> LabelledImages:
        """The given rows."""
        weight = None if self.weight is None else self.weight[rows]
        groups = None if self.groups is None else self.groups[rows]
        return LabelledImages(
            self.images[rows], self.labels[rows], self.targets[rows], weight, groups
        )

    @property
    def image_weight(self) -> np.ndarray | None:
        """One weight an image: the mean over its findings."""
        if self.weight is None or self.weight.ndim == 1:
            return self.weight
        return self.weight.mean(axis=1)

    def __len__(self) -> int:
        return len(self.labels)


def joined(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    """Concatenates two parts; targets become integers.

    Where one part only has weights, an image of the other counts 1.
    """
    labels = np.concatenate([one.labels, other.labels])
    weight = groups = None
    if one.weight is not None or other.weight is not None:
        weights = [np.ones(len(p)) if p.weight is None else p.weight for p in (one, other)]
        if any(each.ndim == 2 for each in weights):
            pairs = zip(weights, (one.labels, other.labels), strict=True)
            weights = [matrix_of(each, labels.shape) for each, labels in pairs]
        weight = np.concatenate(weights)
    if one.groups is not None and other.groups is not None:
        groups = np.concatenate([one.groups, other.groups])
    images = np.concatenate([one.images, other.images])
    return LabelledImages(images, labels, labels, weight, groups)


def split_last(
    arrays: tuple[np.ndarray, ...], share: float
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Training part and the last images as validation, as Keras splits arrays."""
    split, _ = split_counts(len(arrays[0]), share)
    return tuple(a[:split] for a in arrays), tuple(a[split:] for a in arrays)


def split_counts(count: int, share: float) -> tuple[int, int]:
    """Numbers of training and validation images of `split_last`."""
    split = int(count * (1 - share))
    if not 0 < split < count:
        raise ValueError(
            "`validation_split` must leave images on both sides. "
            f"Received: {share} of {count} images. Pass a share such as 0.2, or more images."
        )
    return split, count - split
