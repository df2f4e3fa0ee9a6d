"""Data that come in batches: how many there are is known before a query is paid."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import head_model, images_and_labels, opaque_source, small_model

from keras_reprogram.asking.data import batches, check_end, known_length

IMAGES, LABELS = images_and_labels(6)


def endless():
    while True:
        yield IMAGES, LABELS


class Stream:
    """As loaders of streams: read anew each time, and without a word of how much there is."""

    def __iter__(self):
        return endless()


class Loader(Stream):
    """As loaders of stored data: it says how many batches it has, and stops there or does not."""

    def __len__(self):
        return 3


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return IMAGES, LABELS


class Older(Endless):
    """As Keras's older image iterators: a `PyDataset` that begins anew when it is iterated."""

    num_batches = 3

    def __iter__(self):
        return endless()

    def __next__(self):
        return IMAGES, LABELS


def repeated():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(6).repeat()


def of_unknown_length():
    signature = (tf.TensorSpec((None, *IMAGES.shape[1:])), tf.TensorSpec((None,), tf.int64))
    return tf.data.Dataset.from_generator(endless, output_signature=signature)


WITHOUT_END = {"repeat()": repeated, "PyDataset": Endless}
UNKNOWN = {"generator": endless, "stream": Stream, "from_generator": of_unknown_length}
WAYS = {
    "fit_output_map": lambda model, x, n: model.fit_output_map(x, steps=n, verbose=0),
    "collect_scores": lambda model, x, n: model.collect_scores(x, steps=n, verbose=0),
    "predict": lambda model, x, n: model.predict(x, steps=n, verbose=0),
    "evaluate": lambda model, x, n: model.evaluate(x, steps=n, verbose=0),
    "fit": lambda model, x, n: model.fit(x, steps_per_epoch=n, verbose=0),
    "validation": lambda model, x, n: model.fit(
        IMAGES[:0], LABELS[:0], validation_data=x, validation_steps=n, verbose=0
    ),
}
ARGUMENT = {"fit": "steps_per_epoch", "validation": "validation_steps"}


@pytest.fixture(scope="module")
def costly():
    return small_model(opaque_source(), num_views=2)


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", [*WITHOUT_END, *UNKNOWN])
def test_a_source_that_costs_is_not_asked_without_end(way, form, costly) -> None:
    before = costly.queries_used
    argument = ARGUMENT.get(way, "steps")
    with pytest.raises(ValueError, match=f"no `{argument}`. Pass `{argument}=`"):
        WAYS[way](costly, (WITHOUT_END | UNKNOWN)[form](), None)
    assert costly.queries_used == before


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("way", ["fit_output_map", "collect_scores", "predict", "evaluate"])
@pytest.mark.parametrize("form", [*WITHOUT_END, *UNKNOWN])
def test_steps_are_what_is_asked(way, form, costly) -> None:
    if form == "stream" and way in ("predict", "evaluate"):
        pytest.skip("Keras itself takes no such object.")
    before = costly.queries_used
    found = WAYS[way](costly, (WITHOUT_END | UNKNOWN)[form](), 3)
    assert costly.queries_used - before == 3 * len(IMAGES) * 2
    if way in ("collect_scores", "predict"):
        assert len(found) == 3 * len(IMAGES)


@pytest.mark.parametrize("make", [Loader, Older])
@pytest.mark.parametrize("way", ["fit_output_map", "collect_scores"])
def test_no_more_is_asked_than_data_say_they_have(way, make, costly) -> None:
    before = costly.queries_used
    WAYS[way](costly, make(), None)
    assert costly.queries_used - before == 3 * len(IMAGES) * 2


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("form", WITHOUT_END)
@pytest.mark.parametrize("way", WAYS)
def test_no_source_is_asked_without_end(way, form) -> None:
    model = head_model()
    argument = ARGUMENT.get(way, "steps")
    with pytest.raises(ValueError, match=f"must end, or `{argument}` say.*take"):
        WAYS[way](model, WITHOUT_END[form](), None)
    assert model.queries_used == 0


def test_a_generator_of_a_source_that_is_free_is_read_to_its_end() -> None:
    scores = head_model().collect_scores(itertools.islice(endless(), 4), verbose=0)
    assert len(scores) == 4 * len(IMAGES)


def test_arrays_take_no_steps(costly) -> None:
    with pytest.raises(ValueError, match="Received: arrays and steps=2. Pass a part"):
        costly.fit_output_map(IMAGES, LABELS, steps=2, verbose=0)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_steps_are_whole_numbers(steps) -> None:
    with pytest.raises(ValueError, match="`steps` must be a whole number >= 1. Received:"):
        check_end(endless(), steps, costs=True)


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (repeated, math.inf),
        (Endless, math.inf),
        (of_unknown_length, None),
        (endless, None),
        (Stream, None),
        (Loader, 3),
        (Older, 3),
        (lambda: repeated().take(2), 2),
    ],
)
def test_what_data_say_of_their_length(make, length) -> None:
    assert known_length(make()) == length


def test_batches_of_arrays_and_of_steps() -> None:
    assert [len(x) for x, _, _ in batches(IMAGES, LABELS, batch_size=4)] == [4, 2]
    found = list(batches(endless(), steps=2))
    assert len(found) == 2 and found[0][2] is None
    np.testing.assert_array_equal(found[1][0], IMAGES)
