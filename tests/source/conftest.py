"""Files of tiny classifiers, and places of ledgers, for all tests of sources."""

import uuid
from types import SimpleNamespace

import pytest
from checks.tiny_models import SHAPE, random_images, tiny_classifier
from onnx_files import write_onnx
from postgres_server import PostgresServer, postgres_binaries


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
    """Paths `float`, `uint8`, `int8`, `fixed`, `saved`, and the `network` behind all of them.

    `onnx` is another network of the same shape.
    """
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("sources")
    network = tiny_classifier()
    network.export(folder / "saved", verbose=False)
    return SimpleNamespace(
        network=network,
        saved=folder / "saved",
        onnx=write_onnx(folder / "network.onnx"),
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


@pytest.fixture(scope="session")
def postgres_server():
    """A server for all tests of this process."""
    pytest.importorskip("psycopg", reason="pip install 'keras-reprogram[postgres]'")
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    with PostgresServer(binaries) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """Name of a ledger -> its path or URL; both kinds of ledgers keep the same contract."""
    if request.param == "sqlite":
        return lambda name: tmp_path / name
    server = request.getfixturevalue("postgres_server")
    test = f"t{uuid.uuid4().hex[:12]}"
    return lambda name: server.url(f"{test}_{name}")
