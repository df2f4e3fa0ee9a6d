"""FakeTFServing: TF Serving's REST interface on a socket of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.gateway import signature_definition, tensor_info
from keras_reprogram.serving.json_answers import outputs_text, parse_object, predictions_text
from keras_reprogram.serving.json_requests import inputs_of_json, signature_name_of
from keras_reprogram.serving.request_checks import check_inputs
from keras_reprogram.source.remote.payloads import encode_image
from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

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
        except ServingError as error:
            return Answer(error.http_status, {"error": error.text})

    def _answer(self, method: str, path: str, body: bytes, fault: Fault) -> Any:
        match = _PATH.fullmatch(path)
        if match is None or (method == "POST") != bool(match[4]):
            raise ServingError(f"Malformed request: {method} {path}")
        version = int(match[2]) if match[2] else None
        if method == "GET":
            if match[3]:
                version = self.served.version(match[1], None, match[3])
            return _status_json(self.served.statuses(match[1], version))
        self.served.version(match[1], version, match[3])
        return self._predict(parse_object(body), fault)

    def _predict(self, request: dict[str, Any], fault: Fault) -> bytes:
        signature = self.served.signature(signature_name_of(request) or "serving_default")
        outputs = self.served.outputs(signature, inputs_of_json(request, signature), fault)
        return predictions_text(outputs) if "instances" in request else outputs_text(outputs)


def _status_json(versions: list[int]) -> Any:
    fine = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": str(version), "state": "AVAILABLE", "status": fine} for version in versions
        ]
    }


# Signature -> its input, and what that is: those of `export_saved_model` that take images.
SIGNATURES = {
    "serving_default": ("image", "pixels"),
    "image_bytes": ("image_bytes", "encoded"),
}


class ServedModel:
    """State that both interfaces share: names, versions, signatures, the model."""

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
        self.labels = dict(version_labels or {})
        self.output_names = tuple(output_names)
        self.signature_defs = {
            name: self._definition(*one) for name, one in (signatures or SIGNATURES).items()
        }

    def version(self, name: str, version: int | None, label: str | None) -> int:
        """The version that answers."""
        if label and label not in self.labels:
            raise ServingError(f"Unrecognized servable version label: {label}")
        wanted = self.labels[label] if label else version
        if name != self.name or wanted not in (None, *self.versions):
            which = f"Latest({name})" if wanted is None else f"Specific({name}, {wanted})"
            raise ServingError(f"Servable not found for request: {which}", "NOT_FOUND")
        return max(self.versions) if wanted is None else wanted

    def statuses(self, name: str, version: int | None) -> list[int]:
        """The versions that a question about the status is about."""
        if name != self.name:
            raise ServingError(f"Could not find any versions of model {name}", "NOT_FOUND")
        if version is not None and version not in self.versions:
            raise ServingError(f"Could not find version {version} of model {name}", "NOT_FOUND")
        return [one for one in self.versions if version in (None, one)]

    def signature(self, name: str, code: str = "INVALID_ARGUMENT") -> Any:
        """The `SignatureDef` of this name."""
        if name not in self.signature_defs:
            raise ServingError(f'Serving signature name: "{name}" not found in signature def', code)
        return self.signature_defs[name]

    def outputs(
        self, signature: Any, inputs: Mapping[str, np.ndarray], fault: Fault
    ) -> dict[str, np.ndarray]:
        """Output -> a row an image; `classes` are the labels, any other name the scores."""
        check_inputs(signature, inputs)
        (images,) = inputs.values()
        if images.dtype == object:
            files = images.tolist()
        else:
            files = encoded_pixels(images, self.hosted.value_range)
        try:
            scores, labels = self.hosted.score(files, fault)
        except BadImageError:
            raise ServingError(
                "Unknown image file format. One of JPEG, PNG, GIF, BMP required."
            ) from None
        names = np.array([label.encode() for label in labels], object)
        classes = np.tile(names, (len(scores), 1))
        return {
            name: classes if name == "classes" else np.asarray(scores, np.float32)
            for name in self.output_names
        }

    def _definition(self, input_name: str, kind: str) -> Any:
        is_text = kind != "pixels"
        shape = () if is_text else self.hosted.source_shape
        labels = (len(self.hosted.class_names),)
        return signature_definition(
            {input_name: tensor_info(is_text=is_text, row_shape=shape)},
            {
                name: tensor_info(is_text=name == "classes", row_shape=labels)
                for name in self.output_names
            },
        )


def encoded_pixels(pixels: np.ndarray, value_range: tuple[float, float]) -> list[bytes]:
    """PNG files of pixels, rounded to 8 bits: equal pixels give equal files."""
    return [encode_image(image, value_range, "png") for image in pixels]


def check_key(key: str | None, sent: str | None) -> None:
    """Raises a `ServingError` unless the key was sent, or none is needed."""
    # Repeats what was sent, as careless services do: clients must not pass it on.
    if key is not None and sent != f"Bearer {key}":
        raise ServingError(f"Unauthenticated: {sent}", "UNAUTHENTICATED")
