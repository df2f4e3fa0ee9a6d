"""Numbers and texts on their way in and out, of every type."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram.serving import ServingError
from keras_reprogram.serving.json_answers import numbers_of, parse_object, shown
from keras_reprogram.serving.json_requests import array_of_json
from keras_reprogram.serving.tensors import array_of_proto, array_of_texts, proto_of_array

MANY = 2**20
FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
INTEGERS = (
    tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64
)  # fmt: skip


def sample(dtype):
    if dtype == tf.string:
        return array_of_texts([b"a\0", b"", b"\xff", b"zz"]).reshape(2, 2)
    if dtype == tf.bool:
        return np.array([[True, False], [False, True]])
    numbers = [dtype.min, dtype.max, 0, 3]
    return np.array(numbers, dtype.as_numpy_dtype).reshape(2, 2)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, tf.bool, tf.string], ids=str)
def test_protos_there_and_back(dtype):
    array = sample(dtype)
    received = array_of_proto(proto_of_array(array), MANY)
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)
    # As others write them: in one piece, and as fields.
    proto = tf.make_tensor_proto(array)
    np.testing.assert_array_equal(array_of_proto(proto, MANY), array)
    np.testing.assert_array_equal(tf.make_ndarray(proto_of_array(array)), array)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, tf.bool], ids=str)
def test_json_there_and_back(dtype):
    array = sample(dtype)
    texts = np.reshape(numbers_of(array), (2, 2)).tolist()
    read = json.loads(str(texts).replace("'", ""))
    if dtype in FLOATS:
        # Integers beyond what a float holds exactly are refused: these are written with a point.
        assert all("." in text or "e" in text for row in texts for text in row)
    received = array_of_json(read, dtype.as_datatype_enum)
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)


def test_the_fewest_digits_that_give_a_number_back():
    numbers = np.array([0.1, 1 / 3, 9e6, 3e-5, 16777216, -0.0, 1e30], np.float32)
    written = ["0.1", "0.333333343", "9e+06", "3e-05", "16777216.0", "-0.0", "1e+30"]
    assert numbers_of(numbers) == written
    assert numbers_of(np.array([1 / 3])) == ["0.33333333333333331"]
    assert numbers_of(np.float32([np.nan, np.inf, -np.inf])) == ["NaN", "Infinity", "-Infinity"]
    drawn = np.random.default_rng(0).normal(0, 1e3, 5000).astype(np.float32)
    np.testing.assert_array_equal(np.array(numbers_of(drawn), np.float32), drawn)


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (256, tf.uint8, "JSON Value: 256 Type: Number is not of expected type: uint8"),
        (-1, tf.uint32, "is not of expected type: uint32"),
        (2**63, tf.int64, "is not of expected type: int64"),
        (1.0, tf.int32, "is not of expected type: int32"),
        (1, tf.bool, "is not of expected type: bool"),
        (True, tf.float32, "Type: True is not of expected type: float"),
        (1e39, tf.float32, "without loss of precision"),
        (70000.0, tf.float16, "to half without loss of precision"),
        ("\ud800", tf.string, "is not formatted correctly"),
        ({"b64": "YQ==", "x": 1}, tf.string, "not formatted correctly for base64 data"),
        ([1.0, [1.0]], tf.float32, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1.0], 1.0], tf.float32, "found at incorrect level: 2 in the JSON DOM. Expected at l"),
        ([[1.0], [1.0, 2.0]], tf.float32, "unexpected size: 2 at level: 1 expected size: 1"),
        (1.0, tf.complex64, "is not possible"),
    ],
)
def test_json_that_does_not_fit(value, dtype, said):
    with pytest.raises(ServingError) as raised:
        array_of_json(value, dtype.as_datatype_enum)
    assert said in raised.value.text


def test_base64_may_lack_its_end_and_have_lines():
    for text in ("YQ==", "YQ", "Y\nQ=="):
        assert array_of_json({"b64": text}, tf.string.as_datatype_enum).item() == b"a"


def test_an_error_shows_a_long_value_only_in_part():
    assert len(shown("x" * 10**6)) < 100
    assert shown(list(range(10**6))) == "[...]"
    assert shown({str(number): 1 for number in range(1000)}) == "{...}"
    with pytest.raises(ServingError, match="no UTF-8 text"):
        parse_object(b'{"a": "\xff"}')
