"""What a network learns from the target's images alone, without any source model."""

from functools import partial

import numpy as np

from keras_reprogram.baselines.augmentation import Augmentation
from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.best_length import best_length
from keras_reprogram.baselines.image_data import check_images
from keras_reprogram.baselines.rotated_inputs import rotate
from keras_reprogram.baselines.small_network import BATCH_SIZE, SmallNetwork
from keras_reprogram.training.lossless_rotation import LosslessRotation
from keras_reprogram.training.validation_split import split_validation

# Training is looked at on validation after every so many steps.
ROUND_STEPS = 25
# Rounds without a better validation accuracy after which it is given up; three epochs where they
# are longer: 16 rounds are no two epochs of 10,000 images, and say little.
PATIENCE = 16
PATIENCE_EPOCHS = 3
MOST_STEPS = 2000
# Training images are moved by at most this share of a side.
SHIFT = 0.1
NAME = "network from scratch"


def fit_scratch(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    augment: bool = True,
    mirror: bool = False,
    most_steps: int = MOST_STEPS,
) -> Baseline:
    """Trains a small convolutional network on the target's images, its length chosen on validation.

    Beside it a result shows what the source knew: a network of about 50,000 weights that sees
    nothing but these images. AdamW's rate falls to 0 over `most_steps`. The number of steps
    (batches of 32) with the best validation accuracy, of equals the one with the smallest loss, is
    taken again on all images.

    Args:
        train_images: Array of shape `(num_images, height, width, channels)`, any range.
        train_labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides split, first weights, order and shifts.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.
        augment: Whether training images are shifted by up to a tenth of a side.
        mirror: Whether left and right may change places too: right for photographs, wrong for
            digits and signs.
        most_steps: Most steps of the first training, at least 1; 400, or three epochs where
            those are longer, without a better validation accuracy end it before.

    Returns:
        A `Baseline` named `"network from scratch"`, whose `note` says how images were augmented;
        `converged` is `False` where validation was still getting better at the last step.

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
    check_images(images, labels, num_classes)
    if most_steps < 1:
        raise ValueError(
            f"Expected `most_steps` of at least 1. Received: most_steps={most_steps}. Try 2000."
        )
    augmentation = Augmentation(SHIFT if augment else 0.0, mirror)
    train, held_out = split_validation(images, labels, validation_fraction, seed, groups)
    shape = images.shape[1:]
    scaling = _scaling(images[train])
    # The rate falls, or the last step would be as good or bad as chance has it: at a constant one
    # validation changes by several percent from round to round.
    start = partial(
        SmallNetwork,
        shape,
        num_classes,
        augmentation=augmentation,
        seed=seed,
        most_steps=most_steps,
    )
    best = best_length(
        start(),
        (rotate(scaling, images[train]), labels[train]),
        (rotate(scaling, images[held_out]), labels[held_out]),
        most_steps=most_steps,
        round_steps=ROUND_STEPS,
        patience=_patience(len(train)),
    )
    scaling = _scaling(images)
    network = start()
    network.train(rotate(scaling, images), labels, best.steps)
    note = f"{network.num_weights:,} weights, {best.steps} steps of {BATCH_SIZE}; {augmentation}"
    return Baseline(NAME, best.accuracy, len(labels), best.converged, scaling, network, note)


def _patience(num_images: int) -> int:
    """Rounds to wait with so many training images."""
    return max(PATIENCE, -(-PATIENCE_EPOCHS * num_images // (BATCH_SIZE * ROUND_STEPS)))


def _scaling(images: np.ndarray) -> LosslessRotation:
    """Takes the mean image off and gives pixels unit variance; no axis is turned."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    mean = rows.mean(axis=0)
    return LosslessRotation(mean, float(np.std(rows - mean)) or 1.0, None)
