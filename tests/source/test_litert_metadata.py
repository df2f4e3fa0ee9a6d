"""What `.tflite` files say of themselves: normalisation and labels.

Their tool (tflite-support) has no wheel for this Python: `with_metadata` re-creates the layout of
metadata_schema.fbs, and the last test reads files that the tool wrote.
"""

import io
import zipfile

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from checks.tiny_models import NUM_LABELS, random_images

from keras_reprogram import LiteRTSource
from keras_reprogram.source.litert_metadata import read_litert_metadata

NAMES = [f"class {letter}" for letter in "abcdef"]


def metadata_of(mean, std, label_file):
    builder = flatbuffers.Builder()

    def table(size, **fields):
        builder.StartObject(size)
        for slot, (kind, value) in fields.items():
            number = int(slot[1:])
            if kind == "byte":
                builder.PrependUint8Slot(number, value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(number, value, 0)
        return builder.EndObject()

    def tables(*places):
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()

    def floats(values):
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    options = table(2, _0=("offset", floats(mean)), _1=("offset", floats(std)))
    unit = table(2, _0=("byte", 1), _1=("offset", options))
    image = table(7, _4=("offset", tables(unit)))
    name = builder.CreateString(label_file)
    labels = table(5, _0=("offset", name), _2=("byte", 2))
    scores = table(7, _6=("offset", tables(labels)))
    subgraph = table(8, _2=("offset", tables(image)), _3=("offset", tables(scores)))
    builder.Finish(table(8, _3=("offset", tables(subgraph))), b"M001")
    return bytes(builder.Output())


def with_metadata(source, path, mean, std, lines=NAMES):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(source.read_bytes()))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata_of(mean, std, "labels.txt"), np.uint8)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    content = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("labels.txt", "\n".join(lines))
    path.write_bytes(content.getvalue())
    return path


def test_float_files_say_how_pixels_are_normalised(files, tmp_path):
    # The network takes 0 to 255 itself: this metadata undoes what a caller's (x - 5) * 2 does.
    path = with_metadata(files.float, tmp_path / "net.tflite", [5.0], [0.5])
    source = LiteRTSource(path)
    assert source.value_range == (0, 255)
    assert source.preprocessing == (2.0, -10.0)
    assert source.class_names == tuple(NAMES)
    images = random_images(3)
    expected = files.network(2 * images - 10, training=False)
    np.testing.assert_allclose(source(images), expected, atol=1e-6)
    again = LiteRTSource.from_config(source.get_config())
    assert (
        again.fingerprint
        == source.fingerprint
        != LiteRTSource(files.float, value_range=(0, 255)).fingerprint
    )
    np.testing.assert_array_equal(again(images), source(images))


def test_normalisation_of_each_channel(files, tmp_path):
    mean, std = [123.0, 117.0, 104.0], [58.0, 57.0, 57.5]
    path = with_metadata(files.float, tmp_path / "net.tflite", mean, std)
    images = random_images(3)
    expected = files.network((images - mean) / std, training=False)
    np.testing.assert_allclose(LiteRTSource(path)(images), expected, atol=1e-5)


def test_a_range_that_the_metadata_contradict_is_refused(files, tmp_path):
    path = with_metadata(files.float, tmp_path / "net.tflite", [127.5], [127.5])
    with pytest.raises(ValueError, match=r"so from -1 to 1. Received: value_range=\(0, 255\)"):
        LiteRTSource(path, value_range=(0, 255))
    images = random_images(2)
    answers = [
        LiteRTSource(path)(images),
        LiteRTSource(path, value_range=(-1, 1))(images / 127.5 - 1),
        LiteRTSource(path, value_range=(0, 255), preprocessing=(1 / 127.5, -1))(images),
    ]
    np.testing.assert_allclose(answers[1:], [answers[0]] * 2, atol=1e-6)
    plain = LiteRTSource(path, value_range=(0, 255), preprocessing=(1, 0))
    np.testing.assert_allclose(plain(images), files.network(images, training=False), atol=1e-6)


def test_labels_of_another_number_are_left_alone(files, tmp_path):
    path = with_metadata(files.float, tmp_path / "net.tflite", [0.0], [1.0], NAMES[1:])
    assert LiteRTSource(path).class_names is None
    named = LiteRTSource(path, class_names=[f"{n}" for n in range(NUM_LABELS)])
    assert named.class_names == ("0", "1", "2", "3", "4", "5")


def test_files_without_metadata_say_nothing(files):
    assert read_litert_metadata(files.float).preprocessing is None
    assert LiteRTSource(files.float, value_range=(0, 255)).class_names is None


def test_files_that_the_real_tool_wrote(reprogram_models):
    source = LiteRTSource(reprogram_models / "mobilenet_v1_0.25_128_quant.tflite")
    assert source.class_names[:2] == ("background", "tench, Tinca tinca")
    said = read_litert_metadata(source.model_path)
    assert said.mean == (127.5,) and said.std == (127.5,)
