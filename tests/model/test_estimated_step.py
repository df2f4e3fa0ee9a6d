"""The step that swaps the program's gradient for an estimate, and leaves all others exact."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    TARGET_SHAPE,
    directions,
    frozen_source,
    head_model,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
    values,
)

from keras_reprogram import (
    GradientEstimator,
    MultiLabelMap,
    NewHead,
    OpaqueSource,
    ReprogrammedModel,
)

IMAGES, LABELS = images_and_labels(12)
WEIGHT = np.linspace(0.2, 3, 12).astype("float32")
ONE = keras.optimizers.SGD


def one_step(
    model,
    loss="sparse_categorical_crossentropy",
    sample_weight=None,
    labels=LABELS,
    eager=True,
):
    """The gradients of one step on all images, by variable: what SGD with rate 1 subtracts."""
    variables = model.program.trainable_variables + model.output_map.trainable_variables
    before = values(variables)
    model.compile(ONE(1.0), loss)
    model.run_eagerly = eager
    model.fit(IMAGES, labels, batch_size=64, sample_weight=sample_weight, shuffle=False, verbose=0)
    return [old - new for old, new in zip(before, values(variables), strict=True)]


def pair(estimator, source=None, **options):
    """The same model with and without an estimator."""
    return [
        head_model(estimator=each, program=program(source, **options)) for each in (estimator, None)
    ]


def program(source=None, **options):
    layer = program_for(source or frozen_source(), grid=2, masked=False, **options)
    layer.program_weights.assign(
        np.random.default_rng(3).normal(0, 0.3, layer.program_weights.shape)
    )
    return layer


def cosine(one, other):
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "options", [{}, {"per_image": False}, pytest.param({"two_sided": True}, marks=pytest.mark.slow)]
)
def test_many_directions_point_along_the_true_gradient(options) -> None:
    estimated, exact = pair(directions(600, smoothing=0.002, **options))
    gradients = one_step(estimated), one_step(exact)
    assert cosine(gradients[0][0], gradients[1][0]) > 0.95
    slope = (gradients[0][0] * gradients[1][0]).sum() / (gradients[1][0] ** 2).sum()
    assert slope == pytest.approx(1, abs=0.1)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("loss", "weight"),
    [
        pytest.param(
            keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight"),
            None,
            marks=pytest.mark.slow,
        ),
        pytest.param("sparse_categorical_crossentropy", WEIGHT, marks=pytest.mark.slow),
        (keras.losses.SparseCategoricalCrossentropy(reduction="mean"), WEIGHT),
        (keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight"), WEIGHT),
    ],
)
def test_weights_and_reductions_enter_as_in_keras(loss, weight) -> None:
    estimated, exact = pair(directions(400, smoothing=0.002))
    gradients = one_step(estimated, loss, weight), one_step(exact, loss, weight)
    assert cosine(gradients[0][0], gradients[1][0]) > 0.93
    slope = (gradients[0][0] * gradients[1][0]).sum() / (gradients[1][0] ** 2).sum()
    assert slope == pytest.approx(1, abs=0.15)
    # The map's are exact, whatever the estimate is.
    for one, other in zip(gradients[0][1:], gradients[1][1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.CategoricalFocalCrossentropy(),
        pytest.param("mse", marks=pytest.mark.slow),
    ],
)
def test_one_hot_losses_are_estimated_too(loss) -> None:
    one_hot = keras.utils.to_categorical(LABELS, NUM_CLASSES).astype("int64")
    estimated, exact = pair(directions(400, smoothing=0.002))
    gradients = [one_step(model, loss, labels=one_hot)[0] for model in (estimated, exact)]
    assert cosine(*gradients) > 0.93


@pytest.mark.slow
def test_a_loss_of_the_user_gets_labels_as_keras_hands_them_over() -> None:
    one_hot = keras.utils.to_categorical(LABELS, NUM_CLASSES).astype("int64")

    def own(labels, probabilities):
        return -keras.ops.sum(labels * keras.ops.log(probabilities), axis=-1)

    estimated, exact = pair(directions(400, smoothing=0.002))
    gradients = [one_step(model, own, labels=one_hot)[0] for model in (estimated, exact)]
    assert cosine(*gradients) > 0.93


class ConstantEstimate(GradientEstimator):
    queries_per_image = 1

    def estimate(self, losses, value, clean_losses, active, seed):
        losses(value[None, None])
        return keras.ops.ones_like(value)

    def get_config(self):
        return {}


def test_gradient_is_the_estimate_plus_the_exact_regulariser() -> None:
    regularizer = keras.regularizers.L1L2(0.01, 0.05)
    estimated, exact = pair(ConstantEstimate(), regularizer=regularizer)
    weights = exact.program.program_weights
    with tf.GradientTape() as tape:
        penalty = regularizer(weights)
    expected = tape.gradient(penalty, weights.value).numpy()
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(one_step(estimated)[0], 1 + expected, atol=1e-5)


def test_regulariser_is_exact_where_the_answers_are_constant() -> None:
    def constant(images):
        return np.tile(np.array([0.5, 0.2, 0.1, 0.1, 0.1], "float32"), (len(images), 1))

    source = OpaqueSource(constant, SOURCE_SHAPE, 5, value_range=(0, 255), identity="constant")
    layer = program(source, regularizer=0.1)
    matrix = np.eye(5, NUM_CLASSES) + 0.1
    model = ReprogrammedModel(layer, source, MultiLabelMap(NUM_CLASSES, weights=matrix))
    before = values([layer.program_weights])[0]
    np.testing.assert_allclose(one_step(model)[0], 0.2 * before, atol=1e-5)


def test_sum_over_the_batch_is_refused_before_a_query() -> None:
    model = small_model(opaque_source())
    before = model.queries_used
    for loss in (
        keras.losses.SparseCategoricalCrossentropy(reduction="sum"),
        keras.losses.SparseCategoricalCrossentropy(reduction=None),
        ["sparse_categorical_crossentropy"],
        None,
    ):
        model.compile("sgd", loss, metrics=[] if loss is None else None)
        with pytest.raises(ValueError, match=r"Estimating a gradient needs .*Received: "):
            model.fit(IMAGES, LABELS, verbose=0)
    assert model.queries_used == before


@pytest.mark.slow
def test_one_direction_serves_every_step_another_question() -> None:
    asked = []

    class Recorded(ConstantEstimate):
        def estimate(self, losses, value, clean_losses, active, seed):
            asked.append(keras.random.normal((3,), seed=seed).numpy())
            return keras.ops.zeros_like(value)

    for _ in range(2):
        model = small_model(opaque_source(), estimator=Recorded(), seed=5)
        model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)
    assert len(asked) == 12
    assert len({tuple(draw) for draw in asked[:6]}) == 6
    np.testing.assert_array_equal(asked[:6], asked[6:])


@keras.saving.register_keras_serializable(package="tests")
class ShiftedImages(keras.layers.Layer):
    """A program of two variables, without `transform`, `live_coordinates` or ranges."""

    target_shape = TARGET_SHAPE

    def build(self, input_shape):
        self.shift = self.add_weight(shape=(3,), initializer="zeros", name="shift")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, images, training=None):
        wide = keras.ops.repeat(keras.ops.repeat(images, 2, axis=1), 2, axis=2)
        return (self.scale * wide + self.shift)[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("per_image", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_program_layer_of_the_user_needs_no_transform(per_image) -> None:
    models = []
    for estimator in (directions(100, smoothing=0.01, per_image=per_image), None):
        source = frozen_source(output="features")
        keras.utils.set_random_seed(0)
        models.append(ReprogrammedModel(ShiftedImages(), source, NewHead(NUM_CLASSES), estimator))
    # One candidate is one call of the layer: thousands of them are quick in a graph only.
    gradients = [one_step(model, eager=False) for model in models]
    joined = [np.concatenate([part.ravel() for part in parts[:2]]) for parts in gradients]
    assert joined[0].shape == (4,)
    assert cosine(*joined) > 0.95


def test_accumulated_gradients_ask_other_directions_in_every_step() -> None:
    asked = []

    class Recorded(ConstantEstimate):
        def estimate(self, losses, value, clean_losses, active, seed):
            asked.append(tuple(keras.random.normal((3,), seed=seed).numpy()))
            return keras.ops.zeros_like(value)

    optimizer = ONE(0.1, gradient_accumulation_steps=3)
    model = small_model(opaque_source(), estimator=Recorded(), optimizer=optimizer)
    model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)
    assert len(set(asked)) == 6


def test_loss_scale_of_an_optimizer_cancels_out() -> None:
    plain, scaled = (head_model(estimator=directions(2), program=program()) for _ in range(2))
    expected = one_step(plain)
    before = values(scaled.trainable_variables)
    scaled.compile(ONE(1.0, loss_scale_factor=64.0), "sparse_categorical_crossentropy")
    scaled.run_eagerly = True
    scaled.fit(IMAGES, LABELS, batch_size=64, shuffle=False, verbose=0)
    for old, new, gradient in zip(
        before, values(scaled.trainable_variables), expected, strict=True
    ):
        np.testing.assert_allclose(old - new, gradient, atol=1e-4)
