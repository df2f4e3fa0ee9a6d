"""Baseline from scratch: a small network on the target's images, without a source model."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np

from keras_reprogram.baselines.baseline import Baseline, check_images, rotate
from keras_reprogram.baselines.lossless_rotation import LosslessRotation
from keras_reprogram.baselines.training_loop import (
    AS_THEY_ARE,
    Augmentation,
    BatchTraining,
    best_length,
    in_parts,
)
from keras_reprogram.fitting.validation import split_validation
from keras_reprogram.inner_networks import float32_policy

# Training is looked at on validation after every so many steps.
ROUND_STEPS = 25
# Training ends after so many rounds without a better validation accuracy, or after three epochs if
# they are longer: 16 rounds are less than two epochs of 10,000 images, which is too short to tell.
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
    # The learning rate falls, because at a constant one validation accuracy changes by several
    # percent from round to round, and the last step would be good or bad by chance.
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
    """Subtracts the mean image and scales pixels to unit variance, without rotation."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    mean = rows.mean(axis=0)
    return LosslessRotation(mean, float(np.std(rows - mean)) or 1.0, None)


WIDTHS = (24, 48, 96)
# Images above this side are halved by the first convolution.
LARGEST_SIDE = 48
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
DROPOUT = 0.3
ROWS_AT_ONCE = 256


class SmallNetwork:
    """Three convolutions with batch normalisation, average pooling, one dense layer.

    Trained with AdamW. It is built, shuffled and augmented from `seed` alone, so that a second one
    takes the same steps.

    Args:
        image_shape: `(height, width, channels)`.
        num_classes: Number of classes, 2 or more.
        augmentation: How training images are moved.
        seed: Non-negative integer.
        most_steps: After how many steps the learning rate, which falls all along, has come to 0;
            `None` for a constant one.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        augmentation: Augmentation = AS_THEY_ARE,
        seed: int = 0,
        most_steps: int | None = None,
    ) -> None:
        self.image_shape = image_shape
        # A baseline is the same figure whatever policy the user's own networks have.
        with float32_policy():
            self._model = _build(image_shape, num_classes, seed, most_steps)
        self.num_weights = self._model.count_params()
        random = np.random.default_rng(seed)
        self._training = BatchTraining(self._model, BATCH_SIZE, augmentation, random)

    @property
    def steps_taken(self) -> int:
        """Batches that it was trained on."""
        return self._training.steps_taken

    def train(self, rows: np.ndarray, labels: np.ndarray, steps: int) -> None:
        """Trains for more steps; later calls continue from there."""
        self._training.train(self._images(rows), labels, steps)

    def predict_probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities, float32 `(m, num_classes)`."""
        answer = partial(self._model, training=False)
        return in_parts(answer, self._images(rows), ROWS_AT_ONCE)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Labels, integers `(m,)`."""
        return self.predict_probabilities(rows).argmax(axis=1)

    def _images(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(-1, *self.image_shape).astype(np.float32)


def _build(
    image_shape: tuple[int, int, int], num_classes: int, seed: int, most_steps: int | None
) -> keras.Model:
    layers = keras.layers
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(len(WIDTHS) + 2)]
    inputs = values = keras.Input(image_shape)
    for depth, width in enumerate(WIDTHS):
        halved = depth == 0 and min(image_shape[:2]) > LARGEST_SIDE
        values = layers.Conv2D(
            width,
            3,
            strides=2 if halved else 1,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=seeds[depth]),
        )(values)
        values = layers.ReLU()(layers.BatchNormalization(momentum=0.95)(values))
        if depth < len(WIDTHS) - 1 and min(values.shape[1:3]) >= 4:
            values = layers.MaxPooling2D()(values)
    values = layers.Dropout(DROPOUT, seed=seeds[-2])(layers.GlobalAveragePooling2D()(values))
    outputs = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[-1]),
    )(values)
    model = keras.Model(inputs, outputs)
    rate: Any = LEARNING_RATE
    if most_steps is not None:
        rate = keras.optimizers.schedules.PolynomialDecay(LEARNING_RATE, most_steps, 0.0)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY),
        loss="sparse_categorical_crossentropy",
        jit_compile=False,
    )
    return model
