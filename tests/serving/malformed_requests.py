"""Requests that nobody should send, seeded, each with the refusal that it must get."""

import base64
import json
import random
import struct

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

NAME = "half_plus_three"
PREDICT = f"/v1/models/{NAME}:predict"
REGRESS = "tensorflow/serving/regress"
METHODS = {
    "PredictionService/Predict": predict_pb2.PredictRequest,
    "PredictionService/Classify": classification_pb2.ClassificationRequest,
    "PredictionService/Regress": regression_pb2.RegressionRequest,
    "PredictionService/MultiInference": inference_pb2.MultiInferenceRequest,
    "PredictionService/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "ModelService/HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}
# A type that no tensor of the model has, resources and variants among them.
OTHER_TYPES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 17, 18, 19, 20, 21, 22, 23, 99, 101, 120)


def word(draw, length=12):
    return "".join(chr(draw.choice((draw.randrange(32, 127), draw.randrange(160, 0x2FFF))))
                   for _ in range(draw.randrange(1, length)))  # fmt: skip


def rest_cases():
    """Kind -> a function of a random generator: method, path, body, statuses it may get."""
    return {
        "noise": lambda draw: ("POST", PREDICT, draw.randbytes(draw.randrange(0, 200)), {400}),
        "json cut off": _cut_json,
        "json of another form": _other_json,
        "wrong numbers": _wrong_numbers,
        "ragged lists": _ragged,
        "deep lists": _deep,
        "base64 garbage": _base64_garbage,
        "wrong signature": _wrong_signature,
        "wrong names": _wrong_names,
        "wrong examples": _wrong_examples,
        "wrong place": _wrong_place,
        "broken images": _broken_images,
    }


def _predict(document, statuses=frozenset({400})):
    return "POST", PREDICT, json.dumps(document).encode(), statuses


def _cut_json(draw):
    text = json.dumps({"instances": [draw.random() for _ in range(9)]}).encode()
    return "POST", PREDICT, text[: draw.randrange(0, len(text) - 1)], {400}


def _other_json(draw):
    value = draw.choice([None, True, 1, 1.5, word(draw), [], [1.0], {}, {word(draw): 1}])
    outer = [value, {"instances": value}, {"inputs": value, "instances": [1.0]}]
    document = draw.choice(outer)
    if document == {"instances": [1.0]}:
        document = {"examples": [1.0]}
    return _predict(document)


def _wrong_numbers(draw):
    wrong = [word(draw), None, True, {}, {"b64": 1}, {"b64": "YQ==", "a": 1}, 1e39, 2**24 + 1]
    values = [1.0, draw.choice([*wrong, -(10**400), 10**30])]
    draw.shuffle(values)
    return _predict({draw.choice(("instances", "inputs")): values})


def _ragged(draw):
    values = [[1.0] * draw.randrange(0, 3), [1.0] * 4, 1.0, [[1.0]]]
    draw.shuffle(values)
    return _predict({draw.choice(("instances", "inputs")): values})


def _deep(draw):
    depth = draw.choice((2, 10, 40, 300, 2000))
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}")))
    text = f'{{"instances": [{opening * depth}1.0{closing * depth}]}}'
    return "POST", PREDICT, text.encode(), {400}


def _base64_garbage(draw):
    text = draw.choice((word(draw), "\ud800", "a" * (4 * draw.randrange(1, 9) + 1)))
    if draw.random() < 0.5:
        document = {"signature_name": REGRESS, "inputs": [{"b64": text}]}
        return _predict(document)
    text = base64.b64encode(draw.randbytes(30)).decode()
    return _predict({"signature_name": "sizes", "inputs": [{"b64": text}]})


def _wrong_signature(draw):
    name = draw.choice((word(draw), 1, None, [], "__saved_model_init_op", "serving_default\0"))
    return _predict({"signature_name": name, "instances": [1.0]})


def _wrong_names(draw):
    rows = [{"x": 1.0}, {word(draw): 1.0}]
    if draw.random() < 0.5:
        return _predict({"inputs": rows[1]})
    draw.shuffle(rows)
    return _predict({"instances": [*rows, 1.0][: draw.randrange(2, 4)]})


def _wrong_examples(draw):
    wrong = [
        {"x": [[1.0]]}, {"x": None}, {"x": {"a": 1}}, {"x": [1.0, "a"]}, {"x": 2**64}, {"x": 1e39},
        {"x": [1.0, 2.0]}, {"x": word(draw)}, {}, {"z": 1.0}, {"\ud800": 1.0}, 1, None, [],
    ]  # fmt: skip
    document = {"signature_name": REGRESS, "examples": [draw.choice(wrong)]}
    if draw.random() < 0.2:
        document["examples"] = draw.choice((1, [], {}, None))
    if draw.random() < 0.2:
        document["context"] = draw.choice((1, [], None, {"y": None}))
    verb = draw.choice(("classify", "regress"))
    return "POST", PREDICT.replace("predict", verb), json.dumps(document).encode(), {400}


def _wrong_place(draw):
    tail = draw.choice(("", "/versions/9", f"/versions/{10**40}", "/labels/x", "/versions/-1"))
    name = draw.choice((NAME, "other", "%00", "a%2Fb", "%F0%9F", "x" * 500))
    verb = draw.choice((":predict", ":explain", ":predict:predict", "", "/metadata", "//"))
    path = f"/v1/models/{name}{tail}{verb}"
    if path == PREDICT:
        path = "/v1/"
    body = json.dumps({"instances": [1.0]}).encode()
    return draw.choice(("POST", "PUT", "DELETE")), path, body, {400, 404}


def _broken_images(draw):
    start = draw.choice((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"\xff\x0a", b""))
    file = start + draw.randbytes(draw.randrange(0, 60))
    text = base64.b64encode(file).decode()
    return _predict({"signature_name": "sizes", "instances": [{"b64": text}]})


def grpc_cases():
    """Kind -> a function of a random generator: method, bytes."""
    return {
        "noise": _grpc_noise,
        "proto cut off": _cut_proto,
        "wrong tensor": _wrong_tensor,
        "huge shape": _huge_shape,
        "wrong model": _wrong_model,
        "wrong input names": _wrong_inputs,
        "wrong example": _wrong_example,
        "empty messages": lambda draw: (draw.choice(list(METHODS)), b""),
    }


def _request(signature="", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = NAME, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def _grpc_noise(draw):
    method = draw.choice(list(METHODS))
    # A field that is longer than the message, whatever follows.
    return method, b"\x0a\xff\x7f" + draw.randbytes(draw.randrange(0, 100))


def _cut_proto(draw):
    content = _request(x=np.arange(50, dtype=np.float32)).SerializeToString()
    return "PredictionService/Predict", content[: draw.randrange(1, len(content) - 1)]


def _wrong_tensor(draw):
    request = _request(x=np.float32([1.0]))
    tensor = request.inputs["x"]
    kind = draw.randrange(4)
    if kind == 0:
        tensor.dtype = draw.choice(OTHER_TYPES)
    elif kind == 1:
        tensor.ClearField("float_val")
        tensor.tensor_content = draw.randbytes(draw.choice((1, 2, 3, 5, 9)))
    elif kind == 2:
        tensor.tensor_shape.dim.add(size=draw.choice((1, 3)))
    else:
        tensor.float_val.extend([1.0] * draw.randrange(1, 9))
    return "PredictionService/Predict", request.SerializeToString()


def _huge_shape(draw):
    request = _request(x=np.float32([1.0]))
    del request.inputs["x"].tensor_shape.dim[:]
    for _ in range(draw.randrange(1, 40)):
        request.inputs["x"].tensor_shape.dim.add(size=draw.choice((2**62, -1, -(2**63), 10**9)))
    request.inputs["x"].tensor_shape.unknown_rank = draw.random() < 0.2
    return "PredictionService/Predict", request.SerializeToString()


def _wrong_model(draw):
    request = _request(draw.choice(("", word(draw))), x=np.float32([1.0]))
    request.model_spec.name = draw.choice(("", "other", word(draw)))
    if draw.random() < 0.5:
        request.model_spec.version.value = draw.choice((-1, 0, 7, 2**62))
    else:
        request.model_spec.version_label = draw.choice(("", word(draw)))
    return "PredictionService/Predict", request.SerializeToString()


def _wrong_inputs(draw):
    names = draw.choice(((), ("y",), ("x", "y"), (word(draw),)))
    request = _request(**dict.fromkeys(names, np.float32([1.0])))
    if names == ("x", "y") and draw.random() < 0.5:
        del request.inputs["y"]
        request.output_filter.append(word(draw))
    return "PredictionService/Predict", request.SerializeToString()


def _wrong_example(draw):
    kind = draw.choice((classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest))
    request = kind()
    request.model_spec.name = NAME
    request.model_spec.signature_name = draw.choice((REGRESS, "", "mixed", word(draw)))
    made = request.input.example_list.examples.add()
    if draw.random() < 0.5:
        made.features.feature["x"].bytes_list.value.append(draw.randbytes(9))
    if draw.random() < 0.3:
        request.input.example_list.Clear()
    method = "Classify" if kind is classification_pb2.ClassificationRequest else "Regress"
    return f"PredictionService/{method}", request.SerializeToString()


def draws(count, seed):
    """Seeded generators, one a request, so that a single one can be drawn again."""
    for number in range(count):
        yield random.Random(struct.pack("<qq", seed, number))
