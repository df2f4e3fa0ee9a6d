"""Exports of Azure's Custom Vision, re-created in their layouts: the service writes the real ones.

A SavedModel and a `.tflite` file with `labels.txt`, and an `.onnx` file whose output `loss` is a
table of scores by name. All take blue before red, from 0 to 255.
"""

import numpy as np
import onnx
import pytest
import tensorflow as tf
from checks.tiny_models import SHAPE, random_images
from command_line.command_runs import run_command
from onnx import TensorProto, helper
from onnx_files import NUM_LABELS, expected_scores, write_onnx

from keras_reprogram import LiteRTSource, ONNXSource, SavedModelSource
from keras_reprogram.command_line.source_settings import read_settings
from keras_reprogram.command_line.sources import resolve_source

NAMES = tuple(f"{name} sign" for name in ("a", "stop", "give way", "no", "speed", "turn"))
OPTIONS = {"value_range": "0,255", "channel_order": "bgr"}
PIXELS = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(NAMES))
    return str(path)


def opened(path, labels):
    """The source of a file as the command line opens it."""
    settings = read_settings(**OPTIONS, class_names=labels)
    return resolve_source(str(path), settings=settings).source


@pytest.mark.slow
def test_a_saved_model_with_labels(files, labels, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="data")])
    def classify(data):
        return {"model_output": files.network(data, training=False)}

    module = tf.Module()
    module.network, module.classify = files.network, classify
    folder = tmp_path / "export"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": classify})
    (folder / "metadata_properties.json").write_text("{}")
    source, images = opened(folder, labels), random_images(4)
    assert isinstance(source, SavedModelSource) and source.class_names == NAMES
    np.testing.assert_allclose(
        source(images), files.network(images[..., ::-1], training=False), atol=1e-6
    )


def test_a_tflite_file_with_labels(files, labels):
    source, images = opened(files.float, labels), random_images(4)
    assert isinstance(source, LiteRTSource) and source.class_names == NAMES
    np.testing.assert_allclose(
        source(images), files.network(images[..., ::-1], training=False), atol=1e-6
    )


def write_export(path, metadata=PIXELS):
    """A linear classifier with the outputs `classLabel` and `loss`."""
    model = onnx.load(str(write_onnx(path, names=("data", "scores"))))
    graph = model.graph
    graph.node.append(helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0))
    graph.node.append(
        helper.make_node(
            "LabelEncoder",
            ["best"],
            ["classLabel"],
            domain="ai.onnx.ml",
            keys_int64s=list(range(NUM_LABELS)),
            values_strings=NAMES,
        )
    )
    graph.node.append(
        helper.make_node(
            "ZipMap", ["scores"], ["loss"], domain="ai.onnx.ml", classlabels_strings=NAMES
        )
    )
    table = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("classLabel", TensorProto.STRING, ["images"]))
    graph.output.append(helper.make_value_info("loss", helper.make_sequence_type_proto(table)))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


def in_order(scores):
    """Scores in the order of the names, as a table of them has it."""
    return scores[:, np.argsort(NAMES)]


def test_an_onnx_file_says_all_of_itself(tmp_path):
    path, images = write_export(tmp_path / "model.onnx"), random_images(5)
    source = ONNXSource(path)
    assert (source.value_range, source.channel_order) == ((0.0, 255.0), "bgr")
    assert source.class_names == tuple(sorted(NAMES))
    expected = in_order(expected_scores(images[..., ::-1]))
    np.testing.assert_allclose(source(images), expected, atol=1e-6)
    said = ONNXSource(path, value_range=(0, 255), channel_order="bgr")
    assert said.fingerprint == source.fingerprint
    again = ONNXSource.from_config(source.get_config())
    assert again.fingerprint == source.fingerprint and again.class_names == source.class_names
    ended = run_command("inspect", path)
    assert ended.code == 0 and "0 to 255" in ended.out and "give way sign" in ended.out


def test_metadata_of_an_onnx_file_are_not_contradicted_by_mistake(tmp_path):
    path, images = write_export(tmp_path / "model.onnx"), random_images(3)
    with pytest.raises(
        ValueError, match=r"\(0.0, 255.0\) \(Image.NominalPixelRange.*--pixel-scale"
    ):
        ONNXSource(path, value_range=(0, 1))
    with pytest.raises(ValueError, match=r"takes bgr \(Image.Bitmap.*Leave `channel_order`"):
        ONNXSource(path, channel_order="rgb")
    overruled = ONNXSource(
        path, value_range=(0, 255), channel_order="rgb", preprocessing=(1.0, 0.0)
    )
    np.testing.assert_allclose(overruled(images), in_order(expected_scores(images)), atol=1e-6)
    again = ONNXSource.from_config(overruled.get_config())
    assert again.fingerprint == overruled.fingerprint


def test_metadata_that_say_another_range(tmp_path):
    said = {"IMAGE.NominalPixelRange": "Normalized_0_1", "Image.BitmapPixelFormat": "Rgb8"}
    with pytest.warns(UserWarning, match="answers nearly alike"):
        source = ONNXSource(write_export(tmp_path / "a.onnx", said))
    assert (source.value_range, source.channel_order) == ((0.0, 1.0), "rgb")
    video = {"Image.NominalPixelRange": "NominalRange_16_235"}
    with pytest.raises(ValueError, match="a file cannot tell in which range"):
        ONNXSource(write_export(tmp_path / "b.onnx", video))
