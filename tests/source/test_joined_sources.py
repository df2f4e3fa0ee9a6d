"""join_sources: all sources' scores, gradients and files in one, and what does not fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks.check_source import scores_of
from checks.tiny_models import NUM_LABELS, SHAPE, random_images, tiny_classifier

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    ProgramLayer,
    ReprogrammedModel,
    join_sources,
)


def frozen(activation="softmax", seed=0, **options):
    model = tiny_classifier(activation, seed)
    return FrozenSource(model, **{"value_range": (0, 255)} | options)


def two(activation="softmax", **options):
    turned = {"preprocessing": ((0.5, 1.0, 2.0), 3.0), "channel_order": "bgr"}
    return [frozen(activation, **options), frozen(activation, 1, **options | turned)]


def test_probabilities_stand_side_by_side_and_sum_to_one():
    first, second = two()
    images = random_images(4)
    scores = scores_of(join_sources([first, second]), images)
    np.testing.assert_allclose(scores[:, :NUM_LABELS] * 2, scores_of(first, images), atol=1e-6)
    np.testing.assert_allclose(scores[:, NUM_LABELS:] * 2, scores_of(second, images), atol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-6)


def test_a_source_of_channels_first_joins():
    image = keras.Input((SHAPE[2], *SHAPE[:2]))
    model = keras.Model(image, tiny_classifier(seed=1)(keras.layers.Permute((2, 3, 1))(image)))
    first = FrozenSource(model, value_range=(0, 255), data_format="channels_first")
    joined, images = join_sources([frozen(), first]), random_images(3)
    np.testing.assert_allclose(
        scores_of(joined, images)[:, NUM_LABELS:] * 2, scores_of(first, images), atol=1e-6
    )


def test_logits_stay_as_they_are():
    sources = two("linear")
    images = random_images(4)
    joined = join_sources(sources)
    assert joined.score_kind == "logits"
    expected = np.concatenate([scores_of(source, images) for source in sources], axis=1)
    np.testing.assert_allclose(scores_of(joined, images), expected, atol=1e-6)


def test_facts_are_those_of_all():
    named = [frozen(class_names=list(names)) for names in ("abcdef", "ghijkl")]
    assert join_sources(named).class_names == tuple("abcdefghijkl")
    assert join_sources([named[0], frozen(seed=1)]).class_names is None
    first, second, third = (frozen(max_batch=most) for most in (None, 7, 20))
    assert join_sources([first, second, third]).max_batch == 7
    assert join_sources([first, first]).max_batch is None
    loose = frozen(sum_tolerance=0.2)
    assert join_sources([first, loose]).sum_tolerance == 0.2
    assert join_sources([first, frozen(sum_tolerance=None)]).sum_tolerance is None


def test_fingerprint_names_the_sources_and_their_order():
    first, second = two()
    names = {join_sources(pair).fingerprint for pair in ([first, second], [second, first])}
    assert len(names) == 2
    assert join_sources([first, second]).fingerprint in names


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "changes",
    [{"preprocessing": (0.5, 0.0)}, {"preprocessing": (1.0, 3.0)}, {"channel_order": "bgr"}],
)
def test_fingerprint_holds_the_preprocessing_of_members(changes):
    plain = join_sources([frozen(), frozen()])
    changed = join_sources([frozen(), frozen(**changes)])
    again = join_sources([frozen(), frozen(**changes)])
    assert changed.fingerprint == again.fingerprint != plain.fingerprint


def test_features_of_several_last_layers_are_refused():
    joined = join_sources(two())
    with pytest.raises(ValueError, match="joined sources have one last layer each"):
        FrozenSource(joined.model, value_range=(0, 255), output="features")


def test_gradients_reach_the_image_through_both():
    joined = join_sources(two())
    image = tf.Variable(random_images(1))
    for column in (0, NUM_LABELS):
        with tf.GradientTape() as tape:
            score = joined(image)[0, column]
        assert np.abs(tape.gradient(score, image)).max() > 0


def test_one_network_twice_has_two_names():
    source = frozen()
    scores = scores_of(join_sources([source, source]), random_images(2))
    np.testing.assert_allclose(scores[:, :NUM_LABELS], scores[:, NUM_LABELS:], atol=1e-6)


@pytest.mark.slow
def test_a_map_reads_both_and_the_saved_model_answers_the_same(tmp_path):
    program = ProgramLayer(SHAPE, SHAPE, source_range=(0, 255), placement="full")
    model = ReprogrammedModel(program, join_sources(two()), DenseMap(2))
    images = random_images(40)
    model.fit_output_map(images, np.arange(40) % 2, verbose=0)
    kernel = keras.ops.convert_to_numpy(model.output_map.weights[0])
    assert kernel.size == 2 * 2 * NUM_LABELS
    expected = model.predict(images, verbose=0)
    model.save(tmp_path / "joined.keras")
    again = keras.models.load_model(tmp_path / "joined.keras")
    np.testing.assert_allclose(again.predict(images, verbose=0), expected, atol=1e-6)
    assert again.source.fingerprint == model.source.fingerprint


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (lambda: [], "two or more.*Received: 0"),
        (lambda: [frozen()], "two or more.*Received: 1"),
        (lambda: [frozen(), frozen("linear")], "same `score_kind`.*probabilities and logits"),
        (lambda: [frozen(), frozen(value_range=(0, 1))], "same `value_range`"),
        (lambda: [frozen(output="features")] * 2, "joins scores.*output=.scores."),
        (lambda: [frozen(), "MobileNet"], "Received: str"),
    ],
)
def test_what_does_not_fit_is_named(sources, message):
    with pytest.raises(ValueError, match=message):
        join_sources(sources())


def test_sources_of_other_sizes_are_named():
    image = keras.Input((4, 4, 3))
    flat = keras.layers.Flatten()(image)
    small = keras.Model(image, keras.layers.Dense(6, activation="softmax")(flat))
    with pytest.raises(ValueError, match=r"same `source_shape`.*\(8, 8, 3\) and \(4, 4, 3\)"):
        join_sources([frozen(), FrozenSource(small, value_range=(0, 255))])
