"""What every output map must do. One call checks one map."""

import json

import keras
import numpy as np
import tensorflow as tf
from checks.tiny_models import random_scores

from keras_reprogram import fit_logistic_regression


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def solver(num_classes):
    def solve(features, labels, sample_weight):
        return fit_logistic_regression(
            features, labels, num_classes=num_classes, sample_weight=sample_weight
        )

    return solve


def fitted(output_map, scores, labels, **options):
    output_map.fit_answers(scores, labels, solver=solver(output_map.num_classes), **options)
    return output_map


def check_output_map(build, *, kind, views=1, num_labels=6):
    """All checks.

    Args:
        build: makes a map that nobody has touched.
        kind: of the scores that it reads.
        views: views a target image has.
        num_labels: scores a view has.
    """
    scores = random_scores(40, views, num_labels)
    if kind == "logits":
        scores = np.log(scores + 1e-3)
    labels = np.arange(40) % build().num_classes
    output_map = attached(build(), kind)
    fitted(output_map, scores, labels)
    assert output_map.ready
    check_rows(output_map, scores)
    check_shapes(output_map, views, num_labels)
    check_refuses_other_shapes(output_map, views, num_labels)
    check_stable_loss(output_map, scores, labels)
    check_config_round_trip(output_map, scores, kind)
    check_call_and_fit_agree_on_shapes(build, scores, labels, kind)


def attached(output_map, kind):
    output_map.attach(kind, 0.0)
    return output_map


def check_rows(output_map, scores):
    found = as_array(output_map(scores))
    assert found.shape == (len(scores), output_map.num_classes)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3, "the answer does not depend on the scores"
    np.testing.assert_allclose(as_array(output_map(scores[:1])), found[:1], atol=1e-6)
    assert output_map(scores[:0]).shape == (0, output_map.num_classes)


def check_shapes(output_map, views, num_labels):
    declared = output_map.compute_output_shape((None, views, num_labels))
    assert tuple(declared) == (None, output_map.num_classes)
    symbolic = output_map(keras.KerasTensor((None, views, num_labels)))
    assert symbolic.shape == (None, output_map.num_classes)
    assert output_map.dtype == "float32"


def check_refuses_other_shapes(output_map, views, num_labels):
    for shape in ((2, views + 1, num_labels), (2, views, num_labels + 1), (2, num_labels)):
        try:
            output_map(np.zeros(shape, "float32"))
        except ValueError as error:
            assert "incompatible with the layer" in str(error)
        else:
            raise AssertionError(f"scores of shape {shape} were accepted")


def check_stable_loss(output_map, scores, labels):
    """Keras finds the logits behind the softmax, so that the loss is not cut at -log(1e-7)."""
    found = []

    @tf.function
    def loss_and_gradient(scores, labels):
        scores = tf.convert_to_tensor(scores)
        with tf.GradientTape() as tape:
            tape.watch(scores)
            output = output_map(scores)
            loss = keras.losses.sparse_categorical_crossentropy(labels, output)
        found.append(hasattr(output, "_keras_logits"))
        return loss, tape.gradient(loss, scores)

    loss, gradient = loss_and_gradient(scores, labels)
    assert found == [True], "the softmax is not the last operation"
    assert np.isfinite(loss).all()
    assert np.isfinite(gradient).all()


def check_config_round_trip(output_map, scores, kind):
    text = json.dumps(keras.saving.serialize_keras_object(output_map))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert json.dumps(keras.saving.serialize_keras_object(again)) == text
    again.attach(kind, 0.0)
    again(scores)
    again.set_weights(output_map.get_weights())
    assert again.ready
    np.testing.assert_array_equal(as_array(again(scores)), as_array(output_map(scores)))
    output_map.trainable = False
    frozen = type(output_map).from_config(output_map.get_config())
    assert frozen.trainable is False
    output_map.trainable = True


def check_call_and_fit_agree_on_shapes(build, scores, labels, kind):
    """Called first or fitted first: the same weights come out."""
    called, unseen = attached(build(), kind), attached(build(), kind)
    called(scores)
    fitted(called, scores, labels)
    fitted(unseen, scores, labels)
    for one, other in zip(called.get_weights(), unseen.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
