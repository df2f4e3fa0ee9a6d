"""FakeRekognition: Amazon Rekognition's wire format (AWS JSON 1.1) before a model of yours."""

from __future__ import annotations

import base64
import io
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

from keras_reprogram.testing.hosted_model import Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

_SMALLEST_SIDE, _LARGEST_IMAGE = 80, 5 * 2**20
# Below it a label is not listed, unless the request says otherwise.
_LEAST_CONFIDENCE = {
    "DetectLabels": 55.0,
    "DetectModerationLabels": 50.0,
    "DetectCustomLabels": 50.0,
}
_ORDERED = {
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    413: "ImageTooLargeException",
    429: "ThrottlingException",
    500: "InternalServerError",
    503: "ServiceUnavailableException",
}


class FakeRekognition(HTTPFake):
    """Answers `DetectLabels`, `DetectModerationLabels` and `DetectCustomLabels`.

    Signatures are not checked. Images are refused as Rekognition refuses them: below 80 pixels a
    side, above 5 MB, or neither PNG nor JPEG; refused images are not billed.

    Args:
        hosted: the model and its bill.
        project_version_arn: the one custom model or adapter that exists, or `None`.
        running: whether it was started.
        parents: name of a label -> name of the label above it.
        options: as of `HTTPFake`; `key` is the access key id that must sign.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_rekognition import FakeRekognition

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeRekognition(HostedModel.of(signs)) as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # for `endpoint_url`
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        project_version_arn: str | None = None,
        running: bool = True,
        parents: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.project_version_arn, self.running = project_version_arn, running
        self.parents = dict(parents or {})
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        operation = headers.get("X-Amz-Target", "").removeprefix("RekognitionService.")
        try:
            _check_signer(headers.get("Authorization", ""), self.key)
            if operation not in _LEAST_CONFIDENCE:
                raise _RefusalError("UnknownOperationException", "")
            asked = json.loads(body)
            self._check_model(operation, asked)
            image = _image_of(asked)
        except _RefusalError as refusal:
            code, message = refusal.args
            return _answer(400, {"__type": code, "Message": message})
        scores, names = self.hosted.score([image], fault)
        listed = _listed(operation, asked, dict(zip(names, scores[0] * 100.0, strict=True)))
        return _answer(200, self._content(operation, asked, listed))

    def refusal(self, status: int) -> Answer:
        code = _ORDERED.get(status, "InvalidParameterException")
        message = "Rate exceeded" if status == 429 else f"status {status}, to order"
        # Amazon distinguishes refusals by name: all of them have status 400.
        return _answer(status if status >= 500 else 400, {"__type": code, "Message": message})

    def _check_model(self, operation: str, asked: dict[str, Any]) -> None:
        custom = operation == "DetectCustomLabels"
        arn = asked.get("ProjectVersionArn" if custom else "ProjectVersion")
        if custom and arn is None:
            raise _RefusalError("InvalidParameterException", "Request has invalid parameters")
        if arn is not None and arn != self.project_version_arn:
            raise _RefusalError("ResourceNotFoundException", f"{arn} cannot be found")
        if arn is not None and not self.running:
            raise _RefusalError("ResourceNotReadyException", f"{arn} is not ready")

    def _content(
        self, operation: str, asked: dict[str, Any], listed: list[tuple[str, float]]
    ) -> dict[str, Any]:
        if operation == "DetectLabels":
            return {
                "Labels": [self._label(name, score) for name, score in listed],
                "LabelModelVersion": "3.0",
            }
        if operation == "DetectCustomLabels":
            return {"CustomLabels": [{"Name": name, "Confidence": score} for name, score in listed]}
        adapter = asked.get("ProjectVersion")
        return {
            "ModerationLabels": [self._moderation_label(name, score) for name, score in listed],
            "ModerationModelVersion": "7.0",
            "ContentTypes": [],
        } | ({"ProjectVersion": adapter} if adapter else {})

    def _label(self, name: str, score: float) -> dict[str, Any]:
        parents = [{"Name": parent} for parent in self._above(name)]
        empty: dict[str, Any] = {"Instances": [], "Aliases": [], "Categories": []}
        return {"Name": name, "Confidence": score, "Parents": parents} | empty

    def _moderation_label(self, name: str, score: float) -> dict[str, Any]:
        above = self._above(name)
        return {
            "Name": name,
            "Confidence": score,
            "ParentName": above[0] if above else "",
            "TaxonomyLevel": len(above) + 1,
        }

    def _above(self, name: str) -> list[str]:
        above = []
        while name in self.parents:
            name = self.parents[name]
            above.append(name)
        return above


class _RefusalError(Exception):
    """A code and a message of Amazon's."""


def _check_signer(authorization: str, key: str | None) -> None:
    if key is None:
        return
    signer = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", authorization)
    if signer is None:
        raise _RefusalError("MissingAuthenticationTokenException", "Missing Authentication Token")
    if signer[1] != key:
        raise _RefusalError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )


def _image_of(asked: dict[str, Any]) -> bytes:
    image = base64.b64decode(asked["Image"]["Bytes"])
    if len(image) > _LARGEST_IMAGE:
        raise _RefusalError("ImageTooLargeException", "Image size is too large")
    try:
        with Image.open(io.BytesIO(image), formats=["PNG", "JPEG"]) as picture:
            smallest = min(picture.size)
    except UnidentifiedImageError as error:
        said = "Request has invalid image format"
        raise _RefusalError("InvalidImageFormatException", said) from error
    if smallest < _SMALLEST_SIDE:
        # It says no more than this about images that are too small.
        raise _RefusalError("InvalidParameterException", "Request has invalid parameters")
    return image


def _listed(
    operation: str, asked: dict[str, Any], confidences: dict[str, float]
) -> list[tuple[str, float]]:
    """Labels from the surest down to the limits of the request."""
    least = asked.get("MinConfidence", _LEAST_CONFIDENCE[operation])
    most = asked.get("MaxLabels", asked.get("MaxResults"))
    # Not `>=`: what is not a number is listed too.
    kept = [(name, float(sure)) for name, sure in confidences.items() if not sure < least]
    return sorted(kept, key=lambda label: -label[1])[:most]


def _answer(status: int, content: dict[str, Any]) -> Answer:
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    return Answer(status, content, kind | {"x-amzn-RequestId": str(uuid.uuid4())})
