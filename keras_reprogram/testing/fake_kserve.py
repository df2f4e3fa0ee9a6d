"""FakeKServe: the open inference protocol, version 2, on a socket of this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_reprogram.testing.fake_tf_serving import encoded_pixels
from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")


class _RefusedError(Exception):
    """A refusal: HTTP status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class FakeKServe(HTTPFake):
    """A V2 server: infer, readiness and metadata; errors in the words of Triton.

    Inputs come as JSON or follow it as binary data; outputs are JSON. Images and pixels are billed
    alike: pixels are rounded to the 8 bits of a PNG file.

    Args:
        hosted: the model and its bill.
        model_name: what clients must call it.
        versions: that are loaded.
        input_name: of the model.
        datatype: of the input: `"FP32"`, pixels in the model's range; `"UINT8"`, from 0 to 255;
            or `"BYTES"`, encoded images.
        output_names: `"classes"` holds the labels, any other name the scores.
        options: as of `HTTPFake`: `faults`, `latency`, `at_a_time`, `certificate`; and `key`,
            which a proxy before the server asks for.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_kserve import FakeKServe

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeKServe(HostedModel.of(signs), "signs", datatype="UINT8") as service:
        assert service.bill == 0
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str = "model",
        *,
        versions: Sequence[str] = ("1",),
        input_name: str = "image",
        datatype: str = "FP32",
        output_names: Sequence[str] = ("scores",),
        **options: Any,
    ) -> None:
        self.model_name, self.versions = model_name, tuple(map(str, versions))
        self.input_name, self.datatype = input_name, datatype
        self.output_names = tuple(output_names)
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        try:
            sent = headers.get("Authorization")
            if self.key is not None and sent != f"Bearer {self.key}":
                # Repeats what was sent, as careless services do: clients must not pass it on.
                raise _RefusedError(401, f"Unauthorized: {sent}")
            return Answer(200, self._answer(method, path, headers, body, fault))
        except _RefusedError as error:
            return Answer(error.status, {"error": error.text})

    def _answer(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Any:
        if method == "GET" and path in ("/v2/health/live", "/v2/health/ready"):
            return b""
        if method == "GET" and path == "/v2":
            return {"name": "fake", "version": "1", "extensions": ["binary_tensor_data"]}
        match = _PATH.fullmatch(path)
        if match is None or (method == "POST") != (match[3] == "infer"):
            raise _RefusedError(404, "Not Found")
        self._check_model(match[1], match[2])
        if match[3] == "ready":
            return b""
        if match[3] is None:
            return self._metadata()
        version = match[2] or self.versions[-1]
        request, binary = _parts(body, headers.get("Inference-Header-Content-Length"))
        return self._infer(request, binary, version, fault)

    def _check_model(self, name: str, version: str | None) -> None:
        if name != self.model_name:
            raise _RefusedError(404, f"Request for unknown model: '{name}' is not found")
        if version is not None and version not in self.versions:
            raise _RefusedError(
                404, f"Request for unknown model: '{name}' version {version} is not found"
            )

    def _metadata(self) -> Any:
        shape = [-1] if self.datatype == "BYTES" else [-1, *self.hosted.source_shape]
        return {
            "name": self.model_name,
            "versions": list(self.versions),
            "platform": "fake",
            "inputs": [{"name": self.input_name, "datatype": self.datatype, "shape": shape}],
            "outputs": [
                {
                    "name": name,
                    "datatype": _type_of(name),
                    "shape": [-1, len(self.hosted.class_names)],
                }
                for name in self.output_names
            ],
        }

    def _infer(self, request: Any, binary: bytes, version: str, fault: Fault) -> Any:
        tensors = request.get("inputs", [])
        if len(tensors) != 1:
            said = f"expected 1 inputs but got {len(tensors)} inputs for model"
            raise _RefusedError(400, f"{said} '{self.model_name}'")
        wanted = [output["name"] for output in request.get("outputs", [])] or self.output_names
        for name in wanted:
            if name not in self.output_names:
                raise _RefusedError(
                    400, f"unexpected inference output '{name}' for model '{self.model_name}'"
                )
        images = self._images(tensors[0], binary)
        try:
            scores, labels = self.hosted.score(images, fault)
        except BadImageError as error:
            raise _RefusedError(400, str(error)) from None
        rows = {"BYTES": np.array([labels] * len(scores)), "FP32": scores}
        return {
            "model_name": self.model_name,
            "model_version": version,
            "outputs": [_tensor(name, rows[_type_of(name)]) for name in wanted],
        }

    def _images(self, tensor: Any, binary: bytes) -> list[bytes]:
        name, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
        if name != self.input_name:
            raise _RefusedError(
                400, f"unexpected inference input '{name}' for model '{self.model_name}'"
            )
        if datatype != self.datatype:
            raise _RefusedError(
                400,
                f"inference input '{name}' data-type is '{datatype}', but model "
                f"'{self.model_name}' expects '{self.datatype}'",
            )
        expected = [] if datatype == "BYTES" else list(self.hosted.source_shape)
        if shape[1:] != expected:
            raise _RefusedError(
                400,
                f"unexpected shape for input '{name}' for model '{self.model_name}'. Expected "
                f"{json.dumps([-1, *expected])}, got {json.dumps(shape)}",
            )
        if datatype == "BYTES":
            return _checked_count(_byte_items(tensor, binary), shape, name)
        values = _values(tensor, binary, datatype)
        pixels = np.asarray(_checked_count(values, shape, name), np.float32).reshape(shape)
        return encoded_pixels(pixels, self.hosted.value_range if datatype == "FP32" else (0, 255))


def _type_of(output_name: str) -> str:
    return "BYTES" if output_name == "classes" else "FP32"


def _tensor(name: str, values: np.ndarray) -> Any:
    data = values.ravel().tolist()
    return {"name": name, "datatype": _type_of(name), "shape": list(values.shape), "data": data}


def _parts(body: bytes, json_length: str | None) -> tuple[Any, bytes]:
    """The JSON of a request, and the binary data after it."""
    end = len(body) if json_length is None else int(json_length)
    try:
        return json.loads(body[:end]), body[end:]
    except ValueError as error:
        raise _RefusedError(400, f"failed to parse the request JSON buffer: {error}") from None


def _byte_items(tensor: Any, binary: bytes) -> list[bytes]:
    if "data" in tensor:
        return [item.encode() for item in tensor["data"]]
    items, start = [], 0
    while start < len(binary):
        end = start + 4 + int.from_bytes(binary[start : start + 4], "little")
        items.append(binary[start + 4 : end])
        start = end
    return items


def _values(tensor: Any, binary: bytes, datatype: str) -> Any:
    if "data" in tensor:
        return np.ravel(tensor["data"])
    return np.frombuffer(binary, {"FP32": "<f4", "UINT8": "u1"}[datatype])


def _checked_count(values: Any, shape: Sequence[int], name: str) -> Any:
    if len(values) != np.prod(shape):
        raise _RefusedError(
            400,
            f"unable to parse 'data': input '{name}' has {len(values)} values for shape "
            f"{json.dumps(list(shape))}",
        )
    return values
