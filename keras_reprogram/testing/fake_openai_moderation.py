"""FakeOpenAIModeration: OpenAI's moderation API before a model of yours."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from typing import Any

from keras_reprogram.source.remote.openai_moderation import IMAGE_CATEGORIES
from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

_TEXT_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "sexual/minors",
)
_ORDERED = {
    429: ("Rate limit reached for omni-moderation-latest", "requests", "rate_limit_exceeded"),
    500: ("The server had an error processing your request.", "server_error", None),
    503: ("The server is overloaded or not ready yet.", "server_error", None),
}


class FakeOpenAIModeration(HTTPFake):
    """Answers `POST /v1/moderations` about one image a request, sent as a data URL.

    Categories that read text only have a small score, as the service's own have, and no input type
    that applies. The bill counts images, of which the service's own price is nothing.

    Args:
        hosted: the model and its bill; its class names are image categories of OpenAI's.
        models: the names of the model that exist.
        options: as of `HTTPFake`; `key` is the API key.

    Raises:
        ValueError: for class names that are no image categories.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_openai_moderation import FakeOpenAIModeration

    def brightness(pixels):
        return np.mean(pixels, axis=(1, 2))[:, :2] / 255

    hosted = HostedModel(brightness, (8, 8, 3), ["sexual", "violence"])
    with FakeOpenAIModeration(hosted, key="a key") as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # its `/v1` is the `address`
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        models: tuple[str, ...] = ("omni-moderation-latest", "omni-moderation-2024-09-26"),
        **options: Any,
    ) -> None:
        if others := set(hosted.class_names) - set(IMAGE_CATEGORIES):
            raise ValueError(
                f"The hosted names must be among {', '.join(IMAGE_CATEGORIES)}. Received: "
                f"{', '.join(sorted(others))}."
            )
        self.models = models
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        sent = headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is not None and sent != self.key:
            # With both ends of the key, as the service does it.
            shown = f"{sent[:8]}{'*' * 24}{sent[-4:]}"
            said = f"Incorrect API key provided: {shown}."
            return _refused(401, said, code="invalid_api_key")
        if (method, path) != ("POST", "/v1/moderations"):
            return _refused(404, f"Invalid URL ({method} {path})")
        asked = json.loads(body)
        model = asked.get("model", self.models[0])
        if model not in self.models:
            return _refused(400, f"Invalid value for 'model': '{model}'.", param="model")
        urls = [part.get("image_url", {}).get("url") for part in _parts(asked)]
        if len(urls) != 1:
            said = f"Number of images ({len(urls)}) exceeds maximum of 1"
            return _refused(400, said, param="input", code="too_many_images")
        try:
            scores, names = self.hosted.score([_image_of(urls[0])], fault)
        except BadImageError:
            return _refused(400, "Invalid image.", param="input")
        return Answer(200, _content(model, dict(zip(names, scores[0], strict=True))))

    def refusal(self, status: int) -> dict[str, Any]:
        message, kind, code = _ORDERED.get(
            status, (f"status {status}, to order", "invalid_request_error", None)
        )
        return _error(message, kind, code=code)


def _parts(asked: dict[str, Any]) -> list[dict[str, Any]]:
    parts = asked["input"]
    return [part for part in parts if isinstance(part, dict) and part["type"] == "image_url"]


def _image_of(url: Any) -> bytes:
    kind, _, data = str(url).partition(";base64,")
    try:
        if not kind.startswith("data:image/"):
            raise BadImageError("Expected a data URL.")
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadImageError("Expected base64.") from error


def _content(model: str, scored: dict[str, float]) -> dict[str, Any]:
    # Wrong names, to order, stand alone.
    others = {} if set(scored) - set(IMAGE_CATEGORIES) else dict.fromkeys(IMAGE_CATEGORIES, 0.0)
    scores = others | {name: float(score) for name, score in scored.items()}
    texts = dict.fromkeys(_TEXT_CATEGORIES, 2.4e-7)
    result = {
        "flagged": any(score > 0.5 for score in scores.values()),
        "categories": {name: score > 0.5 for name, score in (texts | scores).items()},
        "category_scores": texts | scores,
        "category_applied_input_types": {
            **{name: [] for name in texts},
            **{name: ["image"] for name in scores},
        },
    }
    return {"id": f"modr-{uuid.uuid4().hex}", "model": model, "results": [result]}


def _error(message: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None} | more}


def _refused(status: int, message: str, **more: Any) -> Answer:
    return Answer(status, _error(message, "invalid_request_error", **more))
