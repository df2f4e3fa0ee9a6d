"""row_loss: the mean over rows is the loss that Keras compiles."""

import keras
import numpy as np
import pytest
from checks.tiny_models import random_scores

from keras_reprogram.estimators.gradient_estimator import row_loss

PROBABILITIES = random_scores(7, labels=4)[:, 0]
INTEGERS = np.arange(7) % 4
ONE_HOT = np.eye(4, dtype="float32")[INTEGERS]

LOSSES = [
    ("sparse_categorical_crossentropy", INTEGERS),
    ("sparse_categorical_crossentropy", INTEGERS[:, None]),
    ("SparseCategoricalCrossentropy", INTEGERS),
    ("categorical_crossentropy", ONE_HOT),
    ("mse", ONE_HOT),
    (keras.losses.CategoricalCrossentropy(label_smoothing=0.2), ONE_HOT),
    (keras.losses.CategoricalFocalCrossentropy(gamma=3.0), ONE_HOT),
    (keras.losses.BinaryFocalCrossentropy(), ONE_HOT),
    (lambda labels, found: keras.ops.mean(keras.ops.abs(labels - found), axis=-1), ONE_HOT),
    # A function of one's own may leave an axis.
    (lambda labels, found: keras.ops.abs(labels - found), ONE_HOT),
]


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(("loss", "labels"), LOSSES)
def test_mean_of_rows_is_the_compiled_loss(loss, labels):
    rows = keras.ops.convert_to_numpy(row_loss(loss)(labels, PROBABILITIES))
    assert rows.shape == (7,)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Identity()])
    model.compile(loss=loss)
    expected = model.evaluate(PROBABILITIES, labels, verbose=0)
    assert rows.mean() == pytest.approx(expected, rel=1e-5)
    alone = [row_loss(loss)(labels[i : i + 1], PROBABILITIES[i : i + 1]) for i in range(7)]
    np.testing.assert_allclose(rows, np.ravel(alone), rtol=1e-5)


REFUSED = [
    (None, "exactly one loss. Received: loss=None"),
    (["mse", "mae"], "exactly one loss"),
    ({"output": "mse"}, "exactly one loss"),
    (keras.losses.MeanSquaredError(reduction="sum"), "reduction='sum'. Use"),
    (keras.losses.MeanSquaredError(reduction=None), "reduction=None"),
]


@pytest.mark.parametrize(("loss", "message"), REFUSED)
def test_other_losses_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        row_loss(loss)
