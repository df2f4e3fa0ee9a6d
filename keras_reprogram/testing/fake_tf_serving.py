"""FakeTFServing: TF Serving's REST interface on a socket of this machine."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_reprogram.testing.faults import Fault
from keras_reprogram.testing.hosted_model import HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake
from keras_reprogram.testing.served_model import RefusedError, ServedModel, check_key

_STATUSES = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "NOT_FOUND": 404}
_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict)?", re.IGNORECASE
)


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
        self.served = ServedModel(
            hosted, model_name, versions, version_labels, signatures, output_names
        )
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        try:
            check_key(self.key, headers.get("Authorization"))
            return Answer(200, self._answer(method, path, body, fault))
        except RefusedError as error:
            return Answer(_STATUSES[error.code], {"error": error.text})

    def _answer(self, method: str, path: str, body: bytes, fault: Fault) -> Any:
        match = _PATH.fullmatch(path)
        if match is None or (method == "POST") != bool(match[4]):
            raise RefusedError(f"Malformed request: {method} {path}")
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
            raise RefusedError("Missing 'inputs' or 'instances' key")
        images = _bytes_of(rows) if kind == "encoded" else self.served.check_pixels(_floats(rows))
        outputs = self.served.outputs(images, fault)
        if "inputs" in request:
            only = next(iter(outputs.values()))
            return {"outputs": only if len(outputs) == 1 else outputs}
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        if len(outputs) == 1:
            rows = [next(iter(row.values())) for row in rows]
        return {"predictions": rows}


def _json_of(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise RefusedError(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise RefusedError("JSON Value: Is not object")
    return request


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"}


def _named_rows(instances: Any, name: str) -> list[Any]:
    """One value an image, from bare values or from objects of named ones."""
    if not isinstance(instances, list):
        raise RefusedError("Excepting 'instances' to be an list/array")
    if not instances:
        raise RefusedError("No values in 'instances' array")
    rows = []
    for number, row in enumerate(instances):
        if isinstance(row, dict) and not _is_bytes(row):
            if set(row) != {name}:
                other = next((key for key in row if key != name), "")
                raise RefusedError(
                    f"Failed to process element: {number} key: {other} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {other}"
                )
            row = row[name]
        rows.append(row)
    return rows


def _column(inputs: Any, name: str) -> list[Any]:
    if isinstance(inputs, dict) and not _is_bytes(inputs):
        if name not in inputs:
            raise RefusedError(f"Missing named input: {name} in 'inputs' object.")
        inputs = inputs[name]
    return inputs if isinstance(inputs, list) else [inputs]


def _bytes_of(rows: list[Any]) -> list[bytes]:
    images = []
    for row in rows:
        if not _is_bytes(row) and not isinstance(row, str):
            raise RefusedError(f"{_shown(row)} is not of expected type: string")
        try:
            images.append(row.encode() if isinstance(row, str) else base64.b64decode(row["b64"]))
        except binascii.Error:
            raise RefusedError("Unable to base64 decode") from None
    return images


def _floats(rows: list[Any]) -> np.ndarray:
    try:
        return np.asarray(rows, np.float32)
    except (ValueError, TypeError):
        raise RefusedError(f"{_shown(rows[0])} is not of expected type: float") from None


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
