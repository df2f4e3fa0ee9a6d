"""Fine-tuning baseline: trains all weights of the source for the target."""

from __future__ import annotations

import keras
import numpy as np

from keras_reprogram.asking.images import check_range, check_set
from keras_reprogram.baselines.baseline import Baseline, check_images
from keras_reprogram.baselines.training_loop import (
    Augmentation,
    BatchTraining,
    Length,
    best_length,
    in_parts,
)
from keras_reprogram.fitting.map_fitting import MapFit, fit_logistic_regression
from keras_reprogram.fitting.validation import split_validation
from keras_reprogram.fitting.weight_copy import WeightCopy
from keras_reprogram.inner_networks import float32_policy
from keras_reprogram.output_map.new_head import NewHead
from keras_reprogram.program.program_layer import ProgramLayer
from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.source.keras_classifier import features_of
from keras_reprogram.source.network_input import float_images

NAME = "full fine-tuning"
LEARNING_RATES = (3e-5, 1e-4, 3e-4)
MOST_RATES = 3
MOST_EPOCHS = 20
# Epochs without a better validation accuracy after which a rate is given up.
PATIENCE = 3
# Training images are moved by at most this share of a side.
SHIFT = 0.1


def fit_fine_tuned(
    source: FrozenSource,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    target_range: tuple[float, float] = (0.0, 255.0),
    learning_rates: tuple[float, ...] = LEARNING_RATES,
    most_epochs: int = MOST_EPOCHS,
    augment: bool = True,
    mirror: bool = False,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Baseline:
    """Trains all weights of a copy of the source on the target's images.

    It is what reprogramming does without, and the bound that only the owner of the source can
    reach. The copy starts with the exact linear head on its features; Adam trains everything at
    each of the rates until three epochs bring no better validation accuracy. The best rate and
    number of steps are taken again on all images. BatchNorm keeps the source's statistics, and
    dropout is off.

    Args:
        source: A `FrozenSource`, e.g. of a `keras.applications` network. It stays as it is, bit
            for bit.
        train_images: Array of shape `(num_images, height, width, channels)` in `target_range`;
            resized to the source's input.
        train_labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        target_range: `(low, high)` of the images.
        learning_rates: One to three.
        most_epochs: Most epochs at each of them, at least 1.
        augment: Whether training images are shifted by up to a tenth of a side.
        mirror: Whether left and right may change places too: right for photographs, wrong for
            digits and signs.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides split, order and shifts.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.

    Returns:
        A `Baseline` named `"full fine-tuning"`; its `note` says what was chosen.

    Raises:
        ValueError: For a source that is not a `FrozenSource`, more than three rates, images that
            are not of rank 4, NaN, labels out of range, or fewer than two classes.

    Example:
        ```python
        import numpy as np
        from keras_reprogram import FrozenSource
        from keras_reprogram.baselines import fit_fine_tuned

        source = FrozenSource.from_application(
            "MobileNet", weights=None, alpha=0.25, input_shape=(32, 32, 3)
        )
        images, labels = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1)), np.arange(20) % 2
        tuned = fit_fine_tuned(
            source, images, labels, num_classes=2, learning_rates=(1e-4,), most_epochs=1
        )
        print(tuned.name, tuned.note)
        ```
    """
    images, labels = np.asarray(train_images), np.asarray(train_labels)
    check_images(images, labels, num_classes)
    check_set(check_range(images, target_range), target_range)
    _check(source, learning_rates, most_epochs)
    train, held_out = split_validation(images, labels, validation_fraction, seed, groups)
    augmentation = Augmentation(SHIFT if augment else 0.0, mirror)
    network = FineTunedNetwork(
        source, images.shape[1:], num_classes, target_range, augmentation, seed=seed
    )
    rate, best = _choice(
        network,
        (images[train], labels[train]),
        (images[held_out], labels[held_out]),
        learning_rates,
        most_epochs,
        None if groups is None else np.reshape(groups, -1)[train],
    )
    network.start_at_linear_head(images, labels, groups)
    network.learn_at(rate)
    network.train(images, labels, best.steps)
    note = (
        f"all weights of a copy of {source.model.name}; BatchNorm in inference mode, dropout off; "
        f"Adam at {rate:g}, {best.steps} steps of {BATCH_SIZE} from the linear head; {augmentation}"
    )
    return Baseline(NAME, best.accuracy, len(labels), best.converged, None, network, note)


def _choice(
    network: FineTunedNetwork,
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    learning_rates: tuple[float, ...],
    most_epochs: int,
    groups: np.ndarray | None,
) -> tuple[float, Length]:
    """The best learning rate on validation, and its number of steps."""
    network.start_at_linear_head(*train, groups)
    epoch = max(len(train[0]) // BATCH_SIZE, 1)
    tried = []
    for rate in learning_rates:
        network.learn_at(rate)
        length = best_length(
            network,
            train,
            held_out,
            most_steps=most_epochs * epoch,
            round_steps=epoch,
            patience=PATIENCE,
        )
        tried.append((rate, length))
    return max(tried, key=lambda pair: pair[1].rank())


def _check(source: FrozenSource, learning_rates: tuple[float, ...], most_epochs: int) -> None:
    if not isinstance(source, FrozenSource):
        raise ValueError(
            "Only a `FrozenSource` can be fine-tuned, because its weights are accessible. "
            f"Received: {type(source).__name__}. Load its Keras model, or leave this row out."
        )
    rates_fit = 1 <= len(learning_rates) <= MOST_RATES and min(learning_rates) > 0
    if not rates_fit or most_epochs < 1:
        raise ValueError(
            f"Expected one to {MOST_RATES} `learning_rates` above 0, and `most_epochs` of at least "
            f"1. Received: learning_rates={learning_rates}, most_epochs={most_epochs}. Try "
            f"{LEARNING_RATES} and {MOST_EPOCHS}."
        )


BATCH_SIZE = 32
ROWS_AT_ONCE = 64


class FineTunedNetwork:
    """A Keras classifier, copied, with a new head for the target's classes.

    The target image is resized to the whole of the source's input, as `placement="full"` does.
    BatchNorm keeps the statistics it was trained with, and dropout is off (`training=False`):
    batches of 32 target images would only blur what the source has seen in millions. The loss is
    the target's cross-entropy alone: regularizers of the source's layers take no part.

    Args:
        source: A `FrozenSource`; it is copied, and stays as it is.
        image_shape: `(height, width, channels)` of target images.
        num_classes: Number of classes, 2 or more.
        target_range: `(low, high)` of target images.
        augmentation: How training images are moved.
        seed: Non-negative integer that decides order and augmentation.
    """

    def __init__(
        self,
        source: FrozenSource,
        image_shape: tuple[int, int, int],
        num_classes: int,
        target_range: tuple[float, float],
        augmentation: Augmentation,
        *,
        seed: int = 0,
    ) -> None:
        self.num_classes, self.augmentation, self.seed = num_classes, augmentation, seed
        # A baseline is the same figure whatever policy the user's own networks have.
        with float32_policy():
            image = keras.Input(image_shape, dtype="float32")
            pixels = _placed(image, source, target_range)
            features = _InInference(_trainable_copy(source))(_preprocessed(pixels, source))
            self._head = NewHead(num_classes)
            self._features = keras.Model(image, features)
            self._model = keras.Model(image, self._head(keras.ops.expand_dims(features, 1)))
            self._optimizer = keras.optimizers.Adam()
            # Compiled once: each further time would trace the whole source again.
            self._model.compile(
                self._optimizer, "sparse_categorical_crossentropy", jit_compile=False
            )
            self._optimizer.build(self._model.trainable_variables)
        self._start = WeightCopy(self._variables)

    def start_at_linear_head(
        self, images: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
    ) -> None:
        """Restores the source's weights, with the best linear head for its features."""
        # A head drawn at random would send noise through all layers, and spoil them first.
        self._start.restore()
        features = in_parts(self._features.predict_on_batch, images, ROWS_AT_ONCE)[:, None]

        def solve(rows: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> MapFit:
            return fit_logistic_regression(
                rows,
                labels,
                num_classes=self.num_classes,
                sample_weight=weight,
                seed=self.seed,
                groups=groups,
            )

        self._head.fit_answers(features, labels, solver=solve)
        self._start = WeightCopy(self._variables)

    def learn_at(self, learning_rate: float) -> None:
        """Restores the start, to train with Adam at another learning rate."""
        self._start.restore()
        self._optimizer.learning_rate = learning_rate
        random = np.random.default_rng(self.seed)
        self._training = BatchTraining(self._model, BATCH_SIZE, self.augmentation, random)

    @property
    def steps_taken(self) -> int:
        """Batches that it was trained on at this learning rate."""
        return self._training.steps_taken

    def train(self, images: np.ndarray, labels: np.ndarray, steps: int) -> None:
        """Trains for more steps; later calls continue from there."""
        self._training.train(images, labels, steps)

    def predict_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float32 `(m, num_classes)`."""
        return in_parts(self._model.predict_on_batch, images, ROWS_AT_ONCE)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Labels, integers `(m,)`."""
        return self.predict_probabilities(images).argmax(axis=1)

    @property
    def _variables(self) -> list[keras.Variable]:
        return self._model.weights + self._optimizer.variables


class _InInference(keras.layers.Layer):
    """A network that is trained in inference mode.

    In a functional model `network(pixels, training=False)` would not do: the model's own `training`
    replaces it.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        # Activity regularizers of its layers are no part of the loss; this scope collects none.
        with keras.StatelessScope():
            return self.network(pixels, training=False)


def _trainable_copy(source: FrozenSource) -> keras.Model:
    """Architecture and weights of a source, up to its features, in variables of their own."""
    copy = FrozenSource.from_config(source.get_config())
    for variable, original in zip(copy.model.weights, source.model.weights, strict=True):
        variable.assign(original)
        variable.regularizer = None
    copy.model.trainable = True
    features = features_of(copy.model)
    return float_images(features) if copy.whole_numbers is None else features


def _placed(
    image: keras.KerasTensor, source: FrozenSource, target_range: tuple[float, float]
) -> keras.KerasTensor:
    program = ProgramLayer(
        image.shape[1:],
        source.source_shape,
        source_range=source.value_range,
        target_range=target_range,
        placement="full",
    )
    program.trainable = False
    return program(image)[:, 0]


def _preprocessed(pixels: keras.KerasTensor, source: FrozenSource) -> keras.KerasTensor:
    scale, offset = (np.asarray(part, np.float32) for part in source.preprocessing)
    if source.channel_order == "bgr":
        pixels = keras.ops.flip(pixels, axis=-1)
    pixels = pixels * scale + offset
    axes = source.network_input.axes
    return pixels if axes is None else keras.ops.transpose(pixels, axes)
