"""What a network learns from the target's images alone, without any source model."""

import numpy as np

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.rotated_inputs import rotate
from keras_reprogram.baselines.small_network import SmallNetwork
from keras_reprogram.training.lossless_rotation import LosslessRotation
from keras_reprogram.training.validation_split import split_validation

# Training is looked at on validation after every so many steps.
ROUND_STEPS = 25
# Rounds without a better validation accuracy after which it is given up.
PATIENCE = 16
MOST_STEPS = 2000
NAME = "network from scratch"


def fit_scratch(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    mirror: bool = False,
    most_steps: int = MOST_STEPS,
) -> Baseline:
    """Trains a small convolutional network on the target's images, its length chosen on validation.

    Beside it a result shows what the source knew: a network of about 50,000 weights that sees
    nothing but these images, shifted by up to a tenth of a side. The number of steps (batches of
    32) with the best validation accuracy, of equals the one with the smallest loss, is taken again
    on all images.

    Args:
        train_images: Array of shape `(num_images, height, width, channels)`, any range.
        train_labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides split, first weights, order and shifts.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.
        mirror: Whether left and right may change places in training images: right for photographs,
            wrong for digits and signs.
        most_steps: Most steps of the first training, at least 1; 400 without a better validation
            accuracy end it before.

    Returns:
        A `Baseline` named `"network from scratch"`; `converged` is `False` where validation was
        still getting better at the last step.

    Raises:
        ValueError: For images that are not of rank 4, NaN, labels out of range, fewer than two
            classes, too few images to hold one out, or `most_steps` below 1.

    Example:
        ```python
        from keras_reprogram.baselines import fit_scratch
        from keras_reprogram.datasets import load_target

        digits = load_target("digits").draw(100, None, seed=0)
        baseline = fit_scratch(
            digits.train_images, digits.train_labels, num_classes=10, most_steps=50
        )
        print(baseline.name, round(baseline.validation_accuracy, 2))
        ```
    """
    images, labels = np.asarray(train_images), np.asarray(train_labels)
    _check(images, labels, num_classes, most_steps)
    train, held_out = split_validation(images, labels, validation_fraction, seed, groups)
    shape = images.shape[1:]
    scaling = _scaling(images[train])
    steps, accuracy, converged = _best_length(
        SmallNetwork(shape, num_classes, mirror=mirror, seed=seed),
        (rotate(scaling, images[train]), labels[train]),
        (rotate(scaling, images[held_out]), labels[held_out]),
        most_steps,
    )
    scaling = _scaling(images)
    network = SmallNetwork(shape, num_classes, mirror=mirror, seed=seed)
    network.train(rotate(scaling, images), labels, steps)
    return Baseline(NAME, accuracy, len(labels), converged, scaling, network)


def _best_length(
    network: SmallNetwork,
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    most_steps: int,
) -> tuple[int, float, bool]:
    """The best number of steps, its validation accuracy, and whether more would not help."""
    rows, labels = held_out
    best, best_steps = (-1.0, 0.0), 0
    while network.steps_taken < most_steps:
        network.train(*train, min(ROUND_STEPS, most_steps - network.steps_taken))
        probabilities = network.predict_probabilities(rows)
        own = probabilities[np.arange(len(labels)), labels]
        reached = (
            float(np.mean(probabilities.argmax(axis=1) == labels)),
            float(np.mean(np.log(np.maximum(own, 1e-7)))),
        )
        if reached > best:
            best, best_steps = reached, network.steps_taken
        elif network.steps_taken - best_steps >= PATIENCE * ROUND_STEPS:
            break
    return best_steps, best[0], best_steps < network.steps_taken


def _scaling(images: np.ndarray) -> LosslessRotation:
    """Takes the mean image off and gives pixels unit variance; no axis is turned."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    mean = rows.mean(axis=0)
    return LosslessRotation(mean, float(np.std(rows - mean)) or 1.0, None)


def _check(images: np.ndarray, labels: np.ndarray, num_classes: int, most_steps: int) -> None:
    if images.ndim != 4 or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise ValueError(
            "Expected images of shape (num_images, height, width, channels) with one integer "
            f"label each. Received: images {images.shape}, labels {labels.shape} of "
            f"{labels.dtype}. For grey images add an axis: `images[..., None]`."
        )
    present = np.unique(labels)
    if len(present) < 2 or present[0] < 0 or present[-1] >= num_classes:
        raise ValueError(
            f"Expected labels of two or more classes in 0..{num_classes - 1}. "
            f"Received: {len(present)} classes, {present[:5].tolist()} first."
        )
    if not np.isfinite(images).all():
        raise ValueError("Expected finite images. Received: NaN or infinity. Remove those rows.")
    if most_steps < 1:
        raise ValueError(
            f"Expected `most_steps` of at least 1. Received: most_steps={most_steps}. Try 2000."
        )
