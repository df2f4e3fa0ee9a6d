"""A small convolutional network with scikit-learn's `predict`, for a few thousand small images."""

from typing import Any

import keras
import numpy as np

from keras_reprogram.baselines.augmentation import AS_THEY_ARE, Augmentation
from keras_reprogram.baselines.batch_stream import BatchStream
from keras_reprogram.float32_policy import float32_policy

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

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.small_network import SmallNetwork

        labels = np.arange(32) % 2
        rows = np.repeat(labels[:, None] * 2.0 - 1.0, 64, axis=1)
        network = SmallNetwork((8, 8, 1), num_classes=2)
        network.train(rows, labels, steps=30)
        print(network.predict(rows).shape)  # (32,)
        ```
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
        self.augmentation = augmentation
        self.seed = seed
        self.steps_taken = 0
        # A baseline is the same figure whatever policy the user's own networks have.
        with float32_policy():
            self._model = _build(image_shape, num_classes, seed, most_steps)
        self.num_weights = self._model.count_params()
        self._random = np.random.default_rng(seed)
        self._stream = BatchStream(BATCH_SIZE, self._random)

    def train(self, rows: np.ndarray, labels: np.ndarray, steps: int) -> None:
        """Takes further steps; later calls go on where the last one ended.

        Args:
            rows: float array of shape `(n, height * width * channels)`, about unit variance; the
                same ones at every call.
            labels: Integer array of shape `(n,)`.
            steps: How many batches.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.baselines.small_network import SmallNetwork

            network = SmallNetwork((8, 8, 1), num_classes=2)
            network.train(np.zeros((4, 64)), np.array([0, 1, 0, 1]), steps=2)
            print(network.steps_taken)  # 2
            ```
        """
        images = self._images(rows)
        for _ in range(steps):
            batch = self._stream.next(len(rows))
            moved = self.augmentation.apply(images[batch], self._random)
            self._model.train_on_batch(moved, labels[batch])
        self.steps_taken += steps

    def predict_probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Predicts probabilities.

        Args:
            rows: float array of shape `(m, height * width * channels)`, at least one row.

        Returns:
            float32 array of shape `(m, num_classes)`.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.baselines.small_network import SmallNetwork

            network = SmallNetwork((8, 8, 1), num_classes=2)
            print(network.predict_probabilities(np.zeros((3, 64))).sum(axis=1))  # [1. 1. 1.]
            ```
        """
        images = self._images(rows)
        parts = [
            keras.ops.convert_to_numpy(
                self._model(images[start : start + ROWS_AT_ONCE], training=False)
            )
            for start in range(0, len(images), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Predicts labels.

        Args:
            rows: float array of shape `(m, height * width * channels)`, at least one row.

        Returns:
            Integer array of shape `(m,)`.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.baselines.small_network import SmallNetwork

            network = SmallNetwork((8, 8, 1), num_classes=2)
            print(network.predict(np.zeros((3, 64))).shape)  # (3,)
            ```
        """
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
