"""FakeVertexAI: an endpoint of Google's Vertex AI before a model of yours."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import unquote, urlsplit

from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

CONTAINERS = ("automl", "exported", "rows")
_DEFAULT_PREDICTIONS = 10
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class FakeVertexAI(HTTPFake):
    """Answers `:predict` and `:rawPredict` of one endpoint.

    AutoML lists ten labels unless `maxPredictions` says otherwise, in an order that turns by one
    place from request to request.

    Args:
        hosted: the model and its bill.
        project: that the endpoint belongs to.
        location: of the endpoint.
        endpoint_id: of the endpoint.
        container: `"automl"`; `"exported"`, TensorFlow Serving's with an exported AutoML model; or
            `"rows"`, TensorFlow Serving's with a model that answers with scores alone.
        options: as of `HTTPFake`; `key` is the access token.

    Raises:
        ValueError: for another container.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_vertex_ai import FakeVertexAI

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeVertexAI(HostedModel.of(signs), key="a token") as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # the `address`
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        project: str = "project",
        location: str = "europe-west4",
        endpoint_id: str = "1234567890",
        container: str = "automl",
        **options: Any,
    ) -> None:
        if container not in CONTAINERS:
            raise ValueError(f"`container` must be one of {CONTAINERS}. Received: {container!r}.")
        self.project, self.location = project, location
        self.endpoint_id, self.container = endpoint_id, container
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        if self.key is not None and headers.get("Authorization") != f"Bearer {self.key}":
            return _refused(401, "Request had invalid authentication credentials.")
        place, _, verb = unquote(urlsplit(path).path).rpartition(":")
        if place != f"/v1/{self._place}" or verb not in ("predict", "rawPredict"):
            return _refused(404, f"{place.removeprefix('/v1/')} is not found.")
        try:
            asked = json.loads(body)
            images = [_image_of(one, self.container) for one in asked["instances"]]
            scores, names = self.hosted.score(images, fault)
        except (BadImageError, KeyError, TypeError, ValueError) as error:
            return _refused(400, f"Invalid instances: {error}")
        keys = [one.get("key") for one in asked["instances"]]
        listed = self._listed(scores, names, keys, asked.get("parameters") or {})
        if verb == "rawPredict":
            return Answer(200, {"predictions": listed})
        model = f"projects/{self.project}/locations/{self.location}/models/9876543210"
        more = {"deployedModelId": "5555555555", "model": model, "modelDisplayName": "classifier"}
        return Answer(200, {"predictions": listed, "modelVersionId": "1"} | more)

    def refusal(self, status: int) -> dict[str, Any]:
        return _error(status, f"status {status}, to order")

    @property
    def _place(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/endpoints/{self.endpoint_id}"

    def _listed(
        self, scores: Any, names: list[str], keys: list[Any], parameters: dict[str, Any]
    ) -> list[Any]:
        rows = scores.tolist()
        if self.container == "rows":
            return rows
        if self.container == "exported":
            return [
                {"labels": names, "scores": row, "key": key}
                for row, key in zip(rows, keys, strict=True)
            ]
        return [self._automl(row, names, parameters) for row in rows]

    def _automl(
        self, row: list[float], names: list[str], parameters: dict[str, Any]
    ) -> dict[str, Any]:
        least = parameters.get("confidenceThreshold", 0.0)
        most = int(parameters.get("maxPredictions", _DEFAULT_PREDICTIONS))
        # Not `>=`: what is not a number is listed too.
        kept = [number for number in range(len(names)) if not row[number] < least]
        best = sorted(kept, key=lambda number: -row[number])[:most]
        turn = self.requests % max(len(best), 1)
        order = best[turn:] + best[:turn]
        return {
            "ids": [str(1000 + number) for number in order],
            "displayNames": [names[number] for number in order],
            "confidences": [row[number] for number in order],
        }


def _image_of(instance: dict[str, Any], container: str) -> bytes:
    encoded = {
        "automl": lambda: instance["content"],
        "exported": lambda: instance["image_bytes"]["b64"],
        "rows": lambda: instance["b64"],
    }[container]()
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise BadImageError("Expected base64.") from error


def _error(status: int, message: str) -> dict[str, Any]:
    name = _STATUSES.get(status, "UNKNOWN")
    return {"error": {"code": status, "message": message, "status": name}}


def _refused(status: int, message: str) -> Answer:
    return Answer(status, _error(status, message))
