"""check_step: slopes that survive 8 bits, and those below quantisation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import (
    SPSA,
    CoordinateWise,
    DenseMap,
    LiteRTSource,
    ProgramLayer,
    PythonSource,
    RandomDirections,
    ReprogrammedModel,
    embedded_path,
)
from keras_reprogram.program.program import flat_value

X = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 1)).astype(np.float32)
Y = np.arange(24) % 3
SIGNS = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


class EightBits(PythonSource):
    """The embedded source behind an 8-bit encoding."""

    rounds_images = True

    def __init__(self):
        super().__init__((32, 32, 3), 43, value_range=(0, 255))

    def ask(self, images):
        return np.asarray(SIGNS(np.round(images).clip(0, 255)))

    @property
    def fingerprint(self):
        return "eight bits"


def model_of(estimator, source=None):
    program = ProgramLayer((8, 8, 1), (32, 32, 3), source_range=(0, 255), grid=4)
    model = ReprogrammedModel(program, source or EightBits(), DenseMap(3), estimator, seed=3)
    model.fit_output_map(X, Y, verbose=0)
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("estimator", [RandomDirections(2), SPSA(), CoordinateWise(2)])
def test_ordinary_steps_survive(estimator):
    model = model_of(estimator)
    before = model.queries_used
    check = model.check_step(X)
    assert model.queries_used - before == check.queries == 24
    assert check.survives and 0.5 < check.pixel_agreement < 1
    assert "survives" in str(check)


def test_steps_that_are_too_short_or_too_long():
    short, good, long = (
        model_of(RandomDirections(1, smoothing=smoothing)).check_step(X)
        for smoothing in (1e-5, 1e-2, 0.3)
    )
    assert good.survives
    assert short.pixel_agreement < 0.5 and "raise the estimator's `smoothing`" in str(short)
    assert long.pixel_agreement > 0.95 and long.answer_agreement < 0 and not long.survives


def test_a_step_below_quantisation_warns_and_its_check_is_counted():
    model = model_of(RandomDirections(1, smoothing=1e-5))
    model.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match=r"does not survive .* raise the estimator's `smoothing`"):
        history = model.fit(X, Y, epochs=1, verbose=0)
    asked = model.estimate_queries(24, recipe="fit").total
    assert history.history["queries_used"][0] == 24 + asked == 24 + 24 * 2 + 24


def test_recipe_checks_within_its_budget():
    model = model_of(RandomDirections(1, smoothing=1e-5))
    asked = model.queries_used
    with pytest.warns(UserWarning, match="does not survive"):
        fit = model.fit_opaque(X, Y, query_budget=150, choose_views=False, verbose=0)
    assert len(fit.stages) > 1 and model.queries_used - asked <= 150


def test_sources_that_round_nothing_are_not_asked():
    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    model = model_of(RandomDirections(1, smoothing=1e-5), source)
    assert model.estimate_queries(24, recipe="fit").total == 48
    assert model.check_step(X).queries == 24


def test_a_model_without_estimator_has_no_step():
    program = ProgramLayer((8, 8, 1), (32, 32, 3), source_range=(0, 255), placement="full")
    model = ReprogrammedModel(program, EightBits(), DenseMap(3))
    with pytest.raises(ValueError, match="without an estimator"):
        model.check_step(X)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3])
def test_what_survives_points_along_the_exact_slope(smoothing):
    """Differences through 8 bits, beside central ones of a tiny step without rounding."""
    rounded = model_of(RandomDirections(1, smoothing=smoothing))
    exact = model_of(RandomDirections(1, smoothing=smoothing), SIGNS)
    value = flat_value(rounded.program)
    step = rounded.steps.first_candidate() - value

    def scores(model, share):
        images = model.program.transform(tf.constant(X[:8]), value + share * step)
        return np.asarray(model.asker.answer(images), np.float64)

    tiny = 1e-3 / smoothing
    slope = (scores(exact, tiny) - scores(exact, -tiny)).ravel()
    difference = (scores(rounded, 1.0) - scores(rounded, 0.0)).ravel()
    along = difference @ slope / (np.linalg.norm(difference) * np.linalg.norm(slope))
    assert rounded.check_step(X).survives == (along >= 0.5)
