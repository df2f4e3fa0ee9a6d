"""The table of keras.applications, held against the applications themselves."""

import inspect
import sys

import keras
import numpy as np
import pytest
from checks.check_source import scores_of

from keras_reprogram import FrozenSource, application_names
from keras_reprogram.source.applications import APPLICATIONS, imagenet_labels

CLASSIFIERS = sorted(
    name for name, value in vars(keras.applications).items() if inspect.isfunction(value)
)
MODULES = {
    value: module
    for module in vars(keras.applications).values()
    if inspect.ismodule(module) and hasattr(module, "preprocess_input")
    for value in vars(module).values()
    if inspect.isfunction(value) and value.__name__ in CLASSIFIERS
}
# The one module that holds the preprocessing without the applications.
MODULES |= {
    getattr(keras.applications, name): keras.applications.mobilenet_v3
    for name in ("MobileNetV3Large", "MobileNetV3Small")
}
# They take any size of image; these are the sizes that their weights were trained with.
WITHOUT_DEFAULT_SIZE = {"MobileNetV3Large": 224, "MobileNetV3Small": 224}


def test_the_table_holds_every_application():
    assert len(CLASSIFIERS) > 30
    assert list(application_names()) == CLASSIFIERS


class SizeFoundError(Exception):
    pass


@pytest.mark.parametrize("name", [n for n in CLASSIFIERS if n not in WITHOUT_DEFAULT_SIZE])
def test_size_is_the_applications_default(name, monkeypatch):
    application = getattr(keras.applications, name)

    def stop(*args, default_size, **options):
        raise SizeFoundError(default_size)

    # Where each application asks for its input size, before anything is built.
    helpers = sys.modules[application.__module__].imagenet_utils
    monkeypatch.setattr(helpers, "obtain_input_shape", stop)
    with pytest.raises(SizeFoundError) as found:
        application(weights=None)
    assert APPLICATIONS[name][0] == found.value.args[0]


@pytest.mark.parametrize("name", WITHOUT_DEFAULT_SIZE)
def test_size_where_an_application_has_no_default(name):
    assert APPLICATIONS[name][0] == WITHOUT_DEFAULT_SIZE[name]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_preprocessing_is_the_applications_own(name):
    module = MODULES[getattr(keras.applications, name)]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 5, 5, 3)).astype("float32")
    expected = module.preprocess_input(pixels.copy())
    _, ours = APPLICATIONS[name]
    turned = pixels[..., ::-1] if ours.channel_order == "bgr" else pixels
    found = turned * np.float32(ours.scale) + np.float32(ours.offset)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


# One small application for each way to preprocess.
BUILT = [
    ("MobileNet", {"alpha": 0.25, "input_shape": (32, 32, 3)}),
    ("MobileNetV3Small", {"minimalistic": True, "input_shape": (32, 32, 3)}),
    pytest.param(
        "DenseNet121", {"input_shape": (32, 32, 3), "classes": 10}, marks=pytest.mark.slow
    ),
    ("VGG16", {"input_shape": (32, 32, 3), "classes": 10}),
]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("name", "options"), BUILT)
def test_built_application_answers_as_on_preprocessed_pixels(name, options, monkeypatch):
    if name == "VGG16":
        small_dense_layers(monkeypatch)
    source = FrozenSource.from_application(name, weights=None, **options)
    assert source.source_shape == (32, 32, 3)
    assert source.value_range == (0.0, 255.0)
    assert source.score_kind == "probabilities"
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    module = MODULES[getattr(keras.applications, name)]
    expected = source.model(module.preprocess_input(pixels.copy()), training=False)
    np.testing.assert_allclose(scores_of(source, pixels), expected, atol=1e-6)


def small_dense_layers(monkeypatch):
    """VGG's two layers of 4,096 units would cost seconds and 70 MB."""
    dense = keras.layers.Dense
    layers = sys.modules[keras.applications.VGG16.__module__].layers
    monkeypatch.setattr(layers, "Dense", lambda units, **options: dense(min(units, 10), **options))


def test_default_size_is_the_tables():
    source = FrozenSource.from_application("MobileNet", weights=None, alpha=0.25)
    assert source.source_shape == (224, 224, 3)
    assert source.num_labels == 1000
    assert source.class_names is None


@pytest.mark.slow
def test_logits_of_an_application():
    options = {"alpha": 0.25, "input_shape": (32, 32, 3), "classifier_activation": None}
    source = FrozenSource.from_application("MobileNet", weights=None, **options)
    assert source.score_kind == "logits"


def test_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match=r"Received: 'MobileNetV9'.*MobileNet, MobileNetV2, .*"):
        FrozenSource.from_application("MobileNetV9")


@pytest.mark.slow
def test_labels_are_imagenets(keras_home):
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert (labels[0], labels[207], labels[999]) == ("tench", "golden_retriever", "toilet_tissue")


REAL = [
    ("MobileNetV2", {}, 1280),
    ("MobileNet", {"alpha": 0.25, "input_shape": (128, 128, 3)}, 256),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "width"), REAL)
def test_real_weights(name, options, width, keras_home):
    source = FrozenSource.from_application(name, **options)
    plain = getattr(keras.applications, name)(weights="imagenet", **options)
    side = source.source_shape[0]
    noise = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3))
    blocks = np.kron(
        np.random.default_rng(1).uniform(0, 255, (2, 4, 4, 3)),
        np.ones((1, side // 4, side // 4, 1)),
    )
    pixels = np.concatenate([noise, blocks]).astype("float32")
    scores = scores_of(source, pixels)
    module = MODULES[getattr(keras.applications, name)]
    expected = plain(module.preprocess_input(pixels.copy()), training=False)
    # Rounding through 150 layers, in another order of operations.
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert scores.max() > 0.05, "random weights answer evenly"
    assert len(source.class_names) == 1000
    features = FrozenSource.from_application(name, output="features", **options)
    assert features.num_labels == width
