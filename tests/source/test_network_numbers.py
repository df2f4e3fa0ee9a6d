"""Half precision, integer images and quantised layers: what is computed, and what is said of it."""

import keras
import numpy as np
import pytest
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    frozen_source,
    head_model,
    images_and_labels,
    network,
    small_model,
    trained_values,
    values,
)

from keras_reprogram import (
    FrozenSource,
    NewHead,
    export_litert,
    export_saved_model,
    join_sources,
)

IMAGES, LABELS = images_and_labels(16)
PIXELS = np.random.default_rng(0).uniform(0, 255, (4, *SOURCE_SHAPE)).astype("float32")
HALVES = ("mixed_bfloat16", "mixed_float16")


@pytest.fixture
def policy():
    """Sets Keras's global policy for one test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def source_of(model, **options):
    return FrozenSource(model, value_range=(0, 255), **options)


def scores_of(source, images=PIXELS):
    return keras.ops.convert_to_numpy(source(images))


def by_layer():
    model = network()
    model.layers[1].dtype_policy = "mixed_bfloat16"
    model.layers[-1].dtype_policy = "mixed_float16"
    return model


def by_map():
    model = network()
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies[model.layers[1].path] = keras.DTypePolicy("mixed_bfloat16")
    model.layers[1]._dtype_policy = policies
    return model


# === Half precision ===


@pytest.mark.parametrize("name", HALVES)
def test_under_a_policy_of_half_precision_a_source_is_what_it_is_without(policy, name) -> None:
    expected = frozen_source()
    policy(name)
    source = frozen_source()
    np.testing.assert_array_equal(scores_of(source), scores_of(expected))
    assert source.fingerprint == expected.fingerprint


@pytest.mark.parametrize("build", [by_layer, by_map])
def test_layers_of_half_precision_too(build) -> None:
    source = source_of(build())
    np.testing.assert_array_equal(scores_of(source), scores_of(frozen_source()))
    assert source.fingerprint == frozen_source().fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [HALVES[0], *(pytest.param(half, marks=pytest.mark.slow) for half in HALVES[1:])]
)
def test_training_is_what_it_is_without(policy, name) -> None:
    def trained():
        model, head = small_model(), head_model()
        model.run_eagerly = head.run_eagerly = True
        history = model.fit(IMAGES, LABELS, verbose=0).history
        return history, head.fit(IMAGES, LABELS, verbose=0).history, trained_values(model)

    *histories, weights = trained()
    policy(name)
    *found, found_weights = trained()
    assert found == histories
    for value, other in zip(found_weights, weights, strict=True):
        np.testing.assert_array_equal(value, other)


def test_joined_sources_and_features_under_half_precision(policy) -> None:
    def scores():
        joined = join_sources([frozen_source(), frozen_source(3)])
        return scores_of(joined), scores_of(frozen_source(output="features"))

    expected = scores()
    policy("mixed_bfloat16")
    for one, other in zip(scores(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_normalization_gets_the_digits_back_that_it_was_built_without(policy) -> None:
    def scores():
        keras.utils.set_random_seed(0)
        layers = keras.layers
        given = layers.Normalization(mean=[123.4, 100.3, 90.7], variance=[3001.0, 2800.0, 2500.0])
        adapted = layers.Normalization()
        adapted.adapt(PIXELS / 77)
        flat = [layers.Flatten(), layers.Dense(5, "softmax")]
        return scores_of(source_of(keras.Sequential([keras.Input(SOURCE_SHAPE), given, *flat])))

    expected = scores()
    policy("mixed_bfloat16")
    np.testing.assert_array_equal(scores(), expected)


def test_weights_in_half_precision_are_refused_with_the_cause(policy) -> None:
    policy("bfloat16")
    with pytest.raises(ValueError, match=r"8 weights in bfloat16.*dtype policy"):
        frozen_source()
    source = FrozenSource.from_application(
        "MobileNet", weights=None, alpha=0.25, input_shape=(32, 32, 3)
    )
    assert {weight.dtype for weight in source.model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "bfloat16"


@pytest.mark.slow
def test_half_precision_leaves_python(policy, tmp_path) -> None:
    expected = small_model().predict(IMAGES, verbose=0)
    policy("mixed_bfloat16")
    model = small_model()
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(IMAGES, verbose=0), expected, atol=1e-6)
    # Both compare what they wrote with the model.
    export_saved_model(model, tmp_path / "saved")
    assert export_litert(model, tmp_path / "model.tflite").exists()


def test_fingerprints_hold_the_numbers_that_are_computed_with() -> None:
    """The same weights and settings, other digits."""
    wide = network()
    wide.layers[0].dtype_policy = "float64"
    assert source_of(wide).fingerprint != frozen_source().fingerprint


# === Integer images ===


def integer_network(dtype="uint8", divided=False, looked_up=False):
    keras.utils.set_random_seed(1)
    image = keras.Input(SOURCE_SHAPE, dtype=dtype)
    hidden = image // 2 if divided else image
    hidden = (keras.layers.Embedding(256, 4) if looked_up else keras.layers.Rescaling(0.01))(hidden)
    scores = keras.layers.Dense(5, "softmax")(keras.layers.Flatten()(hidden))
    return keras.Model(image, scores)


def nested(dtype="uint8"):
    return keras.Sequential([keras.Input(SOURCE_SHAPE, dtype=dtype), integer_network(dtype)])


def moved(model):
    model.run_eagerly = True
    before = values(model.program.weights)[0]
    model.fit(IMAGES, LABELS, verbose=0)
    return np.abs(values(model.program.weights)[0] - before).max()


@pytest.mark.parametrize(
    ("build", "dtype"),
    [
        (nested, "uint8"),
        (integer_network, "int32"),
        pytest.param(integer_network, "uint8", marks=pytest.mark.slow),
        pytest.param(nested, "int32", marks=pytest.mark.slow),
    ],
)
def test_a_network_that_scales_integers_is_differentiable(build, dtype) -> None:
    model = build(dtype)
    source = source_of(model)
    assert source.differentiable
    whole = np.floor(PIXELS)
    expected = keras.ops.convert_to_numpy(model(whole.astype(dtype)))
    np.testing.assert_allclose(scores_of(source, whole), expected, atol=1e-6)
    assert np.abs(scores_of(source, whole + 0.9) - expected).max() > 1e-4
    assert moved(small_model(source)) > 1e-3


@pytest.mark.parametrize("how", ["divided", "looked_up"])
def test_a_network_that_counts_with_integers_is_not(how) -> None:
    """Its pixels are rounded, not cut, and its gradient is estimated."""
    model = integer_network(**{how: True})
    source = source_of(model)
    assert not source.differentiable
    expected = keras.ops.convert_to_numpy(model(np.round(PIXELS).astype("uint8")))
    np.testing.assert_allclose(scores_of(source), expected, atol=1e-6)
    trained = small_model(source)
    assert trained.gradient_estimator is not None
    assert moved(trained) > 1e-3
    with pytest.raises(ValueError, match="computes with uint8"):
        join_sources([source, source])


# === Quantised layers ===


def quantised(mode):
    model = network()
    model.quantize(mode)
    return model


def test_a_float8_source_is_estimated() -> None:
    source = source_of(quantised("float8"))
    assert not source.differentiable
    assert moved(small_model(source)) > 1e-3


@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=pytest.mark.slow)])
def test_a_source_of_whole_weights_has_its_gradient(mode) -> None:
    source = source_of(quantised(mode))
    assert source.differentiable
    assert moved(small_model(source)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_what_litert_cannot_take_is_named(mode, tmp_path) -> None:
    model = small_model(source_of(quantised(mode)))
    with pytest.raises(ValueError, match=rf'quantised by Keras, `quantize\("{mode}"\)`: 1 layers'):
        export_litert(model, tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()


def test_a_new_head_on_a_network_of_integers() -> None:
    source = source_of(integer_network(), output="features")
    model = small_model(source, NewHead(NUM_CLASSES), fitted=False)
    assert moved(model) > 1e-3
