"""Scores of every kind of file beside those of the model's own runtime, on 50 real photos."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks.check_source import scores_of
from PIL import Image

from keras_reprogram import FrozenSource, LiteRTSource, SavedModelSource, embedded_path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("reprogram_data")]

# Normalisation layers are folded into convolutions, and one call has other batches: float32 rounds
# scores of up to 1 otherwise, by up to 3e-6 as seen here.
SAME = 1e-5
PIXELS = (0.0, 255.0)


def photos(size):
    """50 photos of CIFAR-10, five of each class, as `(50, h, w, 3)` of 0 to 255."""
    from keras_reprogram.datasets import load_target

    target = load_target("cifar10")
    rows = [np.flatnonzero(target.test_labels == label)[:5] for label in range(10)]
    images = [
        np.asarray(Image.fromarray(image.astype("uint8")).resize(size[::-1], Image.BILINEAR))
        for image in target.test_images[np.concatenate(rows)]
    ]
    return np.stack(images).astype(np.float32)


def check(kind, found, expected, tolerance=SAME):
    """Compares all scores, and says what was seen."""
    difference = float(np.abs(found - expected).max())
    print(f"{kind}: 50 photos, {expected.shape[1]} scores, largest difference {difference:.2g}")
    assert found.shape == expected.shape == (50, expected.shape[1])
    assert np.ptp(expected, axis=0).max() > 0.1, "answers that do not move show nothing"
    assert difference <= tolerance


# === Keras ===


@pytest.fixture(scope="module")
def mobilenet():
    if not os.environ.get("KERAS_HOME"):
        pytest.skip("set KERAS_HOME to the folder that holds pre-trained weights")
    return keras.applications.MobileNet(alpha=0.25, input_shape=(128, 128, 3), weights="imagenet")


def test_an_application(mobilenet):
    source = FrozenSource.from_application("MobileNet", alpha=0.25, input_shape=(128, 128, 3))
    images = photos((128, 128))
    expected = mobilenet.predict(keras.applications.mobilenet.preprocess_input(images.copy()))
    check("application", scores_of(source, images), expected)


@pytest.mark.parametrize(
    ("file", "value_range"),
    [
        ("moderation_mobilenet_v2.keras", (0.0, 1.0)),
        ("edge/pretrainedResnet.h5", PIXELS),
        (None, PIXELS),
    ],
)
def test_keras_networks(file, value_range, reprogram_models):
    path = embedded_path("traffic_signs.keras") if file is None else reprogram_models / file
    source = FrozenSource.from_file(path, value_range=value_range)
    images = photos(source.source_shape[:2]) / 255 * value_range[1]
    network = keras.saving.load_model(path, compile=False)
    check(path.name, scores_of(source, images), network.predict(images, verbose=0))


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantised_keras_networks(mode, mobilenet, tmp_path):
    network = keras.models.clone_model(mobilenet)
    network.set_weights(mobilenet.get_weights())
    network.quantize(mode)
    network.save(tmp_path / "network.keras")
    source = FrozenSource.from_file(tmp_path / "network.keras", value_range=(-1, 1))
    images = photos((128, 128)) / 127.5 - 1
    check(f"Keras, {mode}", scores_of(source, images), network.predict(images, verbose=0))


# === SavedModels ===


def export(network, folder, dtype, batch=None):
    """A SavedModel around a network of pixels from -1 to 1; others than floats are 0 to 255."""

    def classify(pixels):
        if dtype == "string":
            decode = tf.io.decode_png
            pixels = tf.map_fn(lambda file: decode(file, 3), pixels, fn_output_signature=tf.uint8)
        pixels = tf.cast(pixels, tf.float32)
        if dtype in ("uint8", "string"):
            pixels = pixels / 127.5 - 1
        return {"scores": network(pixels, training=False)}

    shape = (batch,) if dtype == "string" else (batch, 128, 128, 3)
    spec = tf.TensorSpec(shape, tf.dtypes.as_dtype(dtype), name="image")
    module = tf.Module()
    module.network, module.classify = network, tf.function(classify, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.classify})


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "string"])
@pytest.mark.parametrize("batch", [None, 4])
def test_saved_models(dtype, batch, mobilenet, tmp_path):
    export(mobilenet, tmp_path, dtype, batch)
    is_float = dtype.startswith("float")
    images = photos((128, 128))
    options = {} if dtype != "string" else {"image_size": 128}
    if is_float:
        options["preprocessing"] = (1 / 127.5, -1)
    source = SavedModelSource(tmp_path, value_range=PIXELS, **options)
    signature = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    rows = []
    for start in range(0, 52, batch or 50):
        part = images[[min(row, 49) for row in range(start, start + (batch or 50))]]
        if dtype == "string":
            sent = tf.constant([png(image) for image in part])
        else:
            sent = tf.cast(part / 127.5 - 1 if is_float else part, dtype)
        rows.append(signature(image=sent)["scores"].numpy())
        if batch is None:
            break
    name = f"SavedModel of {dtype}, {'any batch' if batch is None else f'batches of {batch}'}"
    check(name, scores_of(source, images), np.concatenate(rows)[:50])


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image.astype("uint8")).save(stream, "PNG")
    return stream.getvalue()


# === LiteRT ===

LITERT = {
    "edge/pretrainedResnet.tflite": PIXELS,
    "edge/vww_96_float.tflite": (0.0, 1.0),
    "edge/pretrainedResnet_quant.tflite": None,
    "edge/vww_96_int8.tflite": None,
    "mobilenet_v1_0.25_128_quant.tflite": None,
    "mobilenet_v2_1.0_224_quant.tflite": None,
}


@pytest.mark.parametrize("file", LITERT)
def test_litert_files(file, reprogram_models):
    from ai_edge_litert.interpreter import Interpreter

    path, value_range = reprogram_models / file, LITERT[file]
    source = LiteRTSource(path, value_range=value_range)
    images = photos(source.source_shape[:2])
    sent = images if value_range is None else images / 255 * value_range[1]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for one in sent:
        # int8 codes of pixels are these less 128.
        codes = one - 128 if image["dtype"] == np.int8 else one
        interpreter.set_tensor(image["index"], codes[None].astype(image["dtype"]))
        interpreter.invoke()
        row = interpreter.get_tensor(scores["index"])[0].astype(np.float32)
        scale, zero_point = scores["quantization"]
        rows.append((row - zero_point) * np.float32(scale) if scale else row)
    step = source.score_step
    assert (step > 0) == (value_range is None)
    check(file, scores_of(source, sent), np.stack(rows), tolerance=step + SAME)
