"""FakeTFServing and FakeTFServingGRPC: TF Serving's two interfaces on sockets of this machine."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_reprogram.source.remote.extras import needs_extra
from keras_reprogram.testing.faults import Fault
from keras_reprogram.testing.grpc_fake import GRPCFake
from keras_reprogram.testing.hosted_model import BadImageError, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

# Signature -> its input, and what that is: the two that `export_saved_model` writes.
SIGNATURES = {
    "serving_default": ("image", "pixels"),
    "image_bytes": ("image_bytes", "encoded"),
}
_STATUSES = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "NOT_FOUND": 404}
_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict)?", re.IGNORECASE
)
_FLOAT, _STRING = 1, 7


class _RefusedError(Exception):
    """What the server says no with: gRPC's name of the code, and the text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class _ServedModel:
    """What both interfaces know: names, versions, signatures, and the model."""

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str,
        versions: Sequence[int],
        version_labels: Mapping[str, int] | None,
        signatures: Mapping[str, tuple[str, str]] | None,
        output_names: Sequence[str],
    ) -> None:
        self.hosted, self.name, self.versions = hosted, model_name, tuple(versions)
        self.labels, self.signatures = dict(version_labels or {}), dict(signatures or SIGNATURES)
        self.output_names = tuple(output_names)

    def version(self, name: str, version: int | None, label: str | None) -> int:
        """The version that answers."""
        if label and label not in self.labels:
            raise _RefusedError("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        wanted = self.labels[label] if label else version
        if name != self.name or wanted not in (None, *self.versions):
            which = f"Latest({name})" if wanted is None else f"Specific({name}, {wanted})"
            raise _RefusedError("NOT_FOUND", f"Servable not found for request: {which}")
        return max(self.versions) if wanted is None else wanted

    def statuses(self, name: str, version: int | None) -> list[int]:
        """The versions that a question about the status is about."""
        if name != self.name:
            raise _RefusedError("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None and version not in self.versions:
            raise _RefusedError("NOT_FOUND", f"Could not find version {version} of model {name}")
        return [one for one in self.versions if version in (None, one)]

    def input_of(self, signature_name: str) -> tuple[str, str]:
        """Name and kind of a signature's input."""
        if signature_name not in self.signatures:
            raise _RefusedError(
                "INVALID_ARGUMENT",
                f'Serving signature name: "{signature_name}" not found in signature def',
            )
        return self.signatures[signature_name]

    def outputs(self, images: Sequence[bytes] | np.ndarray, fault: Fault) -> dict[str, list[Any]]:
        """Output -> a row an image; `classes` are the labels, any other name the scores."""
        if isinstance(images, np.ndarray):
            images = encoded_pixels(images, self.hosted.value_range)
        try:
            scores, labels = self.hosted.score(images, fault)
        except BadImageError:
            raise _RefusedError(
                "INVALID_ARGUMENT",
                "Unknown image file format. One of JPEG, PNG, GIF, BMP required.",
            ) from None
        return {
            name: [labels] * len(scores) if name == "classes" else scores.tolist()
            for name in self.output_names
        }

    def check_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the pixels, or refuses a shape that is not the model's."""
        if pixels.shape[1:] != self.hosted.source_shape:
            wanted = ",".join(map(str, self.hosted.source_shape))
            received = ",".join(map(str, pixels.shape))
            raise _RefusedError(
                "INVALID_ARGUMENT", f"Expected shape [?,{wanted}] but got [{received}]"
            )
        return pixels


class FakeTFServing(HTTPFake):
    """TF Serving's REST interface: predict by rows and by columns, and the model's status.

    Images and pixels are billed alike: pixels are rounded to the 8 bits of a PNG file.

    Args:
        hosted: the model and its bill.
        model_name: what clients must call it.
        versions: that are loaded; the largest answers unless another is asked for.
        version_labels: label -> version.
        signatures: name -> `(input, "pixels" or "encoded")`; `None` for those of our exports.
        output_names: more than one makes an object of every row; `"classes"` holds the labels.
        options: as of `HTTPFake`: `faults`, `latency`, `at_a_time`, `certificate`; and `key`,
            which TF Serving has no use for, and a proxy before it has.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_tf_serving import FakeTFServing

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeTFServing(HostedModel.of(signs), "signs") as service:
        assert service.address.startswith("http://127.0.0.1:")
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str = "model",
        *,
        versions: Sequence[int] = (1,),
        version_labels: Mapping[str, int] | None = None,
        signatures: Mapping[str, tuple[str, str]] | None = None,
        output_names: Sequence[str] = ("scores",),
        **options: Any,
    ) -> None:
        self.served = _ServedModel(
            hosted, model_name, versions, version_labels, signatures, output_names
        )
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        try:
            _check_key(self.key, headers.get("Authorization"))
            return Answer(200, self._answer(method, path, body, fault))
        except _RefusedError as error:
            return Answer(_STATUSES[error.code], {"error": error.text})

    def _answer(self, method: str, path: str, body: bytes, fault: Fault) -> Any:
        match = _PATH.fullmatch(path)
        if match is None or (method == "POST") != bool(match[4]):
            raise _RefusedError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        version = int(match[2]) if match[2] else None
        if method == "GET":
            if match[3]:
                version = self.served.version(match[1], None, match[3])
            return _status_json(self.served.statuses(match[1], version))
        self.served.version(match[1], version, match[3])
        return self._predict(_json_of(body), fault)

    def _predict(self, request: dict[str, Any], fault: Fault) -> Any:
        name, kind = self.served.input_of(request.get("signature_name") or "serving_default")
        if "instances" in request:
            rows = _named_rows(request["instances"], name)
        elif "inputs" in request:
            rows = _column(request["inputs"], name)
        else:
            raise _RefusedError("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
        images = _bytes_of(rows) if kind == "encoded" else self.served.check_pixels(_floats(rows))
        outputs = self.served.outputs(images, fault)
        if "inputs" in request:
            only = next(iter(outputs.values()))
            return {"outputs": only if len(outputs) == 1 else outputs}
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        if len(outputs) == 1:
            rows = [next(iter(row.values())) for row in rows]
        return {"predictions": rows}


class FakeTFServingGRPC(GRPCFake):
    """TF Serving's gRPC interface: Predict, GetModelMetadata and GetModelStatus.

    Faults are for Predict. Everything else is as of `FakeTFServing`.

    Args:
        hosted: the model and its bill.
        model_name: what clients must call it.
        versions: that are loaded; the largest answers unless another is asked for.
        version_labels: label -> version.
        signatures: name -> `(input, "pixels" or "encoded")`; `None` for those of our exports.
        output_names: of every signature; `"classes"` holds the labels.
        largest_request: in bytes; clients are refused as a gRPC server does.
        certificate: `(certificate file, key file)` for TLS, or `None`.
        options: as of `GRPCFake`: `faults`, `latency`, `key`, `threads`.

    Attributes:
        metadata_requests: how often a client asked for the model's metadata.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_tf_serving import FakeTFServingGRPC

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeTFServingGRPC(HostedModel.of(signs), "signs") as service:
        assert service.address.startswith("127.0.0.1:")
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str = "model",
        *,
        versions: Sequence[int] = (1,),
        version_labels: Mapping[str, int] | None = None,
        signatures: Mapping[str, tuple[str, str]] | None = None,
        output_names: Sequence[str] = ("scores",),
        largest_request: int | None = None,
        certificate: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.served = _ServedModel(
            hosted, model_name, versions, version_labels, signatures, output_names
        )
        self.largest_request, self.metadata_requests = largest_request, 0
        super().__init__(hosted, "serving", **options)
        if certificate is not None:
            self.address = _secure_address(self.server, certificate)
        _add_servicers(self)
        self.start()

    def checked(self, context: Any, answer: Any) -> Any:
        """What `answer()` returns, for a client with the key; refusals end the call.

        Args:
            context: of the call.
            answer: makes the message.
        """
        import grpc

        try:
            _check_key(self.key, dict(context.invocation_metadata()).get("authorization"))
            return answer()
        except _RefusedError as error:
            return context.abort(getattr(grpc.StatusCode, error.code), error.text)

    def predict(self, request: Any, fault: Fault) -> Any:
        """A `PredictResponse` to a `PredictRequest`.

        Args:
            request: as sent.
            fault: `"nan"`, `"wrong labels"` or `None`.
        """
        from tensorflow_serving.apis import predict_pb2

        size = request.ByteSize()
        if self.largest_request is not None and size > self.largest_request:
            raise _RefusedError(
                "RESOURCE_EXHAUSTED",
                f"Received message larger than max ({size} vs. {self.largest_request})",
            )
        version, (name, kind) = self._model_of(request.model_spec)
        if set(request.inputs) != {name}:
            raise _RefusedError("INVALID_ARGUMENT", _wrong_inputs(set(request.inputs), {name}))
        images = _tensor_images(request.inputs[name], kind)
        if kind == "pixels":
            images = self.served.check_pixels(images)
        for wanted in request.output_filter:
            if wanted not in self.served.output_names:
                raise _RefusedError(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {wanted} Outputs expected to be "
                    f"in the set {{{','.join(sorted(self.served.output_names))}}}.",
                )
        answer = predict_pb2.PredictResponse()
        answer.model_spec.CopyFrom(request.model_spec)
        answer.model_spec.version.value = version
        for alias, rows in self.served.outputs(images, fault).items():
            if not request.output_filter or alias in request.output_filter:
                _fill_output(answer.outputs[alias], rows)
        return answer

    def metadata(self, request: Any) -> Any:
        """A `GetModelMetadataResponse`.

        Args:
            request: as sent.
        """
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

        self.metadata_requests += 1
        if not request.metadata_field:
            raise _RefusedError(
                "INVALID_ARGUMENT",
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise _RefusedError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        spec = request.model_spec
        version = self._version_of(spec)
        signatures = metadata.SignatureDefMap()
        for name, (input_name, kind) in self.served.signatures.items():
            signature = signatures.signature_def[name]
            signature.method_name = "tensorflow/serving/predict"
            shape = [-1, *self.hosted.source_shape] if kind == "pixels" else [-1]
            _describe(signature.inputs[input_name], kind != "pixels", shape)
            for output in self.served.output_names:
                labels = [-1, len(self.hosted.labels)]
                _describe(signature.outputs[output], output == "classes", labels)
        answer = metadata.GetModelMetadataResponse()
        answer.model_spec.name = spec.name
        answer.model_spec.version.value = version
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def status(self, request: Any) -> Any:
        """A `GetModelStatusResponse`.

        Args:
            request: as sent.
        """
        from tensorflow_serving.apis import get_model_status_pb2 as status

        spec = request.model_spec
        version = None if not spec.WhichOneof("version_choice") else self._version_of(spec)
        available = status.ModelVersionStatus.AVAILABLE
        answer = status.GetModelStatusResponse()
        for one in self.served.statuses(spec.name, version):
            answer.model_version_status.add(version=one, state=available)
        return answer

    def _version_of(self, spec: Any) -> int:
        version = spec.version.value if spec.HasField("version") else None
        return self.served.version(spec.name, version, spec.version_label)

    def _model_of(self, spec: Any) -> tuple[int, tuple[str, str]]:
        signature_name = spec.signature_name or "serving_default"
        return self._version_of(spec), self.served.input_of(signature_name)


def encoded_pixels(pixels: np.ndarray, value_range: tuple[float, float]) -> list[bytes]:
    """PNG files of pixels, rounded to 8 bits: equal pixels give equal files.

    Args:
        pixels: `(n, H, W, C)`.
        value_range: `(low, high)` of them.
    """
    low, high = value_range
    codes = np.round((pixels - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
    return [_png(image[..., 0] if image.shape[-1] == 1 else image) for image in codes]


def _png(codes: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(codes).save(stream, "png")
    return stream.getvalue()


def _check_key(key: str | None, sent: str | None) -> None:
    # Repeats what was sent, as careless services do: clients must not pass it on.
    if key is not None and sent != f"Bearer {key}":
        raise _RefusedError("UNAUTHENTICATED", f"Unauthenticated: {sent}")


def _json_of(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise _RefusedError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise _RefusedError("INVALID_ARGUMENT", "JSON Value: Is not object")
    return request


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"}


def _named_rows(instances: Any, name: str) -> list[Any]:
    """One value an image, from bare values or from objects of named ones."""
    if not isinstance(instances, list):
        raise _RefusedError("INVALID_ARGUMENT", "Excepting 'instances' to be an list/array")
    if not instances:
        raise _RefusedError("INVALID_ARGUMENT", "No values in 'instances' array")
    rows = []
    for number, row in enumerate(instances):
        if isinstance(row, dict) and not _is_bytes(row):
            if set(row) != {name}:
                other = next((key for key in row if key != name), "")
                raise _RefusedError(
                    "INVALID_ARGUMENT",
                    f"Failed to process element: {number} key: {other} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {other}",
                )
            row = row[name]
        rows.append(row)
    return rows


def _column(inputs: Any, name: str) -> list[Any]:
    if isinstance(inputs, dict) and not _is_bytes(inputs):
        if name not in inputs:
            raise _RefusedError(
                "INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object."
            )
        inputs = inputs[name]
    return inputs if isinstance(inputs, list) else [inputs]


def _bytes_of(rows: list[Any]) -> list[bytes]:
    images = []
    for row in rows:
        if not _is_bytes(row) and not isinstance(row, str):
            raise _RefusedError(
                "INVALID_ARGUMENT", f"{_shown(row)} is not of expected type: string"
            )
        try:
            images.append(row.encode() if isinstance(row, str) else base64.b64decode(row["b64"]))
        except binascii.Error:
            raise _RefusedError("INVALID_ARGUMENT", "Unable to base64 decode") from None
    return images


def _floats(rows: list[Any]) -> np.ndarray:
    try:
        return np.asarray(rows, np.float32)
    except (ValueError, TypeError):
        raise _RefusedError(
            "INVALID_ARGUMENT", f"{_shown(rows[0])} is not of expected type: float"
        ) from None


def _shown(value: Any) -> str:
    kinds: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    kind = kinds.get(type(value), "Number")
    return f"JSON Value: {json.dumps(value)[:60]} Type: {kind}"


def _status_json(versions: list[int]) -> Any:
    fine = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": str(version), "state": "AVAILABLE", "status": fine} for version in versions
        ]
    }


def _secure_address(server: Any, certificate: tuple[str, str]) -> str:
    import grpc

    chain, key = (Path(name).read_bytes() for name in certificate)
    credentials = grpc.ssl_server_credentials([(key, chain)])
    return f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"


def _add_servicers(fake: FakeTFServingGRPC) -> None:
    with needs_extra("tensorflow-serving-api", "serving"):
        from tensorflow_serving.apis import model_service_pb2_grpc as models
        from tensorflow_serving.apis import prediction_service_pb2_grpc as predictions

    class Predictions(predictions.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            def respond(fault: Fault) -> Any:
                return fake.checked(context, lambda: fake.predict(request, fault))

            return fake.serve(context, respond)

        def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            return fake.checked(context, lambda: fake.metadata(request))

    class Models(models.ModelServiceServicer):
        def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            return fake.checked(context, lambda: fake.status(request))

    predictions.add_PredictionServiceServicer_to_server(Predictions(), fake.server)
    models.add_ModelServiceServicer_to_server(Models(), fake.server)


def _wrong_inputs(sent: set[str], wanted: set[str]) -> str:
    def joined(names: set[str]) -> str:
        return "{" + ",".join(sorted(names)) + "}"

    return (
        f"input size does not match signature: {len(sent)}!={len(wanted)} len({joined(sent)}) != "
        f"len({joined(wanted)}). Sent extra: {joined(sent - wanted)}. Missing but required: "
        f"{joined(wanted - sent)}."
    )


def _tensor_images(tensor: Any, kind: str) -> Any:
    """Encoded images, or pixels, of a `TensorProto`."""
    wanted = _FLOAT if kind == "pixels" else _STRING
    if tensor.dtype != wanted:
        names = {_FLOAT: "float", _STRING: "string"}
        raise _RefusedError(
            "INVALID_ARGUMENT",
            f"Expects arg[0] to be {names[wanted]} but {names.get(tensor.dtype, 'another')} is "
            "provided",
        )
    if kind == "encoded":
        return list(tensor.string_val)
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, "<f4").reshape(shape)
    return np.array(tensor.float_val, np.float32).reshape(shape)


def _fill_output(tensor: Any, rows: list[Any]) -> None:
    values = np.array(rows)
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    if values.dtype.kind == "U":
        tensor.dtype = _STRING
        tensor.string_val.extend(value.encode() for value in values.ravel())
    else:
        tensor.dtype = _FLOAT
        tensor.float_val.extend(values.ravel())


def _describe(info: Any, is_string: bool, shape: list[int]) -> None:
    info.dtype = _STRING if is_string else _FLOAT
    for size in shape:
        info.tensor_shape.dim.add(size=size)
