"""Files of tiny classifiers, written once for all tests of sources."""

from types import SimpleNamespace

import pytest
from checks.tiny_models import SHAPE, random_images, tiny_classifier


def write_tflite(path, model, *, quantised=None, batch=None, shape=SHAPE, pixels=None):
    """Converts a model.

    `quantised` is the dtype of input and output, calibrated on `pixels`; `batch` fixes its size.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((batch, *shape), tf.float32)])
    def serve(images):
        return model(images, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        calibration = random_images(50, seed=3)
        calibration[0], calibration[1] = 0.0, 255.0
        calibration = calibration if pixels is None else pixels
        converter.representative_dataset = lambda: ([image[None]] for image in calibration)
        converter.inference_input_type = converter.inference_output_type = quantised
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Paths `float`, `uint8`, `int8`, `fixed`, `saved`, and the `network` behind all of them."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("sources")
    network = tiny_classifier()
    network.export(folder / "saved", verbose=False)
    return SimpleNamespace(
        network=network,
        saved=folder / "saved",
        float=write_tflite(folder / "float.tflite", network),
        uint8=write_tflite(folder / "uint8.tflite", network, quantised=tf.uint8),
        int8=write_tflite(folder / "int8.tflite", network, quantised=tf.int8),
        # Traced with one image, its Flatten is a reshape to one row.
        fixed=write_tflite(folder / "fixed.tflite", network, batch=1),
    )


@pytest.fixture
def network_file(files, tmp_path):
    """Writes a `.tflite` of the network with other inputs: `(name, channels_first, ...)`."""
    import tensorflow as tf

    def write(name, channels_first=False, **options):
        def turned(images, training):
            return files.network(tf.transpose(images, (0, 2, 3, 1)), training=training)

        model, shape = files.network, SHAPE
        if channels_first:
            model, shape = turned, (SHAPE[2], *SHAPE[:2])
        return write_tflite(tmp_path / f"{name}.tflite", model, shape=shape, **options)

    return write
