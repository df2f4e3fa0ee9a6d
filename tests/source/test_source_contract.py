"""Every source through the same checks: a new source is one more row."""

import hashlib

import numpy as np
import pytest
from checks import check_source as checks
from checks.tiny_models import NUM_LABELS, SHAPE, random_images, tiny_classifier, weights_of

from keras_reprogram import (
    FrozenSource,
    LiteRTSource,
    ONNXSource,
    OpaqueSource,
    SavedModelSource,
    join_sources,
)

RANGE = (0, 255)


def opaque(files, **options):
    def function(images):
        return np.asarray(files.network(images, training=False))

    facts = {"value_range": RANGE, "identity": "tiny"}
    return OpaqueSource(function, SHAPE, NUM_LABELS, **facts | options)


def frozen(activation="softmax", **options):
    def build(files):
        return FrozenSource(tiny_classifier(activation), value_range=RANGE, **options)

    return build


SOURCES = {
    "frozen": frozen(class_names=list("abcdef")),
    "frozen logits": frozen("linear"),
    "frozen features": frozen(output="features"),
    "frozen preprocessing": frozen(preprocessing=((0.5, 1, 2), (1, 2, 3)), channel_order="bgr"),
    "joined": lambda files: join_sources([frozen()(files), frozen()(files)]),
    "opaque": opaque,
    "litert float": lambda files: LiteRTSource(files.float, value_range=RANGE),
    "litert uint8": lambda files: LiteRTSource(files.uint8),
    "litert int8": lambda files: LiteRTSource(files.int8, class_names=list("abcdef")),
    "litert one at a time": lambda files: LiteRTSource(files.fixed, value_range=RANGE),
    "onnx": lambda files: ONNXSource(files.onnx, value_range=RANGE),
    "saved model": lambda files: SavedModelSource(files.saved, value_range=RANGE),
    "saved model opaque": lambda files: SavedModelSource(
        files.saved, value_range=RANGE, opaque=True
    ),
}


def weights_reader(source, files):
    """What a fit could have changed, wherever the source keeps it."""
    if isinstance(source, FrozenSource):
        return lambda: weights_of(source.model)
    if isinstance(source, SavedModelSource):
        return lambda: [v.numpy() for v in source.loaded.variables]
    if isinstance(source, LiteRTSource | ONNXSource):
        digest = hashlib.sha256(source.model_path.read_bytes()).hexdigest
        return lambda: [np.array(digest())]
    return lambda: weights_of(files.network)


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("name", SOURCES)
def test_source_keeps_the_contract(name, files):
    source = SOURCES[name](files)
    checks.check_source(source, weights_reader(source, files))


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "opaque"])
def test_config_round_trip(name, files):
    source = SOURCES[name](files)
    again = checks.check_config_round_trip(source)
    if isinstance(source, FrozenSource):
        # A file brings the weights after the config.
        again.set_weights(source.get_weights())
    assert again.fingerprint == source.fingerprint
    images = random_images(2)
    np.testing.assert_array_equal(checks.scores_of(again, images), checks.scores_of(source, images))


@pytest.mark.parametrize("name", SOURCES)
def test_fingerprint_is_equal_across_rebuilds(name, files):
    assert SOURCES[name](files).fingerprint == SOURCES[name](files).fingerprint


def test_sources_differ_in_fingerprint(files):
    # The two forms of each pair answer alike, though one of them is opaque or is named otherwise.
    same = {"saved model opaque"}
    prints = [SOURCES[name](files).fingerprint for name in SOURCES if name not in same]
    assert len(set(prints)) == len(prints)


IN_GRAPH = {
    "frozen": True,
    "saved model": True,
    "opaque": False,
    "litert float": False,
    "onnx": False,
}


@pytest.mark.parametrize(("name", "in_graph"), IN_GRAPH.items())
def test_where_a_source_runs(name, in_graph, files):
    import tensorflow as tf

    source = SOURCES[name](files)
    assert (source.in_graph, source.exportable) == (in_graph, in_graph)
    call = tf.function(source, input_signature=[tf.TensorSpec((None, *SHAPE))])
    images = random_images(2)
    if in_graph:
        np.testing.assert_allclose(call(images), checks.scores_of(source, images), atol=1e-6)
        return
    with pytest.raises(RuntimeError, match="runs as Python code and cannot be called inside a"):
        call(images)


GRADIENTS = {"frozen": True, "saved model": True, "saved model opaque": False, "opaque": False}


@pytest.mark.parametrize(("name", "differentiable"), GRADIENTS.items())
def test_differentiable_means_what_it_says(name, differentiable, files):
    import tensorflow as tf

    source = SOURCES[name](files)
    assert source.differentiable is differentiable
    images = tf.constant(random_images(2))
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.reduce_sum(source(images)[:, 0])
    if differentiable:
        assert np.abs(tape.gradient(score, images)).max() > 0
    elif source.in_graph:
        with pytest.raises(ValueError, match="This source is opaque: its gradient is refused"):
            tape.gradient(score, images)
    else:
        assert tape.gradient(score, images) is None


WRONG_FACTS = [
    ({"score_kind": "percent"}, "`score_kind` .* must be one of"),
    ({"class_names": ["a"]}, "`class_names` must name all 6 scores. Received: 1 names"),
    ({"max_batch": 0}, "`max_batch` must be at least 1. Received: 0"),
    ({"value_range": (255, 0)}, "`value_range` must be \\(low, high\\). Received: \\(255, 0\\)"),
    ({"sum_tolerance": "none"}, "`sum_tolerance` must be a number"),
    ({"sum_tolerance": -0.1}, "`sum_tolerance` must be a number"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_FACTS)
def test_wrong_facts_are_refused(wrong, message, files):
    with pytest.raises(ValueError, match=message):
        opaque(files, **wrong)
