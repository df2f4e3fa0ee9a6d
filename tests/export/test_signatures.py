"""The signatures, as TF Serving's source asks for them."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from exported_models import png, signatures
from PIL import Image
from small_models import frozen_source, small_model
from tensorflow.core.protobuf import saved_model_pb2

from keras_reprogram import FrozenSource, ProgramLayer, export_saved_model
from keras_reprogram.export.server_files import example_of

NAMES = [f"digit {number}".encode() for number in range(10)]


@pytest.fixture(scope="module")
def served(digits):
    return signatures(digits.exported)


@pytest.fixture(scope="module")
def definitions(digits):
    content = (digits.exported.folder / "saved_model.pb").read_bytes()
    (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    return graph.signature_def


def tensors(infos):
    return {
        name: (tf.dtypes.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
        for name, info in infos.items()
    }


SCORES = {"scores": ("float32", [-1, 10])}
CLASSES = {"classes": ("string", [-1, 10])}
STEPS = {
    "source_images": ("float32", [-1, 3, 32, 32, 3]),
    "source_scores": ("float32", [-1, 3, 43]),
}


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "method"),
    [
        ("serving_default", {"image": ("float32", [-1, 8, 8, 1])}, SCORES, "predict"),
        ("image_bytes", {"image_bytes": ("string", [-1])}, CLASSES | SCORES, "predict"),
        ("classify", {"inputs": ("string", [-1])}, CLASSES | SCORES, "classify"),
        ("steps", {"image": ("float32", [-1, 8, 8, 1])}, STEPS | SCORES, "predict"),
    ],
)
def test_names_types_and_shapes(definitions, name, inputs, outputs, method) -> None:
    assert tensors(definitions[name].inputs) == inputs
    assert tensors(definitions[name].outputs) == outputs
    assert definitions[name].method_name == f"tensorflow/serving/{method}"
    assert set(definitions) - {"__saved_model_init_op"} == {
        "serving_default",
        "image_bytes",
        "classify",
        "steps",
    }


@pytest.mark.slow
def test_files_score_as_their_pixels_do(digits, served) -> None:
    expected = served["serving_default"](image=tf.constant(digits.images))["scores"]
    files = [png(image) for image in digits.images]
    for answer in (
        served["image_bytes"](image_bytes=tf.constant(files)),
        served["classify"](inputs=tf.constant([example_of(file) for file in files])),
    ):
        np.testing.assert_allclose(answer["scores"], expected, atol=1e-6)
        assert answer["classes"].shape == (200, 10)
        assert (answer["classes"].numpy() == NAMES).all()


def test_the_steps_are_the_model_s_own(digits) -> None:
    model, exported, images = digits
    answer = signatures(exported)["steps"](image=tf.constant(images[:9]))
    source_images = keras.ops.convert_to_numpy(model.program(images[:9]))
    assert source_images.shape == (9, 3, 32, 32, 3)
    np.testing.assert_allclose(answer["source_images"], source_images, atol=1e-4)
    source_scores = model.source(source_images)
    np.testing.assert_allclose(answer["source_scores"], source_scores, atol=1e-5)
    np.testing.assert_allclose(answer["scores"], model.output_map(source_scores), atol=1e-5)


def convolves_nothing() -> bool:
    """Whether TensorFlow does: with oneDNN on some CPUs it gives the input's shape instead."""
    convolved = tf.function(tf.nn.conv2d)(tf.zeros((0, 4, 4, 3)), tf.ones((3, 3, 3, 24)), 1, "SAME")
    return convolved.shape[-1] == tf.shape(convolved)[-1] == 24


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("size", [0, 1, 2, 33])
def test_every_output_has_a_row_an_image(digits, served, size) -> None:
    if size == 0 and not convolves_nothing():
        pytest.skip("TensorFlow cannot convolve an empty batch here; set TF_ENABLE_ONEDNN_OPTS=0")
    files = [png(image) for image in digits.images[:size]]
    examples = tf.constant([example_of(file) for file in files], tf.string, (size,))
    pixels = served["serving_default"](image=tf.constant(digits.images[:size]))
    answers = [
        pixels,
        served["image_bytes"](image_bytes=tf.constant(files, tf.string, (size,))),
        served["classify"](inputs=examples),
        served["steps"](image=tf.constant(digits.images[:size])),
    ]
    assert all(len(value) == size for answer in answers for value in answer.values())


def test_jpeg_grey_colour_and_other_sizes_are_taken_in_one_batch(digits, served) -> None:
    """All are the same digit, enlarged four times where sizes differ."""
    digit = Image.fromarray(digits.images[0, ..., 0].astype(np.uint8))
    large = digit.resize((32, 32), Image.Resampling.NEAREST)
    files = []
    for image in (digit, large, large.convert("RGB"), large.convert("LA")):
        for kind in ("png", "jpeg")[: 1 if image.mode == "LA" else 2]:
            stream = io.BytesIO()
            image.save(stream, kind, **({"quality": 100} if kind == "jpeg" else {}))
            files.append(stream.getvalue())
    scores = served["image_bytes"](image_bytes=tf.constant(files))["scores"].numpy()
    expected = served["serving_default"](image=tf.constant(digits.images[:1]))["scores"].numpy()
    assert len(files) == 7
    assert (scores.argmax(axis=1) == expected.argmax()).all()
    np.testing.assert_allclose(scores, np.repeat(expected, 7, axis=0), atol=0.2)


def test_what_is_no_image_is_refused(served) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        served["image_bytes"](image_bytes=tf.constant([b"no image"]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/encoded"):
        served["classify"](inputs=tf.constant([tf.train.Example().SerializeToString()]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "target_range"),
    [(3, (-1.0, 1.0)), pytest.param(1, (0.0, 1.0), marks=pytest.mark.slow)],
)
def test_files_are_scaled_to_the_target_range(channels, target_range, unchecked, tmp_path) -> None:
    source = frozen_source()
    program = ProgramLayer(
        (6, 4, channels), source.source_shape, source_range=(0, 255), target_range=target_range
    )
    model = small_model(source, program=program, fitted=False)
    low, high = target_range
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (9, 6, 4, channels))
    images = (low + codes * (high - low) / 255).astype(np.float32)
    model.fit_output_map(images, np.arange(9) % 3, verbose=0)
    served = signatures(export_saved_model(model, tmp_path))
    answer = served["image_bytes"](image_bytes=tf.constant([png(image) for image in codes]))
    np.testing.assert_allclose(answer["scores"], model.predict(images, verbose=0), atol=1e-5)
    assert answer["classes"].numpy()[0].tolist() == [b"0", b"1", b"2"]


def two_channels(folder):
    """The export of a model whose images have two channels."""
    network = keras.Sequential(
        [keras.Input((8, 8, 2)), keras.layers.Flatten(), keras.layers.Dense(5, "softmax")]
    )
    source = FrozenSource(network, value_range=(0, 255))
    program = ProgramLayer((6, 4, 2), source.source_shape, source_range=(0, 255))
    images = np.random.default_rng(0).uniform(0, 255, (9, 6, 4, 2))
    model = small_model(source, program=program, fitted=False)
    model.fit_output_map(images, np.arange(9) % 3, verbose=0)
    return export_saved_model(model, folder)


def test_images_of_two_channels_have_no_files(unchecked, tmp_path) -> None:
    exported = two_channels(tmp_path)
    assert exported.signatures == ("serving_default", "steps")
    assert set(signatures(exported)) == {"serving_default", "steps"}
    assert "1 or 3 channels, target images 2" in exported.summary


@pytest.mark.slow
def test_the_fresh_process_then_has_no_files_to_ask_about(tmp_path) -> None:
    assert two_channels(tmp_path).warmup_requests == 4
