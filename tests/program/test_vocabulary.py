"""Vocabulary: texts to numbers and back, as Python and as TensorFlow split them."""

import json
import random
import warnings

import keras
import numpy as np
import pytest

from keras_reprogram import Vocabulary
from keras_reprogram.program.vocabulary import UNITS, split_text

TEXTS = ["what is a fox", "who is that", "is a fox"]


def test_frequent_tokens_come_first_whatever_the_order_of_texts():
    words = Vocabulary.from_texts(TEXTS, minimum_count=2)
    assert words.tokens == ("is", "a", "fox")
    assert words.length == 4
    assert words.size == 5
    assert Vocabulary.from_texts(TEXTS[::-1], minimum_count=2).tokens == words.tokens


def test_numbers_of_texts():
    words = Vocabulary(["is", "a"], length=3)
    with pytest.warns(UserWarning, match="1 of 3 words are unknown, the first is 'fox'"):
        numbers = words.encode(["is a fox"])
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [[2, 3, 1]]
    assert words.encode(["a"]).tolist() == [[3, 0, 0]]


def test_a_warning_counts_texts_that_are_cut():
    words = Vocabulary.from_texts(TEXTS, length=3)
    with pytest.warns(UserWarning, match="1 of 3 texts are longer than 3 words"):
        assert words.decode(words.encode(TEXTS))[0] == "what is a"


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_tensorflow_splits_as_python_does(unit, lowercase):
    """Any code point but NUL, which NumPy's strings lose."""
    draw = random.Random(0)
    codes = [c for c in range(1, 0x3000) if not 0xD800 <= c < 0xE000]
    texts = ["a" + "".join(map(chr, draw.sample(codes, 12))) + " b\tÉ" for _ in range(40)]
    vocabulary = Vocabulary.from_texts(texts, unit=unit, lowercase=lowercase)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numbers = vocabulary.encode(texts)
    between = " " if unit == "words" else ""
    assert vocabulary.decode(numbers) == [
        between.join(split_text(text, unit, lowercase)) for text in texts
    ]


def test_one_hot_rows_are_texts():
    letters = Vocabulary("abc", length=3, unit="characters")
    numbers = letters.encode(["ab", "cab"])
    rows = keras.ops.one_hot(numbers, letters.size)
    assert letters.decode(rows) == letters.decode(numbers) == ["ab", "cab"]


def test_end_and_unknown_write_nothing():
    letters = Vocabulary("abc", length=5, unit="characters")
    assert letters.decode([[2, 0, 1, 3, 0]]) == ["ab"]


def test_config_round_trip():
    words = Vocabulary.from_texts(TEXTS, length=3, lowercase=True)
    text = json.dumps(keras.saving.serialize_keras_object(words))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again.get_config() == words.get_config()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a fox", " \t"], "1 of 2 texts without one, the first at position 1"),
        (["a", 3], "int at position 1"),
        ("a fox", "must be a list of strings"),
        ([], "At least one text"),
    ],
    ids=["empty", "number", "string", "none"],
)
def test_what_is_no_text_is_refused(texts, said):
    for read in (Vocabulary(["a"], 2).encode, Vocabulary.from_texts):
        with pytest.raises(ValueError, match=said):
            read(texts)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": []}, "must have a token"),
        ({"tokens": ["a", "a"]}, "'a' twice"),
        ({"tokens": ["a b"]}, "one of the words. Received: 'a b'"),
        ({"tokens": ["A"], "lowercase": True}, "in small letters"),
        ({"tokens": ["ab"], "unit": "characters"}, "one of the characters"),
        ({"tokens": ["a\0"]}, "one of the words"),
        ({"tokens": ["a"], "length": 0}, "`length` must be a positive integer"),
        ({"tokens": ["a"], "unit": "bytes"}, "`unit` must be one of"),
    ],
)
def test_bad_vocabularies_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Vocabulary(**{"length": 3} | options)


def test_a_count_that_no_token_reaches():
    with pytest.raises(ValueError, match="the most frequent occurs 3 times"):
        Vocabulary.from_texts(TEXTS, minimum_count=4)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([[9]], "from 9 to 9"), ([1, 2], r"Received: shape \(2,\)"), ([[[1.0]]], "one-hot rows")],
    ids=["large", "flat", "narrow"],
)
def test_numbers_of_another_vocabulary(numbers, said):
    with pytest.raises(ValueError, match=said):
        Vocabulary(["a"], 2).decode(numbers)
