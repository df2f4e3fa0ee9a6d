"""Declared cost = counted queries, for every kind of source; and no retracing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    SOURCE_SHAPE,
    directions,
    frozen_source,
    images_and_labels,
    network,
    opaque_source,
    saved_model_source,
    sign_source,
    small_model,
)

from keras_reprogram import FrozenSource

COUNT, SIZE = 26, 8
IMAGES, LABELS = images_and_labels(COUNT)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    return tmp_path_factory.mktemp("sources") / "network"


SOURCES = {
    "frozen": lambda folder: frozen_source(),
    "callable": lambda folder: opaque_source(),
    "litert": lambda folder: sign_source(),
    "saved_model": saved_model_source,
    "transparent": lambda folder: saved_model_source(folder, opaque=False),
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("kind", "num_views"),
    [
        *((kind, 3) for kind in ("frozen", "callable")),
        *((kind, 1) for kind in ("callable", "litert")),
        # The same counting, of other kinds of files.
        *(
            pytest.param(kind, 3, marks=pytest.mark.slow)
            for kind in SOURCES
            if kind not in ("frozen", "callable")
        ),
        pytest.param("frozen", 1, marks=pytest.mark.slow),
    ],
)
def test_counted_queries_are_the_declared_ones(kind, num_views, saved_model) -> None:
    source = SOURCES[kind](saved_model)
    estimator = None if kind == "transparent" else directions(2)
    model = small_model(source, num_views=num_views, estimator=estimator, fitted=False)
    asked = model.queries_used
    assert asked == 0
    assert model.queries_per_prediction == num_views

    def cost():
        nonlocal asked
        asked, before = model.queries_used, asked
        return (asked - before) / num_views

    model.fit_output_map(IMAGES, LABELS, batch_size=SIZE, verbose=0)
    assert cost() == COUNT
    model.predict(IMAGES, batch_size=SIZE, verbose=0)
    assert cost() == COUNT
    model.evaluate(IMAGES, LABELS, batch_size=SIZE, verbose=0)
    assert cost() == COUNT
    per_image = 1 if estimator is None else 3
    # The last batch is short, and so is the last execution.
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=4)
    options = {"batch_size": SIZE, "epochs": 2, "verbose": 0}
    history = model.fit(IMAGES, LABELS, validation_data=(IMAGES[:5], LABELS[:5]), **options).history
    assert cost() == 2 * (COUNT * per_image + 5)
    assert history["queries_used"] == [
        asked - num_views * (COUNT * per_image + 5),
        asked,
    ]
    if source.queries_used is not None:
        assert source.queries_used == model.queries_used


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"two_sided": True}, {"per_image": False}])
def test_other_estimators_count_too(options) -> None:
    model = small_model(opaque_source(), num_views=3, estimator=directions(2, **options))
    before = model.queries_used
    model.fit(IMAGES, LABELS, batch_size=SIZE, verbose=0)
    cost = model.gradient_estimator.queries_per_image
    assert model.queries_used - before == COUNT * 3 * (1 + cost)


@pytest.mark.slow
@pytest.mark.parametrize("source", [frozen_source, opaque_source])
def test_models_that_share_a_source_count_separately(source) -> None:
    shared = source()
    one = small_model(shared, fitted=False)
    other = small_model(shared, num_views=3, fitted=False)
    one.fit_output_map(IMAGES, LABELS, verbose=0)
    other.fit_output_map(IMAGES, LABELS, verbose=0)
    one.predict(IMAGES[:4], verbose=0)
    shared(np.zeros((2, *SOURCE_SHAPE), "float32"))
    assert one.queries_used == COUNT + 4
    assert other.queries_used == COUNT * 3


class CountedTraces(keras.layers.Layer):
    """Counts how often it is traced: the side effect of a call happens then only."""

    def __init__(self) -> None:
        super().__init__()
        self.traces = []

    def call(self, images):
        self.traces.append(tf.executing_eagerly())
        return images


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("steps_per_execution", "estimator"),
    [
        (1, None),
        (4, directions(2)),
        pytest.param(4, None, marks=pytest.mark.slow),
        pytest.param(1, directions(2), marks=pytest.mark.slow),
    ],
)
def test_nothing_is_traced_again_after_the_first_batches(steps_per_execution, estimator) -> None:
    counted = CountedTraces()
    source = FrozenSource(
        keras.Sequential([keras.Input(SOURCE_SHAPE), counted, network()]),
        value_range=(0, 255),
        score_kind="probabilities",
    )
    model = small_model(source, estimator=estimator)
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=steps_per_execution)
    traces = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: traces.append(len(counted.traces))
    )
    del counted.traces[:]
    # 26 images are batches of 8, 8, 8 and 2.
    for _ in range(2):
        options = {"batch_size": SIZE, "epochs": 3, "verbose": 0, "callbacks": [watch]}
        model.fit(IMAGES, LABELS, **options)
    assert traces[0] > 0, "the source was never traced"
    assert len(traces) == 6 * (4 if steps_per_execution == 1 else 1)
    # Keras builds the optimizer in a first trace, so a second one belongs to the first batch.
    assert set(traces) == {traces[0]}
    # Before the first step one eager call shows that a gradient reaches the program.
    assert sum(counted.traces) <= (estimator is None)
