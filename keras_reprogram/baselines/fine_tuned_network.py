"""A copy of a source with a head of its own, all of whose weights are trained."""

import keras
import numpy as np

from keras_reprogram.baselines.augmentation import Augmentation
from keras_reprogram.baselines.batch_stream import BatchStream
from keras_reprogram.float32_policy import float32_policy
from keras_reprogram.output_map.new_head import NewHead
from keras_reprogram.program.program_layer import ProgramLayer
from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.source.keras_classifier import features_of
from keras_reprogram.source.network_numbers import float_images
from keras_reprogram.training.map_fitting import MapFit, fit_logistic_regression

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

    Example:
        ```python
        import numpy as np
        from keras_reprogram import FrozenSource
        from keras_reprogram.baselines.augmentation import Augmentation
        from keras_reprogram.baselines.fine_tuned_network import FineTunedNetwork

        source = FrozenSource.from_application(
            "MobileNet", weights=None, alpha=0.25, input_shape=(32, 32, 3)
        )
        network = FineTunedNetwork(source, (8, 8, 1), 2, (0, 255), Augmentation())
        images, labels = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 1)), np.arange(8) % 2
        network.start_at_linear_head(images, labels)
        network.learn_at(1e-4)
        network.train(images, labels, steps=1)
        print(network.predict(images).shape)  # (8,)
        ```
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
        self._start = self._values()

    def start_at_linear_head(
        self, images: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
    ) -> None:
        """Goes back to the source's weights, with the head that is best for its features.

        A head drawn at random would send noise through all layers, and spoil them first.

        Args:
            images: Array of shape `(n, height, width, channels)`.
            labels: Integer array of shape `(n,)`.
            groups: Array of shape `(n,)` or `None`; images of one group stay on one side of the
                split that chooses the head's regularisation.
        """
        self._go_back()
        features = _in_parts(self._features, images)[:, None]

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
        self._start = self._values()

    def learn_at(self, learning_rate: float) -> None:
        """Goes back to the start, to train with Adam at another learning rate.

        Args:
            learning_rate: Above 0.
        """
        self._go_back()
        self._optimizer.learning_rate = learning_rate
        self._random = np.random.default_rng(self.seed)
        self._stream = BatchStream(BATCH_SIZE, self._random)
        self.steps_taken = 0

    def train(self, images: np.ndarray, labels: np.ndarray, steps: int) -> None:
        """Takes further steps; later calls go on where the last one ended.

        Args:
            images: Array of shape `(n, height, width, channels)`, the same at every call.
            labels: Integer array of shape `(n,)`.
            steps: How many batches.
        """
        for _ in range(steps):
            rows = self._stream.next(len(images))
            moved = self.augmentation.apply(images[rows], self._random)
            self._model.train_on_batch(moved, labels[rows])
        self.steps_taken += steps

    def predict_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predicts probabilities.

        Args:
            images: Array of shape `(m, height, width, channels)`, at least one image.

        Returns:
            float32 array of shape `(m, num_classes)`.
        """
        return _in_parts(self._model, images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Predicts labels.

        Args:
            images: Array of shape `(m, height, width, channels)`, at least one image.

        Returns:
            Integer array of shape `(m,)`.
        """
        return self.predict_probabilities(images).argmax(axis=1)

    @property
    def _variables(self) -> list[keras.Variable]:
        return self._model.weights + self._optimizer.variables

    def _values(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._variables]

    def _go_back(self) -> None:
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)


class _InInference(keras.layers.Layer):
    """A network that is trained as it predicts.

    In a functional model `network(pixels, training=False)` would not do: the model's own `training`
    replaces it.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        features = self.network(pixels, training=False)
        self.network._clear_losses()
        return features


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


def _in_parts(model: keras.Model, images: np.ndarray) -> np.ndarray:
    starts = range(0, len(images), ROWS_AT_ONCE)
    return np.concatenate([model.predict_on_batch(images[s : s + ROWS_AT_ONCE]) for s in starts])
