"""What the server's tests share: models to serve, and clients to ask them."""

import shutil
from contextlib import contextmanager

import grpc
import httpx
import numpy as np
import tensorflow as tf
from small_models import TARGET_SHAPE, small_model
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    input_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_reprogram import export_saved_model

REGRESS, CLASSIFY = "tensorflow/serving/regress", "tensorflow/serving/classify"
# One for all: a client of its own for each request would read all certificates of this machine.
# A server closes the connection of a request that failed; a kept one would be asked once more.
CLIENT = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
CLASS_NAMES = ["dark", "grey", "bright"]
ONE_NUMBER = tf.TensorSpec([None], tf.float32, name="x")
TEXTS = tf.TensorSpec([None], tf.string, name="inputs")


class HalfPlusThree(tf.Module):
    """The model of TF Serving's documents, and signatures of other types and shapes."""

    @tf.function(input_signature=[ONE_NUMBER])
    def predict(self, x):
        return {"y": 0.5 * x + 3.0}

    @tf.function(input_signature=[TEXTS])
    def regress(self, inputs):
        return {"outputs": 0.5 * self.numbers(inputs) + 3.0}

    @tf.function(input_signature=[TEXTS])
    def classify(self, inputs):
        low = self.numbers(inputs)[:, None] / 10
        labels = tf.tile([["low", "high"]], [tf.shape(low)[0], 1])
        return {"classes": labels, "scores": tf.concat([1 - low, low], 1)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.int64, name="ids"),
            tf.TensorSpec([None], tf.string, name="note"),
        ]
    )
    def mixed(self, ids, note):
        return {
            "flags": ids > 1,
            "note_bytes": note,
            "note": note,
            "halves": tf.cast(ids, tf.float64) / 2,
        }

    @tf.function(input_signature=[ONE_NUMBER])
    def divided(self, x):
        return {"y": x / 0.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="files")])
    def sizes(self, files):
        def size(file):
            return tf.shape(tf.io.decode_image(file, expand_animations=False))[:2]

        return {"sizes": tf.map_fn(size, files, fn_output_signature=tf.int32)}

    @staticmethod
    def numbers(examples):
        wanted = {"x": tf.io.FixedLenFeature([], tf.float32)}
        return tf.io.parse_example(examples, wanted)["x"]


def write_half_plus_three(folder):
    """As TF Serving's own test data: version 123 in a folder with zeros before it."""
    module = HalfPlusThree()
    signatures = {
        "serving_default": module.predict,
        REGRESS: module.regress,
        CLASSIFY: module.classify,
        "mixed": module.mixed,
        "divided": module.divided,
        "sizes": module.sizes,
    }
    version = folder / "half_plus_three" / "00000123"
    tf.saved_model.save(module, str(version), signatures=signatures)
    set_methods(version, REGRESS, CLASSIFY)
    return folder / "half_plus_three"


def set_methods(version, *signatures):
    file = version / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name in signatures:
        saved.meta_graphs[0].signature_def[name].method_name = name
    file.write_bytes(saved.SerializeToString())
    (version / "fingerprint.pb").unlink()


def write_brightness(folder, num_views=2):
    """One of our exports, small: returns its folder and the model."""
    model = small_model(num_views=num_views, class_names=CLASS_NAMES)
    export_saved_model(model, folder / "brightness")
    return folder / "brightness", model


def write_line(folder, slope, version):
    """`y = slope * x` as a version; returns the version folder."""

    class Line(tf.Module):
        @tf.function(input_signature=[ONE_NUMBER])
        def predict(self, x):
            return {"y": slope * x}

    aside = folder.parent / f"{folder.name}.aside"
    module = Line()
    tf.saved_model.save(module, str(aside), signatures={"serving_default": module.predict})
    folder.mkdir(exist_ok=True)
    return aside.rename(folder / str(version))


def break_version(folder, version):
    (folder / str(version)).mkdir(parents=True)
    (folder / str(version) / "saved_model.pb").write_bytes(b"broken")


def mend_version(folder, broken, good):
    shutil.copytree(folder / str(good), folder / str(broken), dirs_exist_ok=True)


def target_images(count=5, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, *TARGET_SHAPE)).astype("float32")


class Stubs:
    """TF Serving's own stubs."""

    def __init__(self, channel):
        self.channel = channel
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)


@contextmanager
def stubs_of(server):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as channel:
        yield Stubs(channel)


def url_of(server, tail=""):
    return f"{server.rest_address}/v1/models/{server.versions.model_name}{tail}"


def post(server, document, tail=":predict"):
    content = {"json": document} if isinstance(document, dict) else {"content": document}
    return CLIENT.post(url_of(server, tail), **content)


def predict_request(server, signature="serving_default", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = server.versions.model_name
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def example(**features):
    made = tf.train.Example()
    for name, value in features.items():
        kind = "float_list" if isinstance(value, float) else "bytes_list"
        getattr(made.features.feature[name], kind).value.append(value)
    return made


def examples_input(*examples):
    given = input_pb2.Input()
    given.example_list.examples.extend(examples)
    return given


def refusal(call, *arguments):
    """Code and details of the error that a stub's method must raise."""
    try:
        call(*arguments, timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the request was answered")
