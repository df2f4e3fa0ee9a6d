"""Seeded, stratified sampling and validation splits; validation scores."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def strata(labels: np.ndarray) -> np.ndarray:
    """What draws and splits are balanced by, `(n,)`: the class of each image.

    Of several findings an image, `(n, K)` of 0 and 1, the rarest finding that it has, and K where
    it has none: a draw that keeps the shares of these has some of every finding.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        return labels
    counts = labels.sum(axis=0)
    rarest = np.where(labels == 1, counts, len(labels) + 1).argmin(axis=1)
    return np.where(labels.any(axis=1), rarest, labels.shape[1])


def draw_stratified(labels: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Draws `count` sorted positions; every class keeps its share and has at least one.

    Labels are `(n,)`, or of several findings `(n, K)`, see `strata`.
    """
    # The images of each class are shuffled and the `j`-th of `n` gets the key `(j + 0.5) / n`; the
    # smallest keys are drawn. So draws with one seed are nested: the 100 of `count=100` are among
    # the 200 of `count=200`.
    labels = _checked_labels(labels)
    num_classes = len(np.unique(labels))
    if count > len(labels):
        raise ValueError(
            f"Expected a draw of at most the {len(labels)} images that exist. Received: {count}. "
            "Ask for fewer."
        )
    if count < num_classes:
        raise ValueError(
            f"Expected a draw of at least one image for each of the {num_classes} classes. "
            f"Received: {count}. Ask for {num_classes} or more."
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(order[np.argsort(_keys(labels[order]), kind="stable")[:count]])


def split_validation(
    images: np.ndarray,
    labels: np.ndarray,
    fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Divides images into a training and a validation part, stratified by class.

    Every class keeps at least one training image, so a class with a single image is wholly in the
    training part, and a very rare class may be missing from validation.

    Args:
        images: Array of shape `(num_images, ...)`; only its length is looked at.
        labels: Integer array of shape `(num_images,)`; of several findings `(num_images, K)`, of
            0 and 1, stratified by the rarest finding of each image.
        fraction: Share of the validation part, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_images,)`. Images with one value (frames of one track,
            scans of one patient) stay together; then the share and the class balance are those of
            the groups.

    Returns:
        Two sorted integer arrays: the training positions and the validation positions.

    Raises:
        ValueError: If `fraction` is not between 0 and 1, if lengths differ, or if there is nothing
            left for validation because every class has a single image (or group).

    Example:
        ```python
        import numpy as np
        from keras_reprogram.fitting.validation import split_validation

        images, labels = np.zeros((20, 8, 8, 1)), np.arange(20) % 2
        train_index, validation_index = split_validation(images, labels, fraction=0.2)
        print(len(train_index), len(validation_index))  # 16 4
        ```
    """
    labels = _checked_labels(labels)
    _check_split(len(images), labels, fraction, groups)
    if groups is None:
        train = draw_stratified(labels, _train_count(labels, fraction), seed)
        return train, np.setdiff1d(np.arange(len(labels)), train)
    _, member = np.unique(np.reshape(groups, -1), return_inverse=True)
    group_labels = majority_labels(member, labels)
    train_groups = draw_stratified(group_labels, _train_count(group_labels, fraction), seed)
    in_train = np.isin(member, train_groups)
    return np.flatnonzero(in_train), np.flatnonzero(~in_train)


def _keys(labels: np.ndarray) -> np.ndarray:
    keys = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        keys[members] = (np.arange(len(members)) + 0.5) / len(members)
        keys[members[0]] = -1.0
    return keys


def majority_labels(member: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The commonest label of each group; `member` holds the group's number of each row."""
    classes, label_index = np.unique(labels, return_inverse=True)
    counts = np.zeros((member.max() + 1, len(classes)), dtype=np.int64)
    np.add.at(counts, (member, label_index), 1)
    return classes[counts.argmax(axis=1)]


def _train_count(labels: np.ndarray, fraction: float) -> int:
    spare = len(labels) - len(np.unique(labels))
    if spare == 0:
        raise ValueError(
            "Expected a class with at least two images (or groups), so that one can be held out. "
            f"Received: {len(labels)} images (or groups) of {len(labels)} classes. Add images."
        )
    return len(labels) - min(max(1, round(fraction * len(labels))), spare)


def _checked_labels(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim not in (1, 2) or len(labels) == 0 or labels.dtype.kind not in "iu":
        raise ValueError(
            "Expected `labels` to be a non-empty integer array of shape (num_images,), or of "
            "several findings (num_images, findings). "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )
    return strata(labels)


def _check_split(
    num_images: int, labels: np.ndarray, fraction: float, groups: np.ndarray | None
) -> None:
    if not 0 < fraction < 1:
        raise ValueError(
            f"Expected `fraction` above 0 and below 1. Received: fraction={fraction}. Try 0.2."
        )
    num_groups = num_images if groups is None else np.size(groups)
    if not num_images == len(labels) == num_groups:
        raise ValueError(
            "Expected images, labels and groups of one length. "
            f"Received: {num_images} images, {len(labels)} labels, {num_groups} groups."
        )


# A probability below this is a miss like any other; its logarithm stays finite.
_SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True, order=True)
class ValidationScore:
    """Weighted figures of held-out images; the smaller one has the lower loss.

    Args:
        loss: mean cross-entropy, in nats, >= 0.
        error: share that is read wrong, in [0, 1].
        losses: cross-entropy of each image, `(m,)`, or `None`.
    """

    loss: float
    error: float
    losses: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Accuracy in [0, 1]."""
        return 1.0 - self.error

    def beats(self, best: ValidationScore) -> bool:
        """Whether it beats the best so far: lower loss, and no more errors."""
        # Accuracy alone is too coarse on a few hundred images, and loss alone may trade right
        # answers for more confident ones.
        return self.loss < best.loss and self.error <= best.error

    def clearly_beats(
        self,
        best: ValidationScore,
        weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        standard_errors: float = 1.0,
    ) -> bool:
        """Whether it also does so by more than the standard error of the difference."""
        if not self.beats(best) or self.losses is None or best.losses is None:
            return self.beats(best)
        gain, error = paired_gain(best.losses, self.losses, weight, groups)
        return gain > standard_errors * error


def paired_gain(
    before: np.ndarray,
    after: np.ndarray,
    weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """How much lower losses of the same images are on average, and the standard error of that.

    Args:
        before: `(m,)`.
        after: `(m,)`.
        weight: `(m,)` non-negative, or `None`.
        groups: `(m,)` or `None`; images of one value vary together and count as one.
    """
    share = np.ones(len(before)) if weight is None or not np.any(weight) else np.asarray(weight)
    share = share / share.sum()
    gains = np.asarray(before, np.float64) - after
    gain = float(share @ gains)
    parts = share * (gains - gain)
    counted = np.count_nonzero(share)
    if groups is not None:
        member = np.unique(groups, return_inverse=True)[1]
        counted = np.count_nonzero(np.bincount(member, share))
        parts = np.bincount(member, parts)
    if counted < 2:
        return gain, np.inf
    return gain, float(np.sqrt(counted / (counted - 1) * np.sum(np.square(parts))))


# What anything beats.
NOTHING_YET = ValidationScore(np.inf, 1.0)


def validation_score(
    probabilities: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> ValidationScore:
    """Weighted cross-entropy and error; if all weights are 0, images count alike.

    Of several findings, labels `(n, K)`, each pair of an image and a finding counts: the mean
    binary cross-entropy, and the share of pairs that are read wrong at .5.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    shape = labels.shape
    if labels.ndim == 2:
        if sample_weight is not None and sample_weight.ndim == 1:
            sample_weight = np.repeat(sample_weight, labels.shape[1])
        sample_weight = None if sample_weight is None else sample_weight.ravel()
        labels, p = labels.ravel().astype(int), probabilities.ravel()
        probabilities = np.stack([1 - p, p], axis=1)
    if sample_weight is not None and not np.any(sample_weight):
        sample_weight = None
    own = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.maximum(own, _SMALLEST_PROBABILITY))
    misses = probabilities.argmax(axis=1) != labels
    return ValidationScore(
        float(np.average(losses, weights=sample_weight)),
        float(np.average(misses, weights=sample_weight)),
        losses.reshape(shape[0], -1).mean(axis=1),
    )
