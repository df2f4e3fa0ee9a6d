"""TargetData: images and labels of a target task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.asking.images import check_range, check_set
from keras_reprogram.fitting.validation import draw_stratified, split_validation


class Draw(NamedTuple):
    """The number of images to draw from a target; see `TargetData.draw`.

    Args:
        train_images: Size of the training part, or `None` for all.
        test_images: Size of the test part, or `None` for all.
        seed: Non-negative integer.
    """

    train_images: int | None
    test_images: int | None
    seed: int


@dataclass(frozen=True, eq=False)
class TargetTexts:
    """The texts behind a task's token numbers.

    Args:
        vocabulary: a `keras_reprogram.Vocabulary`.
        train: one text a row of the training part.
        test: likewise.
    """

    vocabulary: Any
    train: tuple[str, ...] = field(repr=False)
    test: tuple[str, ...] = field(repr=False)

    def of(self, train: np.ndarray, test: np.ndarray | None) -> TargetTexts:
        """The texts of some rows; of all test rows for `None`."""
        of_test = self.test if test is None else tuple(self.test[row] for row in test)
        return replace(self, train=tuple(self.train[row] for row in train), test=of_test)

    def check(self, what: str, part: str, numbers: np.ndarray) -> None:
        """Refuses token numbers that are none of the vocabulary, or not one row a text."""
        expected = (len(getattr(self, part)), self.vocabulary.length)
        is_rows = isinstance(numbers, np.ndarray) and numbers.dtype == np.int32
        if not is_rows or numbers.shape != expected or not len(numbers):
            received = f"{getattr(numbers, 'dtype', type(numbers).__name__)}"
            raise ValueError(
                f"Expected {what} to be int32 token numbers of shape {expected}. Received: "
                f"{received} of shape {np.shape(numbers)}. Make them with `vocabulary.encode`."
            )
        if numbers.min() < 0 or numbers.max() >= self.vocabulary.size:
            raise ValueError(
                f"Expected {what} to be token numbers in [0, {self.vocabulary.size}). Received: "
                f"{numbers.min()} to {numbers.max()}. Make them with `vocabulary.encode`."
            )


@dataclass(frozen=True, eq=False)
class TargetData:
    """A target task in memory, checked when it is made.

    Args:
        name: Short name, for example `"digits"`.
        train_images: uint8 or float32 array of shape `(num_train, height, width, channels)` in
            `target_range`; of series `(num_train, length)` or `(num_train, length, channels)`; of
            texts int32 token numbers `(num_train, length)`.
        train_labels: Integer array of shape `(num_train,)`, values `0..len(class_names) - 1`; of
            several findings an image `(num_train, len(class_names))`, values 0 and 1.
        test_images: As `train_images`, shape `(num_test, height, width, channels)`.
        test_labels: As `train_labels`, shape `(num_test,)` or `(num_test, len(class_names))`.
        class_names: At least two different names, in label order.
        origin: A sentence that says which file or package the images came from.
        notes: Sentences that a reader of the results should know (lossy copies, own splits).
        train_groups: Optional integer array of shape `(num_train,)`; images with one value (frames
            of one video track) belong together and validation is split by them.
        target_range: `(low, high)` of the pixels, for `ProgramLayer(target_range=...)`: (0, 255)
            for pictures, (-1, 1) for correlations; `None` of series and texts, which have none.
        train_weight: Optional array of shape `(num_train,)`, the `sample_weight` of each image:
            finite, 0 or more, not all 0.
        validation_rows: Optional bool array of shape `(num_train,)`, true for the training images
            that the task itself holds out to choose by. They are never learned from.
        image_reading: How files were read (aspect ratio, bits, window), for `model.image_reading`.
        texts: Of a task of texts, what the token numbers were made of; `None` of others.

    Raises:
        ValueError: For wrong ranks, types or lengths, empty parts, NaN, values outside
            `target_range`, and labels without a class name.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.datasets import TargetData

        images, labels = np.zeros((4, 8, 8, 1), "uint8"), np.array([0, 1, 0, 1])
        target = TargetData("toy", images, labels, images, labels, ("no", "yes"), "Made by hand.")
        print(target.target_shape)  # (8, 8, 1)
        ```
    """

    name: str
    train_images: np.ndarray = field(repr=False)
    train_labels: np.ndarray = field(repr=False)
    test_images: np.ndarray = field(repr=False)
    test_labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    origin: str
    notes: tuple[str, ...] = ()
    train_groups: np.ndarray | None = field(default=None, repr=False)
    # `(low, high)` wherever images are meant.
    target_range: Any = (0.0, 255.0)
    train_weight: np.ndarray | None = field(default=None, repr=False)
    validation_rows: np.ndarray | None = field(default=None, repr=False)
    image_reading: ImageReading = ImageReading()
    texts: TargetTexts | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_class_names(self.name, self.class_names)
        for part, images, labels in (
            ("train", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if self.texts is None:
                _check_images(f"`{part}_images` of {self.name!r}", images, self.target_range)
            else:
                self.texts.check(f"`{part}_images` of {self.name!r}", part, images)
            _check_labels(
                f"`{part}_labels` of {self.name!r}", labels, len(images), self.class_names
            )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"Expected training and test images of {self.name!r} to have one shape. "
                f"Received: {self.train_images.shape[1:]} and {self.test_images.shape[1:]}. "
                "Resize one of them."
            )
        if self.train_labels.ndim != self.test_labels.ndim:
            raise ValueError(
                f"Expected training and test labels of {self.name!r} to have one form. Received: "
                f"shapes {self.train_labels.shape} and {self.test_labels.shape}. For one-hot "
                "labels pass `labels.argmax(axis=1)`."
            )
        for what in ("train_groups", "train_weight", "validation_rows"):
            _check_length(self.name, what, getattr(self, what), len(self.train_labels))
        _check_weight(self.name, self.train_weight)
        _check_validation(self.name, self.validation_rows)

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have several findings, or none.

        Example:
            ```python
            from keras_reprogram.datasets import load_target

            print(load_target("digits").is_multi_label)  # False
            ```
        """
        return self.train_labels.ndim == 2

    @property
    def target_shape(self) -> Any:
        """Shape of one image, `(height, width, channels)`, or of one series.

        Example:
            ```python
            from keras_reprogram.datasets import load_target

            print(load_target("digits").target_shape)  # (8, 8, 1)
            ```
        """
        return self.train_images.shape[1:]

    def draw(self, train_images: int | None, test_images: int | None, seed: int) -> TargetData:
        """Draws part of the images, each class with its share and at least one image.

        Args:
            train_images: Size of the training part, or `None` for all. At least one a class.
            test_images: Size of the test part, or `None` for all. At least one a class.
            seed: Non-negative integer; larger draws with one seed contain the smaller ones.

        Returns:
            A new `TargetData` whose `notes` say what was drawn.

        Raises:
            ValueError: If more images are asked for than exist, or fewer than one a class.

        Example:
            ```python
            from keras_reprogram.datasets import load_target

            small = load_target("digits").draw(100, None, seed=0)
            print(len(small.train_images), len(small.test_images))  # 100 540
            ```
        """
        train = draw_part(self.name, "training", self.train_labels, train_images, seed)
        test = draw_part(self.name, "test", self.test_labels, test_images, seed)
        notes = (
            *drawn_notes("training", train, self.train_labels, seed),
            *drawn_notes("test", test, self.test_labels, seed),
        )
        return replace(
            self.with_training(train),
            test_images=self.test_images[test],
            test_labels=self.test_labels[test],
            texts=None if self.texts is None else self.texts.of(train, test),
            notes=self.notes + notes,
        )

    def with_training(self, rows: np.ndarray) -> TargetData:
        """The same task with some of its training images.

        Args:
            rows: Their positions, integers of shape `(n,)`.

        Returns:
            A new `TargetData`; its groups, weights and validation rows are those of these images.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.datasets import load_target

            few = load_target("digits").with_training(np.arange(40))
            print(len(few.train_images))  # 40
            ```
        """

        def of(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        held = of(self.validation_rows)
        return replace(
            self,
            train_images=self.train_images[rows],
            train_labels=self.train_labels[rows],
            train_groups=of(self.train_groups),
            train_weight=of(self.train_weight),
            texts=None if self.texts is None else self.texts.of(rows, None),
            # A draw may leave none of either side.
            validation_rows=None if held is None or len(set(held.tolist())) < 2 else held,
        )

    def learned(self) -> TargetData:
        """The same task without the training images that it holds out to choose by.

        Example:
            ```python
            from keras_reprogram.datasets import load_target

            print(len(load_target("digits").learned().train_images))  # 1257
            ```
        """
        if self.validation_rows is None:
            return self
        return self.with_training(np.flatnonzero(~self.validation_rows))


def draw_part(name: str, part: str, labels: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Sorted positions of a stratified draw; larger draws of a seed contain smaller ones."""
    if count is None:
        return np.arange(len(labels))
    try:
        return draw_stratified(labels, count, seed)
    except ValueError as error:
        raise ValueError(f"Cannot draw {count} {part} images of {name!r}. {error}") from error


def drawn_notes(
    part: str, kept: np.ndarray, labels: np.ndarray, seed: int, unit: str = "images"
) -> tuple[str, ...]:
    """Says what a draw left out, if it did."""
    if len(kept) == len(labels):
        return ()
    return (f"{len(kept):,} of {len(labels):,} {part} {unit} drawn, seed {seed}.",)


def _check_class_names(name: str, class_names: Sequence[str]) -> None:
    is_names = isinstance(class_names, tuple) and all(isinstance(n, str) for n in class_names)
    if not is_names or len(set(class_names)) != len(class_names) or len(class_names) < 2:
        raise ValueError(
            f"Expected `class_names` of {name!r} to be a tuple of two or more different strings. "
            f"Received: {class_names!r}."
        )


def _check_images(what: str, images: np.ndarray, target_range: tuple[float, float] | None) -> None:
    if not isinstance(images, np.ndarray) or images.dtype not in (np.uint8, np.float32):
        received = getattr(images, "dtype", type(images).__name__)
        raise ValueError(
            f"Expected {what} to be a uint8 or float32 NumPy array. Received: {received}. Cast it."
        )
    if target_range is None:
        _check_series(what, images)
        return
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"Expected {what} to have shape (images, height, width, channels), none of them 0. "
            f"Received: shape {images.shape}. For grey images add an axis: `images[..., None]`."
        )
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low + high) or low < target_range[0] or high > target_range[1]:
        raise ValueError(
            f"Expected {what} to be finite and in {target_range[0]:g}..{target_range[1]:g}. "
            f"Received: values from {low} to {high}. Replace NaN and rescale."
        )
    check_set(check_range(images, target_range), target_range)


def _check_series(what: str, series: np.ndarray) -> None:
    if series.ndim not in (2, 3) or 0 in series.shape or not np.isfinite(series).all():
        raise ValueError(
            f"Expected {what} to be series (n, length) or (n, length, channels), finite, because "
            f"they have no `target_range`. Received: shape {series.shape}. Pass `target_range` for "
            "images; fill missing values in."
        )


def _check_length(name: str, what: str, values: np.ndarray | None, count: int) -> None:
    if values is not None and len(values) != count:
        unit = {"train_groups": "group", "train_weight": "weight"}.get(what, "value")
        raise ValueError(
            f"Expected one {unit} for each training image of {name!r}. "
            f"Received: {len(values)} {unit}s, {count} images."
        )


def _check_weight(name: str, weight: np.ndarray | None) -> None:
    if weight is None:
        return
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError(
            f"Expected the weights of {name!r} to be finite, 0 or more, and not all 0. "
            f"Received: values from {weight.min()} to {weight.max()}."
        )


def _check_validation(name: str, rows: np.ndarray | None) -> None:
    if rows is not None and (rows.dtype != bool or rows.all() or not rows.any()):
        raise ValueError(
            f"Expected `validation_rows` of {name!r} to be true for some images and false for "
            f"others. Received: dtype {rows.dtype}, {int(np.sum(rows))} of {len(rows)} true. Pass "
            "None without a validation part."
        )


def _check_labels(
    what: str, labels: np.ndarray, num_images: int, class_names: Sequence[str]
) -> None:
    is_array = isinstance(labels, np.ndarray) and labels.dtype.kind in "iu"
    if is_array and labels.ndim == 2:
        _check_findings(what, labels, num_images, class_names)
        return
    if not is_array or labels.ndim != 1:
        received = (
            f"{labels.dtype} of shape {labels.shape}"
            if isinstance(labels, np.ndarray)
            else type(labels).__name__
        )
        raise ValueError(
            f"Expected {what} to be a one-dimensional integer NumPy array. Received: {received}. "
            "For one-hot labels pass `labels.argmax(axis=1)`."
        )
    if len(labels) != num_images:
        raise ValueError(
            f"Expected {what} to have one label per image. "
            f"Received: {len(labels)} labels, {num_images} images."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(class_names):
        raise ValueError(
            f"Expected {what} in 0..{len(class_names) - 1}, one for each class name. "
            f"Received: labels from {low} to {high}."
        )


def _check_findings(
    what: str, labels: np.ndarray, num_images: int, class_names: Sequence[str]
) -> None:
    if labels.shape != (num_images, len(class_names)) or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"Expected {what} to be rows of 0 and 1, ({num_images}, {len(class_names)}): one row "
            f"an image, one column a class name. Received: shape {labels.shape}, values "
            f"{np.unique(labels)[:5].tolist()}. For classes pass one number an image."
        )


__all__ = ["split_train_test", "split_validation"]


def published_target(
    name: str, parts: Any, class_names: tuple[str, ...], origin: str
) -> TargetData:
    """A target of `(train images, labels), (test images, labels)`, as Keras loads them."""
    (train_images, train_labels), (test_images, test_labels) = parts
    if train_images.ndim == 3:
        train_images, test_images = train_images[..., None], test_images[..., None]
    return TargetData(
        name,
        train_images,
        train_labels.ravel().astype(np.int64),
        test_images,
        test_labels.ravel().astype(np.int64),
        class_names=class_names,
        origin=origin,
    )


def split_train_test(
    images: np.ndarray, labels: np.ndarray, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Splits images stratified by class; every class keeps at least one training image.

    Args:
        images: Array of shape `(num_images, height, width, channels)`.
        labels: Integer array of shape `(num_images,)`.
        test_fraction: Share of the test part, above 0 and below 1.
        seed: Non-negative integer that decides the split.

    Returns:
        Training images, training labels, test images and test labels, in the order that they had.

    Raises:
        ValueError: As `split_validation`.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.datasets.target_data import split_train_test

        images, labels = np.zeros((10, 8, 8, 1), "uint8"), np.arange(10) % 2
        parts = split_train_test(images, labels, test_fraction=0.2, seed=0)
        print([len(part) for part in parts])  # [8, 8, 2, 2]
        ```
    """
    train, test = split_validation(images, labels, test_fraction, seed)
    return images[train], labels[train], images[test], labels[test]
