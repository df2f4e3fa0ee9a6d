"""FakeAzureContentSafety: Azure AI Content Safety's image analysis before a model of yours."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

from keras_reprogram.source.remote.azure_content_safety import CATEGORIES
from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

_LARGEST_IMAGE, _SIDES = 4 * 2**20, (50, 7200)
_VERSIONS = ("2023-10-01", "2024-09-01")
_SEVERITIES_AT = np.array([0.25, 0.5, 0.75])
_ORDERED = {403: "Forbidden", 429: "TooManyRequests", 500: "InternalError", 503: "ServerBusy"}


class FakeAzureContentSafety(HTTPFake):
    """Answers `image:analyze` with severities, made of the hosted scores at 0.25, 0.5 and 0.75.

    Images above 4 MB, of less than 50 or more than 7,200 pixels a side, and what is no image are
    refused and not billed.

    Args:
        hosted: the model and its bill; its class names are categories of Azure's.
        options: as of `HTTPFake`; `key` is the resource's key.

    Raises:
        ValueError: for class names that are no categories.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_azure_content_safety import FakeAzureContentSafety

    def brightness(pixels):
        return np.mean(pixels, axis=(1, 2))[:, :2] / 255

    hosted = HostedModel(brightness, (64, 64, 3), ["Hate", "Violence"])
    with FakeAzureContentSafety(hosted, key="a key") as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # the `endpoint`
    ```
    """

    def __init__(self, hosted: HostedModel, **options: Any) -> None:
        if others := set(hosted.class_names) - set(CATEGORIES):
            raise ValueError(
                f"The hosted names must be among {', '.join(CATEGORIES)}. Received: "
                f"{', '.join(sorted(others))}."
            )
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        if self.key is not None and headers.get("Ocp-Apim-Subscription-Key") != self.key:
            said = "Access denied due to invalid subscription key or wrong API endpoint."
            return _refused(401, "401", said)
        parts = urlsplit(path)
        if (method, parts.path) != ("POST", "/contentsafety/image:analyze"):
            return _refused(404, "NotFound", "Resource not found")
        if parse_qs(parts.query).get("api-version", [""])[0] not in _VERSIONS:
            return _refused(400, "InvalidApiVersionParameter", "The api-version is not supported.")
        asked = json.loads(body)
        categories = asked.get("categories") or list(CATEGORIES)
        if set(categories) - set(CATEGORIES) or asked.get("outputType", "FourSeverityLevels") != (
            "FourSeverityLevels"
        ):
            return _refused(400, "InvalidRequestBody", "Categories or outputType not supported.")
        try:
            scores, names = self.hosted.score([_image_of(asked)], fault)
        except BadImageError as error:
            return _refused(400, "InvalidRequestBody", str(error))
        return Answer(200, _content(scores[0], names, categories))

    def refusal(self, status: int) -> dict[str, Any]:
        return _error(_ORDERED.get(status, "InvalidRequestBody"), f"status {status}, to order")


def _image_of(asked: dict[str, Any]) -> bytes:
    try:
        image = base64.b64decode(asked["image"]["content"], validate=True)
    except (binascii.Error, KeyError, TypeError) as error:
        raise BadImageError("Expected an image as base64.") from error
    if len(image) > _LARGEST_IMAGE:
        raise BadImageError("The image exceeds 4 MB.")
    try:
        with Image.open(io.BytesIO(image)) as picture:
            sides = picture.size
    except OSError as error:
        raise BadImageError("Image format is not supported.") from error
    if min(sides) < _SIDES[0] or max(sides) > _SIDES[1]:
        raise BadImageError("Image dimensions must be 50 to 7200 pixels.")
    return image


def _content(scores: Any, names: list[str], categories: list[str]) -> dict[str, Any]:
    found = dict(zip(names, scores, strict=True))
    others = [name for name in names if name not in CATEGORIES]
    analysed = [
        {"category": name, "severity": _severity(found.get(name, 0.0))}
        for name in [*others, *([] if others else categories)]
    ]
    return {"categoriesAnalysis": analysed}


def _severity(score: float) -> int | None:
    # Azure's own client takes an answer without a severity.
    return None if np.isnan(score) else 2 * int(np.sum(score >= _SEVERITIES_AT))


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _refused(status: int, code: str, message: str) -> Answer:
    return Answer(status, _error(code, message))
