"""Candidates of a layer that is called row by row, whatever arguments its `call` takes."""

import keras
import numpy as np
import pytest
from checks.tiny_models import random_images

from keras_reprogram.program.candidate_images import candidate_images

SHAPE = (4, 4, 3)


class Brighter(keras.layers.Layer):
    """A program without `transform`, and without an argument `training`."""

    target_shape = SHAPE

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(3,), initializer="zeros", name="bias")

    def call(self, images):
        return (images + self.bias)[:, None]


class Noisy(Brighter):
    """Random while training."""

    def build(self, input_shape):
        super().build(input_shape)
        self.dropout = keras.layers.Dropout(0.9, seed=0)

    def call(self, images, training=True):
        return self.dropout(super().call(images), training=training)


class Passing(Noisy):
    def call(self, images, **options):
        return super().call(images, **options)


@pytest.mark.parametrize("layer", [Brighter, Noisy, Passing])
@pytest.mark.parametrize("rows", [1, 3])
def test_each_image_meets_its_own_weights(layer, rows):
    program = layer()
    program.build((None, *SHAPE))
    images = random_images(3, SHAPE)
    values = np.arange(3 * rows, dtype="float32").reshape(rows, 3)
    found = keras.ops.convert_to_numpy(candidate_images(program, images, values))
    expected = (images + values[:, None, None, :])[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
