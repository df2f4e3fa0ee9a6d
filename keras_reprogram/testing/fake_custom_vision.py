"""FakeCustomVision: Azure Custom Vision's prediction API before a model of yours."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import unquote, urlsplit

from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

_LARGEST_IMAGE = 4 * 2**20
_ORDERED = {
    400: ("BadRequest", "Bad request"),
    403: ("Forbidden", "Out of call volume quota."),
    404: ("NotFound", "Not found"),
    500: ("ErrorPrediction", "Internal error"),
    503: ("ErrorPredictionServiceUnavailable", "Service unavailable"),
}


class FakeCustomVision(HTTPFake):
    """Answers `ClassifyImage` and `ClassifyImageWithNoStore`, with bytes or a form.

    All tags are listed, from the surest down. Images above 4 MB and what is no image are refused
    and not billed.

    Args:
        hosted: the model and its bill.
        project_id: the one project that exists.
        iteration: the name that its one iteration was published under.
        options: as of `HTTPFake`; `key` is the prediction key.

    Attributes:
        stored: images that clients let the service keep.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_custom_vision import FakeCustomVision

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeCustomVision(HostedModel.of(signs), key="a key") as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # the `endpoint`
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        project_id: str = "6a5b3c1e-2f4d-4e6a-9b8c-7d6e5f4a3b2c",
        iteration: str = "Iteration1",
        **options: Any,
    ) -> None:
        self.project_id, self.iteration = project_id, iteration
        self.stored: list[bytes] = []
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        if self.key is not None and headers.get("Prediction-Key") != self.key:
            return Answer(
                401, _gateway_error("401", "Access denied due to invalid subscription key")
            )
        refusal, stores = self._place(path)
        if refusal is not None:
            return Answer(404, refusal)
        image = _image_of(headers.get("Content-Type", ""), body)
        if len(image) > _LARGEST_IMAGE:
            return Answer(400, _error("BadRequestImageSizeBytes", "Image exceeds 4 MB"))
        try:
            scores, names = self.hosted.score([image], fault)
        except BadImageError:
            return Answer(400, _error("BadRequestImageFormat", "Image format is not supported"))
        if stores:
            self.stored.append(image)
        return Answer(200, self._content(scores[0], names))

    def refusal(self, status: int) -> dict[str, Any]:
        if status == 429:
            return _gateway_error("429", "Requests have exceeded rate limit of your current tier.")
        return _error(*_ORDERED.get(status, ("ErrorUnknown", f"status {status}, to order")))

    def _place(self, path: str) -> tuple[dict[str, str] | None, bool]:
        """The error of a path, or `None`, and whether the path stores images."""
        parts = [unquote(part) for part in urlsplit(path).path.split("/")[1:]]
        fixed = ["customvision", "v3.1", "prediction", "classify", "iterations", "image"]
        stores = parts[-1] == "image"
        rest = parts if stores else parts[:-1]
        if len(rest) != 8 or rest[:3] + rest[4:6] + rest[7:] != fixed:
            return _error("NotFound", "Resource not found"), False
        if rest[3] != self.project_id:
            return _error("NotFoundProject", "Invalid project id"), False
        if rest[6] != self.iteration:
            return _error("NotFoundIteration", "Invalid iteration"), False
        return None, stores

    def _content(self, scores: Any, names: list[str]) -> dict[str, Any]:
        surest = sorted(zip(names, scores, strict=True), key=lambda tag: -tag[1])
        return {
            "id": str(uuid.uuid4()),
            "project": self.project_id,
            "iteration": _uuid_of(self.iteration),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "predictions": [_tag(name, score) for name, score in surest],
        }


def _tag(name: str, score: float) -> dict[str, Any]:
    tag = {"tagId": _uuid_of(name), "tagName": name, "tagType": "Regular"}
    return tag | {"probability": float(score)}


def _image_of(content_type: str, body: bytes) -> bytes:
    """The image of a body that is one, or of a form as the vendor's client sends it."""
    if not content_type.startswith("multipart/form-data"):
        return body
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.walk()}
    image = parts["imageData"].get_payload(decode=True)
    return image if isinstance(image, bytes) else b""


def _error(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def _gateway_error(code: str, message: str) -> dict[str, Any]:
    """The error format of the gateway in front of the service."""
    return {"error": _error(code, message)}


def _uuid_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
