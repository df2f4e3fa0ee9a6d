"""Networks whose `predict` prepares images first: the source gives the scores that it gives."""

import keras
import numpy as np
import pytest
from small_models import images_and_labels, small_model

from keras_reprogram import FrozenSource

SCALE, OFFSET = (1 / 58, 1 / 57, 1 / 56), (-2.1, -2.0, -1.8)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype("uint8")


class Converter:
    def __init__(self, image_size=(8, 8), scale=SCALE, offset=OFFSET):
        self.image_size, self.scale, self.offset = image_size, scale, offset

    def __call__(self, images):
        return images * np.float32(self.scale) + np.float32(self.offset)


class Squaring:
    scale = "of no known kind"

    def __call__(self, images):
        return (images / np.float32(255)) ** 2


class Turning(Converter):
    def __call__(self, images):
        return super().__call__(images)[..., ::-1]


class Classifier(keras.Model):
    """As KerasHub's `ImageClassifier`: functional, compiled, with a preprocessor of its own."""

    preprocessor = None

    def predict(self, x, **options):
        return super().predict(self.preprocessor(np.asarray(x, "float32")), **options)


def classifier(preprocessor, size=None, activation=None):
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 3))
    hidden = keras.layers.Conv2D(4, 3, activation="relu")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    model = Classifier(image, keras.layers.Dense(5, activation=activation)(pooled))
    model.preprocessor = preprocessor
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def source_of(model, **options):
    return FrozenSource(model, value_range=(0, 255), **options)


def assert_as_predict(source, model, images=PIXELS):
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(source(images)), expected, atol=1e-5)
    return expected


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_scores_are_those_of_predict(activation) -> None:
    model = classifier(Converter(), activation=activation)
    source = source_of(model)
    assert source.source_shape == (8, 8, 3)
    assert source.score_kind == ("probabilities" if activation else "logits")
    scores = assert_as_predict(source, model)
    assert np.abs(scores - keras.ops.convert_to_numpy(model(PIXELS))).max() > 0.1


def test_features_are_prepared_in_the_same_way() -> None:
    model = classifier(Converter())
    features = source_of(model, output="features")
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.layers[-1].weights)
    expected = model.predict(PIXELS, verbose=0)
    found = keras.ops.convert_to_numpy(features(PIXELS)) @ kernel + bias
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_the_user_says_comes_first() -> None:
    model = classifier(Converter(), size=8)
    source = source_of(model, preprocessing=(1 / 255, 0.0))
    expected = keras.ops.convert_to_numpy(model(PIXELS / np.float32(255)))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(source(PIXELS)), expected, atol=1e-5)


def test_the_program_is_trained_through_it() -> None:
    source = source_of(classifier(Converter()))
    model = small_model(source, built=True)
    images, labels = images_and_labels(16)
    model.fit(images, labels, verbose=0)
    assert np.abs(model.program.weights[0].numpy()).max() > 1e-3
    rebuilt = FrozenSource.from_config(source_of(without_predict()).get_config())
    assert rebuilt.preprocessing == source_of(without_predict()).preprocessing


def without_predict():
    image = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(image)
    return keras.Model(image, keras.layers.Dense(5, "softmax")(flat))


@pytest.mark.parametrize("preprocessor", [Squaring(), Turning()])
def test_what_cannot_be_read_is_refused(preprocessor) -> None:
    with pytest.raises(ValueError, match="preprocessor = None"):
        source_of(classifier(preprocessor, size=8))


@pytest.mark.slow
def test_a_classifier_of_keras_hub(tmp_path) -> None:
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    converter = hub.layers.ImageConverter(image_size=(16, 16), scale=SCALE, offset=OFFSET)
    model = hub.models.ResNetImageClassifier(
        backbone=backbone,
        num_classes=5,
        preprocessor=hub.models.ResNetImageClassifierPreprocessor(converter),
    )
    source = source_of(model)
    assert source.source_shape == (16, 16, 3) and source.score_kind == "logits"
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    assert_as_predict(source, model, images)
    reprogrammed = small_model(source)
    reprogrammed.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_as_predict(loaded.source, model, images)
    assert loaded.source.fingerprint == source.fingerprint
