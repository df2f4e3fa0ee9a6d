"""What training costs beside the source itself, on MobileNetV2 with its own weights."""

import statistics
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import DenseMap, FrozenSource, NewHead, ProgramLayer, ReprogrammedModel
from keras_reprogram.datasets import load_target

SIZE = 96
# Of the features: a pass must take longer than Keras's tracing of the steps of a fit.
FEATURES_SIZE = 160
ROUNDS = 3


def mobile_net(keras_home: Path, size: int = SIZE, **options) -> FrozenSource:
    """The weights of 224 pixels, which global pooling lets any size take."""
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    return FrozenSource.from_application(
        "MobileNetV2", weights=str(keras_home / "models" / name), input_shape=(size, size, 3),
        **options,
    )  # fmt: skip


def seconds(function) -> float:
    """Of the processor: what else runs on the machine is not counted."""
    start = time.process_time()
    function()
    return time.process_time() - start


def head_model(source) -> ReprogrammedModel:
    program = ProgramLayer(
        (32, 32, 3), source.source_shape, source_range=source.value_range, placement="full"
    )
    program.trainable = False
    keras.utils.set_random_seed(0)
    model = ReprogrammedModel(program, source, NewHead(10))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_epochs_on_cached_features_cost_hardly_more_than_one_pass(
    keras_home, reprogram_data, tmp_path, capsys
) -> None:
    data = load_target("cifar10").draw(2000, 1000, seed=0)
    x, y = data.train_images, data.train_labels
    source = mobile_net(keras_home, FEATURES_SIZE, output="features")
    model, uncached = head_model(source), head_model(source)
    start = model.get_weights()
    passes, fits = [], []
    for number in range(ROUNDS + 1):
        model.set_weights(start)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        options = {"batch_size": 256, "verbose": 0}
        passes.append(seconds(lambda options=options: model.collect_scores(x, **options)))
        options |= {"epochs": 10, "cache_features": tmp_path / str(number)}
        fits.append(seconds(lambda options=options: model.fit(x, y, **options)))
    # The first ones trace.
    ratio = statistics.median(f / p for f, p in zip(fits[1:], passes[1:], strict=True))
    uncached.set_weights(start)
    uncached.fit(x, y, batch_size=256, epochs=10, cache_features=None, verbose=0)
    accuracies = [
        each.evaluate(data.test_images, data.test_labels, batch_size=256, verbose=0)[1]
        for each in (model, uncached)
    ]
    with capsys.disabled():
        print(
            f"\nten epochs / one pass: {ratio:.3f} ({statistics.median(fits[1:]):.1f} s, "
            f"{statistics.median(passes[1:]):.1f} s; first {fits[0]:.1f} s, {passes[0]:.1f} s); "
            f"accuracy {accuracies[0]:.4f} cached, {accuracies[1]:.4f} uncached"
        )
    assert ratio <= 1.2
    assert abs(accuracies[0] - accuracies[1]) <= 0.005


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["center", "full", "grid"])
def test_a_step_costs_hardly_more_than_the_source_forward_and_its_input_gradient(
    kind, keras_home, capsys
) -> None:
    batch = 32
    source = mobile_net(keras_home)
    options = {
        "center": {},
        "full": {"placement": "full", "masked": False},
        "grid": {"placement": "full", "masked": False, "grid": 14},
    }
    program = ProgramLayer(
        (32, 32, 3), source.source_shape, source_range=source.value_range, **options[kind]
    )
    model = ReprogrammedModel(program, source, DenseMap(10))
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 255, (batch, 32, 32, 3)).astype("float32"), np.arange(batch) % 10
    model.fit_output_map(x, y, verbose=0)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    images = tf.constant(random.uniform(0, 255, (batch, *source.source_shape)), tf.float32)
    labels = tf.constant(np.arange(batch))

    @tf.function
    def bare(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = source.model(images / 127.5 - 1.0, training=False)
            loss = keras.losses.sparse_categorical_crossentropy(labels, scores)
        return tape.gradient(loss, images)

    step = tf.function(model.train_step)
    rows = tf.constant(x), tf.constant(y)
    for _ in range(2):
        bare(images), step(rows)
    pairs = [
        (seconds(lambda: bare(images).numpy()), seconds(lambda: float(step(rows)["loss"])))
        for _ in range(25)
    ]
    ratio = statistics.median(own / source for source, own in pairs)
    source_seconds, own_seconds = (statistics.median(each) for each in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\n{kind}: step / source {ratio:.3f} ({own_seconds:.3f} s, {source_seconds:.3f} s)")
    assert ratio <= 1.1
