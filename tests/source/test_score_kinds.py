"""What sources declare their scores to be, and what a Keras model says of them by itself."""

import keras
import numpy as np
import pytest

from keras_reprogram import FrozenSource, OpaqueSource
from keras_reprogram.source.remote import (
    AzureContentSafetySource,
    ClarifaiSource,
    CustomVisionSource,
    GoogleVisionSource,
    HuggingFaceSource,
    OpenAIModerationSource,
    RekognitionSource,
    SageMakerSource,
    VertexAISource,
)

SHAPE = (8, 8, 3)
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


def opaque(answer, num_labels, **options):
    def function(images):
        return np.tile(answer, (len(images), 1))

    return OpaqueSource(
        function, SHAPE, num_labels, value_range=(0, 255), identity="service", **options
    )


DECLARED = [
    (3, {}, "probabilities"),
    (3, {"sum_tolerance": 0.5}, "probabilities"),
    (3, {"sum_tolerance": None}, "independent"),
    (3, {"score_kind": "probabilities", "sum_tolerance": None}, "independent"),
    (3, {"score_kind": "independent"}, "independent"),
    (1, {}, "independent"),
    (1, {"score_kind": "logits"}, "independent_logits"),
    (3, {"score_kind": "logits"}, "logits"),
    (3, {"score_kind": "independent_logits"}, "independent_logits"),
]


@pytest.mark.parametrize(("num_labels", "options", "kind"), DECLARED)
def test_kind_of_scores_that_are_declared(num_labels, options, kind):
    source = opaque([1 / num_labels] * num_labels, num_labels, **options)
    assert source.score_kind == kind
    assert (source.sum_tolerance is None) == (kind != "probabilities")


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"must be one of .*'independent', .*'odds'"):
        opaque([1.0], 1, score_kind="odds")


def test_fingerprints_are_those_from_before_kinds_were_told_apart():
    """Answers that a ledger holds must stay answers of the same source."""
    partial = opaque([0.2] * 3, 3, sum_tolerance=None)
    assert partial.fingerprint == opaque([0.2] * 3, 3).fingerprint
    assert partial.fingerprint != opaque([0.2] * 3, 3, score_kind="logits").fingerprint


@pytest.mark.parametrize(("score", "advice"), [(87.5, "divide percentages"), (-3.0, "_logits")])
def test_independent_scores_beyond_their_range_are_refused(score, advice):
    source = opaque([0.1, score], 2, score_kind="independent")
    with pytest.raises(ValueError, match=rf"each from 0 to 1. Received: scores .*{advice}"):
        source(np.zeros((1, *SHAPE), "float32"))


def test_noise_at_the_ends_of_independent_scores_passes():
    source = opaque([-0.02, 1.03], 2, score_kind="independent")
    found = np.asarray(source(np.zeros((1, *SHAPE), "float32")))
    np.testing.assert_allclose(found, [[-0.02, 1.03]])


def test_rows_that_do_not_sum_to_one_are_told_what_they_may_be():
    source = opaque([0.7, 0.6], 2)
    message = r"sums to 1.3.*`score_kind=\"independent\"` .--scores independent. if each"
    with pytest.raises(ValueError, match=message):
        source(np.zeros((1, *SHAPE), "float32"))


def network(activation, units=4, after=None, loss=None):
    image = keras.Input(SHAPE)
    scores = keras.layers.Dense(units, activation)(keras.layers.Flatten()(image))
    model = keras.Model(image, after(scores) if after else scores)
    if loss is not None:
        model.compile(loss=loss)
    return model


NETWORKS = [
    (network("softmax"), "probabilities"),
    (network("sigmoid"), "independent"),
    (network("sigmoid", 1), "independent"),
    (network("sigmoid", after=keras.layers.Reshape((4,))), "independent"),
    (network("linear", after=keras.layers.Activation("sigmoid")), "independent"),
    (network("linear"), "logits"),
    (network("linear", 1), "independent_logits"),
    (
        network("linear", loss=BINARY),
        "independent_logits",
    ),
    (network("linear", loss="binary_crossentropy"), "independent_logits"),
    (network("linear", loss="sparse_categorical_crossentropy"), "logits"),
]


@pytest.mark.parametrize(("model", "kind"), NETWORKS)
def test_kind_of_a_keras_model(model, kind):
    source = FrozenSource(model, value_range=(0, 1))
    assert source.score_kind == kind
    assert FrozenSource.from_config(source.get_config()).score_kind == kind


def test_vendors_say_what_their_scores_are():
    common = {"value_range": (0, 255)}
    named = common | {"identity": "service"}
    signs = ("https://signs.cognitiveservices.azure.com", "6a5b3c1e", "Iteration3")
    kinds = {
        ClarifaiSource("nsfw-recognition", SHAPE, ["sfw", "nsfw"], **common): "independent",
        GoogleVisionSource(SHAPE, ["Town", "Dog"], **common): "independent",
        SageMakerSource("signs", SHAPE, ["stop", "yield"], **common): "probabilities",
        HuggingFaceSource("me/signs", SHAPE, ["stop", "yield"], **common): "probabilities",
        VertexAISource(
            "p", "l", "1", SHAPE, ["stop", "yield"], key_variable="T", **common
        ): "probabilities",
        AzureContentSafetySource("https://a.example", (64, 64, 3), **common): "independent",
        OpenAIModerationSource(SHAPE, **common): "independent",
        RekognitionSource((96, 96, 3), ["Tree", "Person"], **named): "independent",
        CustomVisionSource(*signs, SHAPE, ["stop", "yield"], **named): "probabilities",
        CustomVisionSource(
            *signs, SHAPE, ["stop", "wet"], score_kind="independent", **named
        ): "independent",
    }
    assert [source.score_kind for source in kinds] == list(kinds.values())
