"""FrozenSource: preprocessing, features, fingerprint, and what is no classifier."""

import keras
import numpy as np
import pytest
from checks.check_source import scores_of
from checks.tiny_models import SHAPE, random_images, tiny_classifier

from keras_reprogram import FrozenSource


def frozen(model=None, **options):
    model = tiny_classifier() if model is None else model
    return FrozenSource(model, **{"value_range": (0, 255)} | options)


def predicted(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_scores_are_those_of_the_model():
    model = tiny_classifier()
    images = random_images(4)
    np.testing.assert_allclose(scores_of(frozen(model), images), predicted(model, images))


def test_preprocessing_turns_scales_and_shifts():
    model = tiny_classifier()
    scale, offset = (0.5, 1.0, 2.0), (1.0, -2.0, 3.0)
    source = frozen(model, preprocessing=(scale, offset), channel_order="bgr")
    images = random_images(4)
    expected = predicted(model, images[..., ::-1] * np.float32(scale) + np.float32(offset))
    np.testing.assert_allclose(scores_of(source, images), expected, atol=1e-6)


def test_features_enter_the_last_layer_with_weights():
    model = tiny_classifier()
    features = scores_of(frozen(model, output="features"), random_images(4))
    kernel, bias = (np.asarray(w) for w in model.layers[-1].weights)
    again = keras.ops.softmax(features @ kernel + bias)
    np.testing.assert_allclose(again, predicted(model, random_images(4)), atol=1e-6)


def test_features_of_a_classifier_inside_a_model():
    inner = tiny_classifier()
    outer = keras.Sequential([keras.Input(SHAPE), keras.layers.Rescaling(1.0), inner])
    features = scores_of(frozen(outer, output="features"), random_images(2))
    expected = scores_of(frozen(inner, output="features"), random_images(2))
    np.testing.assert_array_equal(features, expected)


def test_kind_of_scores_is_read_off_the_model():
    assert frozen().score_kind == "probabilities"
    assert frozen(tiny_classifier("linear")).score_kind == "logits"
    inner = tiny_classifier("linear")
    assert frozen(keras.Sequential([keras.Input(SHAPE), inner])).score_kind == "logits"
    assert frozen(output="features").score_kind == "features"


def test_the_users_model_cannot_unfreeze_the_source():
    model = tiny_classifier()
    source = frozen(model)
    assert model.trainable is False
    model.trainable = True
    assert source.trainable_variables == []
    assert len(source.variables) == len(model.variables)


def test_fingerprint_follows_weights_and_facts():
    model = tiny_classifier()
    prints = [frozen(model).fingerprint]
    model.layers[2].moving_mean.assign_add([0, 0, 0, 1e-6])
    prints.append(frozen(model).fingerprint)
    prints.append(frozen(model, output="features").fingerprint)
    prints.append(frozen(model, channel_order="bgr").fingerprint)
    prints.append(frozen(model, preprocessing=(1.0, 1.0)).fingerprint)
    prints.append(frozen(model, value_range=(0, 1)).fingerprint)
    assert len(set(prints)) == len(prints)


def test_fingerprint_follows_what_no_weight_says():
    """The same weights, other answers."""

    def network(scale=0.5, strides=1, padding="same", side=8):
        layers = [
            keras.Input((side, side, 3)),
            keras.layers.Rescaling(scale),
            keras.layers.Conv2D(2, 3, strides=strides, padding=padding, kernel_initializer="ones"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Softmax(),
        ]
        return FrozenSource(keras.Sequential(layers), value_range=(0, 1)).fingerprint

    prints = [network(), network(1.0), network(strides=2), network(padding="valid")]
    prints.append(network(side=9))
    assert len(set(prints)) == len(prints)
    assert network() == prints[0]


def test_fingerprint_does_not_depend_on_how_numbers_are_written():
    model = tiny_classifier()
    one = frozen(model, preprocessing=(1, 0), value_range=(0, 255))
    other = frozen(model, preprocessing=[np.float64(1), np.zeros(())], value_range=[0.0, 255.0])
    assert one.fingerprint == other.fingerprint


def without_fixed_size():
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])


def with_two_outputs():
    image = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(image)
    return keras.Model(image, [keras.layers.Dense(2)(flat), keras.layers.Dense(3)(flat)])


def without_top():
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(4, 3)])


def channels_first_classifier():
    image = keras.Input((SHAPE[2], *SHAPE[:2]))
    return keras.Model(image, tiny_classifier()(keras.layers.Permute((2, 3, 1))(image)))


def test_channels_first_must_be_said_and_answers_alike():
    with pytest.raises(ValueError, match="channels first.*--data-format channels_first"):
        frozen(channels_first_classifier())
    source = frozen(channels_first_classifier(), data_format="channels_first")
    images = random_images(4)
    assert source.source_shape == SHAPE
    np.testing.assert_allclose(
        scores_of(source, images), predicted(tiny_classifier(), images), atol=1e-6
    )
    assert FrozenSource.from_config(source.get_config()).network_input == source.network_input


def test_a_model_of_any_size_takes_the_chosen_one():
    image = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(mean))
    source = frozen(model, image_size=(12, 16))
    assert source.source_shape == (12, 16, 3)
    images = random_images(2, (12, 16, 3))
    np.testing.assert_allclose(scores_of(source, images), predicted(model, images), atol=1e-6)
    assert frozen(model, image_size=12).fingerprint != source.fingerprint


def without_weights():
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Softmax()])


def summing_to_three():
    return keras.Sequential(
        [keras.Input(SHAPE), tiny_classifier("softmax"), keras.layers.Rescaling(3.0)]
    )


def with_nan():
    model = tiny_classifier()
    model.layers[-1].kernel.assign(np.full(model.layers[-1].kernel.shape, np.nan))
    return model


REFUSED = [
    (lambda: lambda images: images, {}, "must be a keras.Model. Received: function"),
    (without_fixed_size, {}, "takes images of any size, so one must be chosen"),
    (with_two_outputs, {}, "must have one output"),
    (without_top, {}, "needs `include_top=True`"),
    (without_weights, {"output": "features"}, "no layer with weights"),
    (summing_to_three, {}, "a row that sums to 3"),
    (
        lambda: tiny_classifier("linear"),
        {"score_kind": "probabilities"},
        'Pass `score_kind="logits"`',
    ),
    (with_nan, {}, "NaN or infinity"),
    (tiny_classifier, {"output": "logits"}, "`output` must be 'scores' or 'features'"),
    (tiny_classifier, {"channel_order": "grb"}, "`channel_order` must be 'rgb' or 'bgr'"),
    (tiny_classifier, {"preprocessing": ((1, 2), 0)}, r"3 numbers.*Received: shape \(2,\)"),
]


@pytest.mark.parametrize(("build", "options", "message"), REFUSED)
def test_what_is_no_classifier_is_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        frozen(build(), **options)
