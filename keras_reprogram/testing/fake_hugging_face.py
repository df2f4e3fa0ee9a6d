"""FakeHuggingFace: image classification of Hugging Face before a model of yours."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import unquote

import numpy as np

from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

_DEFAULT_TOP_K = 5
_ORDERED = {
    402: "You have exceeded your monthly included credits for Inference Providers.",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Temporarily Unavailable",
}


class FakeHuggingFace(HTTPFake):
    """Answers `POST /models/<name>`, and `POST /` as an endpoint does.

    Images come as they are, or as base64 in JSON beside `parameters`. Labels are listed from the
    best down, five of them unless `top_k` says otherwise. The hosted scores are probabilities:
    another function is applied to their logarithms.

    Args:
        hosted: the model and its bill.
        model: the name of the one model that exists.
        options: as of `HTTPFake`; `key` is the access token.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_hugging_face import FakeHuggingFace

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeHuggingFace(HostedModel.of(signs), model="me/signs", key="a key") as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # the `address`
    ```
    """

    def __init__(
        self, hosted: HostedModel, *, model: str = "owner/classifier", **options: Any
    ) -> None:
        self.model = model
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        if self.key is not None and headers.get("Authorization") != f"Bearer {self.key}":
            return _refused(401, "Invalid username or password.")
        if unquote(path) not in ("/", f"/models/{self.model}"):
            return _refused(404, f"Model {unquote(path).removeprefix('/models/')} does not exist")
        is_json = headers.get("Content-Type", "").startswith("application/json")
        try:
            image, parameters = _asked(json.loads(body)) if is_json else (body, {})
            scores, names = self.hosted.score([image], fault)
        except BadImageError:
            return _refused(400, "cannot identify image file")
        applied = parameters.get("function_to_apply")
        if applied not in (None, "softmax", "sigmoid", "none"):
            return _refused(422, f"Unrecognized `function_to_apply` argument: {applied}")
        listed = zip(names, _applied(scores[0], applied), strict=True)
        best = sorted(listed, key=lambda one: -one[1])[: parameters.get("top_k", _DEFAULT_TOP_K)]
        return Answer(200, [{"label": name, "score": float(score)} for name, score in best])

    def refusal(self, status: int) -> dict[str, str]:
        return {"error": _ORDERED.get(status, f"status {status}, to order")}


def _asked(content: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    try:
        return base64.b64decode(content["inputs"], validate=True), content.get("parameters", {})
    except binascii.Error as error:
        raise BadImageError("Expected base64.") from error


def _applied(probabilities: np.ndarray, function: str | None) -> np.ndarray:
    if function in (None, "softmax"):
        return probabilities
    logits = np.log(np.maximum(probabilities, 1e-30))
    return logits if function == "none" else 1.0 / (1.0 + np.exp(-logits))


def _refused(status: int, message: str) -> Answer:
    return Answer(status, {"error": message})
