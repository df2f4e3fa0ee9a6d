"""The gRPC services, asked with TF Serving's own stubs and with Intel's client."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from served_models import (
    CLASSIFY,
    REGRESS,
    example,
    examples_input,
    predict_request,
    refusal,
    target_images,
)
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

NAME = "half_plus_three"


def numbers(*values):
    return examples_input(*(example(x=value) for value in values))


def asked(request, signature, name=NAME):
    request.model_spec.name, request.model_spec.signature_name = name, signature
    return request


def test_predict(half, half_stubs):
    answer = half_stubs.predictions.Predict(predict_request(half, x=np.float32([1, 2, 5])))
    assert list(answer.outputs["y"].float_val) == [3.5, 4.0, 5.5]
    assert answer.model_spec.version.value == 123
    assert answer.model_spec.signature_name == "serving_default"


def test_predict_of_all_types_and_an_output_filter(half, half_stubs):
    inputs = {"ids": np.int64([[1, 2]]), "note": np.array([b"a\0"], object)}
    request = predict_request(half, "mixed", **inputs)
    answer = half_stubs.predictions.Predict(request)
    arrays = {name: tf.make_ndarray(proto).tolist() for name, proto in answer.outputs.items()}
    assert arrays == {
        "flags": [[False, True]],
        "halves": [[0.5, 1.0]],
        "note": [b"a\0"],
        "note_bytes": [b"a\0"],
    }
    request.output_filter.extend(["halves"])
    assert set(half_stubs.predictions.Predict(request).outputs) == {"halves"}
    request.output_filter.extend(["halves"])
    assert refusal(half_stubs.predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: halves",
    )
    request.output_filter[:] = ["other"]
    assert refusal(half_stubs.predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: other Outputs expected to be in the set "
        "{flags,halves,note,note_bytes}.",
    )


def test_one_value_stands_for_all_as_in_tensorflow(half, half_stubs):
    request = predict_request(half)
    proto = request.inputs["x"]
    proto.dtype = tf.float32.as_datatype_enum
    proto.tensor_shape.dim.add(size=3)
    proto.float_val.extend([1.0, 2.0])
    answer = half_stubs.predictions.Predict(request)
    assert list(answer.outputs["y"].float_val) == [3.5, 4.0, 4.0]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"name": "half"}, "NOT_FOUND", "Servable not found for request: Latest(half)"),
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"signature": "x"}, "FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
        (
            {"inputs": {"z": np.float32([1])}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 1!=1 len({z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {x}.",
        ),
        (
            {"inputs": {}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
            "Missing but required: {x}.",
        ),
        (
            {"inputs": {"x": np.int32([1])}},
            "INVALID_ARGUMENT",
            "Expects x to be float but int32 is provided",
        ),
    ],
)
def test_refused_predict(half, half_stubs, change, code, said):
    inputs = change.get("inputs", {"x": np.float32([1])})
    request = predict_request(half, change.get("signature", ""), **inputs)
    request.model_spec.name = change.get("name", NAME)
    assert refusal(half_stubs.predictions.Predict, request) == (code, said)


def test_classify_and_regress(half_stubs):
    request = asked(classification_pb2.ClassificationRequest(input=numbers(2.5, 5.0)), CLASSIFY)
    answer = half_stubs.predictions.Classify(request)
    rows = [
        [(one.label, one.score) for one in row.classes] for row in answer.result.classifications
    ]
    assert rows == [[("low", 0.75), ("high", 0.25)], [("low", 0.5), ("high", 0.5)]]
    request = asked(regression_pb2.RegressionRequest(input=numbers(1.0, 2.0)), REGRESS)
    answer = half_stubs.predictions.Regress(request)
    assert [one.value for one in answer.result.regressions] == [3.5, 4.0]


def test_examples_with_a_context(half_stubs):
    request = asked(regression_pb2.RegressionRequest(), REGRESS)
    listed = request.input.example_list_with_context
    listed.context.CopyFrom(example(x=3.0))
    listed.examples.extend([example(), example(name=b"a")])
    answer = half_stubs.predictions.Regress(request)
    assert [one.value for one in answer.result.regressions] == [4.5, 4.5]


@pytest.mark.parametrize(
    ("signature", "given", "code", "said"),
    [
        ("x", (1.0,), "INVALID_ARGUMENT", "No signature was found with the name: x"),
        (CLASSIFY, (), "INVALID_ARGUMENT", "Input is empty."),
        ("mixed", (1.0,), "INVALID_ARGUMENT", "Expected one input Tensor."),
        ("", (1.0,), "FAILED_PRECONDITION", "No classification inputs found in SignatureDef."),
        (
            REGRESS,
            (1.0,),
            "FAILED_PRECONDITION",
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores".',
        ),
    ],
)
def test_refused_classify(half_stubs, signature, given, code, said):
    request = asked(classification_pb2.ClassificationRequest(input=numbers(*given)), signature)
    assert refusal(half_stubs.predictions.Classify, request) == (code, said)


def multi_inference(*tasks):
    request = inference_pb2.MultiInferenceRequest(input=numbers(1.0, 2.0))
    for name, signature, method in tasks:
        asked(request.tasks.add(method_name=method), signature, name)
    return request


def test_multi_inference(half_stubs):
    request = multi_inference((NAME, REGRESS, REGRESS), (NAME, CLASSIFY, CLASSIFY))
    regressed, classified = half_stubs.predictions.MultiInference(request).results
    assert [one.value for one in regressed.regression_result.regressions] == [3.5, 4.0]
    assert len(classified.classification_result.classifications) == 2
    assert regressed.model_spec.signature_name == REGRESS


@pytest.mark.parametrize(
    ("tasks", "code", "said"),
    [
        ([], "INVALID_ARGUMENT", "Inference request must have at least one task."),
        ([("", CLASSIFY, CLASSIFY)], "INVALID_ARGUMENT", "empty model name"),
        (
            [(NAME, CLASSIFY, CLASSIFY), ("half", REGRESS, REGRESS)],
            "INVALID_ARGUMENT",
            "must access the same model name",
        ),
        (
            [(NAME, CLASSIFY, CLASSIFY)] * 2,
            "INVALID_ARGUMENT",
            f"Duplicate evaluation of signature: {CLASSIFY}",
        ),
        (
            [(NAME, CLASSIFY, "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_refused_multi_inference(half_stubs, tasks, code, said):
    received = refusal(half_stubs.predictions.MultiInference, multi_inference(*tasks))
    assert received[0] == code
    assert said in received[1]


def test_status_and_metadata(half_stubs):
    request = get_model_status_pb2.GetModelStatusRequest()
    assert refusal(half_stubs.models.GetModelStatus, request)[1] == "Missing ModelSpec"
    request.model_spec.name = NAME
    (status,) = half_stubs.models.GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (123, status.AVAILABLE)
    assert status.status.error_code == 0
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = NAME
    ask = half_stubs.predictions.GetModelMetadata
    assert "at least one metadata_field" in refusal(ask, request)[1]
    request.metadata_field.append("graph")
    assert refusal(ask, request)[1] == "Metadata field graph is not supported"
    request.metadata_field[:] = ["signature_def"]
    found = get_model_metadata_pb2.SignatureDefMap()
    ask(request).metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) >= {"serving_default", REGRESS, CLASSIFY, "mixed"}
    assert found.signature_def[CLASSIFY].method_name == CLASSIFY


def test_health(half_stubs):
    ask = health_pb2_grpc.HealthStub(half_stubs.channel).Check
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = ask(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        ask(health_pb2.HealthCheckRequest(service="other"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_our_export_has_rows_in_every_signature(brightness, brightness_stubs, brightness_export):
    images = target_images()
    expected = brightness_export[1].predict(images, verbose=0)
    for signature in ("serving_default", "steps"):
        request = predict_request(brightness, signature, image=images)
        answer = brightness_stubs.predictions.Predict(request)
        scores = tf.make_ndarray(answer.outputs["scores"])
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert tf.make_ndarray(answer.outputs["source_images"]).shape == (5, 2, 8, 8, 3)
    files = [tf.io.encode_png(np.rint(image).astype("uint8")).numpy() for image in images]
    rounded = brightness_export[1].predict(np.rint(images), verbose=0)
    request = classification_pb2.ClassificationRequest(
        input=examples_input(*(example(**{"image/encoded": file}) for file in files))
    )
    answer = brightness_stubs.predictions.Classify(asked(request, "classify", "brightness"))
    rows = [[one.score for one in row.classes] for row in answer.result.classifications]
    np.testing.assert_allclose(rows, rounded, atol=1e-6)
    assert [one.label for one in answer.result.classifications[0].classes] == [
        "dark",
        "grey",
        "bright",
    ]


def test_an_independent_client(brightness, brightness_export):
    ovmsclient = pytest.importorskip("ovmsclient", reason="ovmsclient is not installed")
    client = ovmsclient.make_grpc_client(brightness.grpc_address)
    assert client.get_model_status("brightness", model_version=1) == {
        1: {"state": "AVAILABLE", "error_code": 0, "error_message": ""}
    }
    metadata = client.get_model_metadata("brightness", model_version=1)
    assert metadata["inputs"] == {"image": {"shape": [-1, 4, 4, 1], "dtype": "DT_FLOAT"}}
    images = target_images()
    scores = client.predict({"image": images}, "brightness", model_version=1)
    expected = brightness_export[1].predict(images, verbose=0)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_large_answer_of_a_model_is_sent_whole(brightness, brightness_stubs):
    request = predict_request(brightness, "steps", image=target_images(4000))
    answer = brightness_stubs.predictions.Predict(request)
    assert isinstance(answer, predict_pb2.PredictResponse)
    assert tf.make_ndarray(answer.outputs["source_images"]).shape == (4000, 2, 8, 8, 3)
    assert answer.ByteSize() > 4 * 2**20
