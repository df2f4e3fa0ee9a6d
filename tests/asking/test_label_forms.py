"""Which labels a loss reads is found by asking it, not by its name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_reprogram.asking.label_forms import COLUMN, FORMS, NUMBERS, ONE_HOT, as_form, labels_for
from keras_reprogram.methods.bar_2020 import FocalLoss

LABELS = np.array([2, 0, 1, 2])


class Surprise(keras.losses.Loss):
    """Integers, and neither its name nor its class says so."""

    def call(self, y_true, y_pred):
        return -ops.log(ops.sum(y_pred * ops.one_hot(ops.cast(y_true, "int32"), 3), axis=-1))


class SparseButOneHot(keras.losses.CategoricalCrossentropy):
    """One-hot rows, and its name says otherwise."""


class Renamed(keras.losses.SparseCategoricalCrossentropy):
    """Integers, by inheritance."""


def sparse_looking(labels, found):
    return ops.mean(ops.abs(labels - found), axis=-1)


def column(labels, found):
    return -ops.log(ops.take_along_axis(found, ops.cast(labels, "int32"), axis=1))[:, 0]


def by_index(labels, found):
    return -tf.math.log(tf.gather(found, tf.cast(labels, tf.int32), batch_dims=1))


KINDS = [
    (FocalLoss(), NUMBERS),
    (FocalLoss(gamma=0.0), NUMBERS),
    (Surprise(), NUMBERS),
    (Renamed(), NUMBERS),
    (by_index, NUMBERS),
    ("sparse_categorical_crossentropy", NUMBERS),
    ("SparseCategoricalCrossentropy", NUMBERS),
    (keras.losses.SparseCategoricalCrossentropy(from_logits=True), NUMBERS),
    (keras.losses.SparseCategoricalCrossentropy(ignore_class=2), NUMBERS),
    (keras.losses.sparse_categorical_crossentropy, NUMBERS),
    (column, COLUMN),
    (SparseButOneHot(), ONE_HOT),
    (sparse_looking, ONE_HOT),
    ("mse", ONE_HOT),
    ("categorical_crossentropy", ONE_HOT),
    (keras.losses.CategoricalCrossentropy(label_smoothing=0.3), ONE_HOT),
    (keras.losses.CategoricalCrossentropy(from_logits=True), ONE_HOT),
    (keras.losses.CategoricalFocalCrossentropy(), ONE_HOT),
    (keras.losses.BinaryCrossentropy(label_smoothing=0.1), ONE_HOT),
    (keras.losses.KLDivergence(), ONE_HOT),
    (keras.losses.CategoricalHinge(), ONE_HOT),
]


@pytest.mark.fast_cases(20)
@pytest.mark.parametrize("num_classes", [2, 3, 9, 1000])
@pytest.mark.parametrize(("loss", "kind"), KINDS)
def test_labels_come_in_the_form_that_a_loss_reads(loss, kind, num_classes):
    if isinstance(loss, Surprise) and num_classes != 3:
        pytest.skip("it has three classes")
    labels = LABELS % num_classes
    expected = as_form(labels, kind, num_classes)
    for form in FORMS:
        found = labels_for(loss, as_form(labels, form, num_classes), labels, num_classes)
        if kind == NUMBERS and found.shape == (4, 1):
            # Many losses of integers read a column too.
            found = found[:, 0]
        np.testing.assert_array_equal(found, expected)


def test_what_came_stays_where_the_loss_reads_it():
    soft = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    assert labels_for("categorical_crossentropy", soft, LABELS, 3) is soft

    def either(labels, found):
        if len(labels.shape) == 1:
            labels = ops.one_hot(ops.cast(labels, "int32"), 3)
        return keras.losses.categorical_crossentropy(labels, found)

    assert labels_for(either, soft, LABELS, 3) is soft
    assert labels_for(either, LABELS, LABELS, 3) is LABELS


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (lambda labels, found: ops.sum(found, axis=-1), "does not tell classes apart"),
        (
            lambda labels, found: -keras.losses.kl_divergence(labels, found),
            "does not tell classes apart",
        ),
        (lambda labels, found: ops.log(-found), "is not finite"),
        (lambda labels, found: labels.nothing, "raises AttributeError: .*nothing"),
        (keras.losses.Dice(), r"\(n, K\) one-hot rows: raises"),
    ],
)
def test_a_loss_that_reads_no_labels_is_refused(loss, reason):
    with pytest.raises(ValueError, match=f"one number per image.*Received: loss=.*{reason}"):
        labels_for(loss, LABELS, LABELS, 3)
