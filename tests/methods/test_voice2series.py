"""voice2series_2021: the paper's formula and settings, and that it learns, with a small source."""

import keras
import numpy as np
import pytest

from keras_reprogram import FrozenSource
from keras_reprogram.methods import build_method

pytestmark = pytest.mark.slow

SAMPLES, LABELS, LENGTH = 120, 9, 20


def source():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((SAMPLES,)),
            layers.Reshape((SAMPLES, 1)),
            layers.Conv1D(8, 5, strides=2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(LABELS, activation="softmax"),
        ]
    )
    return FrozenSource(network, value_range=(-1, 1))


def series():
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    waves = np.sin(np.arange(LENGTH) * np.where(labels, 0.3, 1.4)[:, None])
    return (waves + random.normal(0, 0.2, waves.shape)).astype("float32"), labels


def test_the_paper_s_parts():
    method = build_method("voice2series_2021", source(), (LENGTH,), 2, repetitions=3, dropout=0.2)
    program, output_map = method.model.program, method.model.output_map
    # floor(floor(120 / 20) / 3) * 20
    assert program.views[0].starts == range(0, 120, 40)
    assert program.source_range is None and program.dropout == 0.2 and program.scale == 1
    assert (method.epochs, method.batch_size) == (100, 32)
    assert float(method.model.optimizer.learning_rate) == pytest.approx(0.05)
    x, _ = series()
    theta = keras.ops.convert_to_numpy(program.program_weights)[0]
    assert 0 < np.abs(theta).max() <= np.sqrt(6 / (1 + SAMPLES))
    expected = theta.copy()
    for start in (0, 40, 80):
        expected[start : start + LENGTH] = x[0]
    np.testing.assert_allclose(program(x[:1])[0, 0], expected, atol=1e-6)
    assert float(sum(program.losses)) == pytest.approx(0.04 * np.sum(theta**2), rel=1e-4)
    method.model(x[:1])
    weights = keras.ops.convert_to_numpy(output_map.label_weights)
    # floor(9 / 2) labels a class, disjoint, with one mean each.
    assert (weights > 0).sum(axis=0).tolist() == [4, 4] and ((weights > 0).sum(axis=1) < 2).all()


def test_it_learns_and_leaves_the_source_alone():
    x, y = series()
    method = build_method("voice2series_2021", source(), (LENGTH,), 2, dropout=0.1)
    before = method.model.source.fingerprint
    losses = method.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and method.model.source.fingerprint == before


def test_images_are_refused():
    with pytest.raises(ValueError, match="reads series through a source of sounds. Received: tar"):
        build_method("voice2series_2021", source(), (8, 8, 1), 2)
    with pytest.raises(ValueError, match="0 copies|must not be longer|fit into 120 samples"):
        build_method("voice2series_2021", source(), (121,), 2)
