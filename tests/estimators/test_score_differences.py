"""`differences="scores"`: losses linear in the source's scores, with the exact gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import images_and_labels, opaque_source, program_for, small_model

from keras_reprogram import GradientEstimator, MultiLabelMap

COUNT = 5
IMAGES, LABELS = images_and_labels(COUNT)
WEIGHT = np.linspace(0.5, 2, COUNT).astype("float32")


class Recorded(GradientEstimator):
    """Asks two candidates that differ much, so that linear is not the same as exact."""

    queries_per_image = 2

    def __init__(self, differences):
        self.differences = differences

    def estimate(self, losses, value, clean_losses, active, seed):
        random = np.random.default_rng(0)
        self.candidates = random.normal(0, 0.5, (2, 1, value.shape[0])).astype("float32")
        self.clean = np.asarray(clean_losses)
        self.found = np.asarray(losses(tf.constant(self.candidates)))
        return keras.ops.zeros_like(value)

    def get_config(self):
        return {"differences": self.differences}


def asked(differences, output_map, sample_weight, num_views):
    estimator = Recorded(differences)
    source = opaque_source()
    program = program_for(source, num_views, grid=3, masked=False)
    model = small_model(source, output_map, estimator=estimator, program=program, learning_rate=0.0)
    model.fit(
        IMAGES, LABELS, sample_weight=sample_weight, batch_size=COUNT, shuffle=False, verbose=0
    )
    return model, estimator


def scores_under(model, candidate):
    before = keras.ops.convert_to_numpy(model.program.program_weights)
    model.program.program_weights.assign(candidate.reshape(before.shape))
    scores = np.asarray(model.asker.scores_of(IMAGES))
    model.program.program_weights.assign(before)
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("num_views", [1, 2])
@pytest.mark.parametrize("sample_weight", [None, WEIGHT])
@pytest.mark.parametrize("output_map", [None, MultiLabelMap])
def test_losses_are_linear_in_the_scores(output_map, sample_weight, num_views):
    if output_map is not None:
        output_map = output_map(3, weights=np.eye(5, 3) + 0.1)
    model, estimator = asked("scores", output_map, sample_weight, num_views)
    clean = tf.constant(np.asarray(model.asker.scores_of(IMAGES)))
    weight = np.ones(COUNT) if sample_weight is None else sample_weight
    losses, slopes = [], []
    for row in range(COUNT):
        one = clean[row : row + 1]
        with tf.GradientTape() as tape:
            tape.watch(one)
            loss = keras.losses.sparse_categorical_crossentropy(
                LABELS[row : row + 1], model.output_map(one)
            )
        losses.append(weight[row] * loss.numpy()[0])
        slopes.append(weight[row] * tape.gradient(loss, one).numpy()[0])
    np.testing.assert_allclose(estimator.clean, losses, rtol=1e-4)
    for found, candidate in zip(estimator.found, estimator.candidates, strict=True):
        moved = scores_under(model, candidate) - clean.numpy()
        expected = losses + (np.array(slopes) * moved).sum(axis=(1, 2))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_losses_as_they_are_differ_from_the_linear_ones():
    found = [asked(each, None, None, 1)[1].found for each in ("loss", "scores")]
    assert np.abs(found[0] - found[1]).max() > 0.01
