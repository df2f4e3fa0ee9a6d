"""At most `max_batch` images exist at once while a program learns by queries."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_LABELS,
    SOURCE_SHAPE,
    directions,
    frozen_source,
    images_and_labels,
    opaque_source,
    small_model,
    values,
)

from keras_reprogram.asking.asker import split_calls
from keras_reprogram.source.source import Source

IMAGES, LABELS = images_and_labels(13)


class RecordedSource(Source):
    """A source in the graph that counts its largest batch in a TensorFlow variable."""

    def __init__(self, max_batch) -> None:
        super().__init__(SOURCE_SHAPE, NUM_LABELS, value_range=(0, 255), max_batch=max_batch)
        self.largest = tf.Variable(0, trainable=False)
        self.calls = tf.Variable(0, trainable=False)

    def answer(self, images):
        self.largest.assign(tf.maximum(self.largest, tf.shape(images)[0]))
        self.calls.assign_add(1)
        levels = keras.ops.mean(images, axis=(1, 2))
        return keras.ops.softmax(keras.ops.concatenate([levels, levels[:, :2]], axis=-1) / 50)


def learn(source):
    model = small_model(source, num_views=3, estimator=directions(2))
    model.collect_scores(IMAGES, verbose=0)
    model.fit(IMAGES, LABELS, batch_size=8, verbose=0)
    return model


@pytest.mark.parametrize("limit", [pytest.param(1, marks=pytest.mark.slow), 2, 7])
def test_a_callable_never_gets_more_than_its_limit(limit) -> None:
    sizes = []
    source = opaque_source(record=sizes, max_batch=limit)
    model = learn(source)
    model.evaluate(IMAGES, LABELS, verbose=0)
    model.predict(IMAGES, verbose=0)
    assert max(sizes) <= limit
    assert sum(sizes) == model.queries_used == 3 * (26 + 13 * (1 + 3 + 1 + 1))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [pytest.param(2, marks=pytest.mark.slow), 7])
def test_a_source_in_the_graph_never_gets_more_than_its_limit(limit) -> None:
    source = RecordedSource(limit)
    learn(source)
    assert 1 <= int(source.largest) <= limit
    assert int(source.calls) > 1


@pytest.mark.slow
def test_slices_change_nothing() -> None:
    results = []
    for limit in (None, 7):
        model = small_model(frozen_source(max_batch=limit), num_views=3, estimator=directions(2))
        model.compile("sgd", "sparse_categorical_crossentropy")
        scores = model.collect_scores(IMAGES, verbose=0)
        model.fit(IMAGES, LABELS, batch_size=8, verbose=0)
        results.append([scores, *values(model.trainable_variables)])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-4)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("rows_per_call", [1, 3, 5, 100])
def test_split_calls_concatenates_in_order(rows_per_call, graph) -> None:
    table = tf.range(22, dtype=tf.float32)[:, None] * [1.0, 10.0]

    def all_rows(num_rows):
        return split_calls(lambda a, b: table[a:b], num_rows, rows_per_call, (2,))

    call = tf.function(all_rows) if graph else all_rows
    np.testing.assert_array_equal(call(tf.constant(22)), table)


PEAK = """
import pathlib, resource, sys
import numpy as np
import keras
from keras_reprogram import (
    DenseMap, FrozenSource, ProgramLayer, RandomDirections, ReprogrammedModel
)


def peak():
    # Kilobytes. The peak of `getrusage` begins with that of the process that started this one.
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


limit = int(sys.argv[1]) or None
source = FrozenSource.from_application(
    "MobileNet", weights=None, alpha=0.25, input_shape=(128, 128, 3), max_batch=limit
)
program = ProgramLayer(
    (32, 32, 3), source.source_shape, source_range=(0, 255), num_views=3, placement="views", grid=8
)
model = ReprogrammedModel(program, source, DenseMap(4), RandomDirections(26))
images = np.random.default_rng(0).uniform(0, 255, (32, 32, 32, 3))
labels = np.arange(32) % 4
model.fit_output_map(images, labels, verbose=0)
model.compile("sgd", "sparse_categorical_crossentropy")
before = peak()
model.fit(images, labels, verbose=0)
print("PEAK", (peak() - before) / 2**20)
"""


def peak_gigabytes(limit):
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(limit)], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return float(run.stdout.split("PEAK")[1])


@pytest.mark.slow
def test_peak_memory_follows_the_limit() -> None:
    # 26 candidates of 32 images in 3 views are 2,496 images of 128 x 128.
    whole, sliced = peak_gigabytes(0), peak_gigabytes(96)
    assert sliced < 0.6
    assert sliced < 0.35 * whole
