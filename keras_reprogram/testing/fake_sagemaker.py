"""FakeSageMaker: Amazon SageMaker's InvokeEndpoint before a model of yours."""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any
from urllib.parse import unquote

from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

CONTAINERS = ("built-in", "jumpstart", "hugging-face", "tensorflow-serving")
_ORDERED = {
    403: "AccessDeniedException",
    424: "ModelError",
    429: "ThrottlingException",
    500: "InternalFailure",
    503: "ServiceUnavailable",
}


class FakeSageMaker(HTTPFake):
    """Answers `InvokeEndpoint` as one of Amazon's containers does.

    Signatures are not checked. Images come as they are, and as `{"instances": [{"b64": ...}]}` to
    `"tensorflow-serving"`. What the container refuses is a `ModelError`, as in the service.

    Args:
        hosted: the model and its bill.
        endpoint_name: of the one endpoint that exists.
        container: `"built-in"` (image classification: a list of scores), `"jumpstart"` (with
            labels, if asked for `;verbose`), `"hugging-face"` (the five best labels) or
            `"tensorflow-serving"` (rows of scores).
        variants: production variants that exist.
        options: as of `HTTPFake`; `key` is the access key id that must sign.

    Raises:
        ValueError: for another container.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_sagemaker import FakeSageMaker

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeSageMaker(HostedModel.of(signs), endpoint_name="signs") as fake:
        assert fake.address.startswith("http://127.0.0.1:")     # for `endpoint_url`
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        endpoint_name: str = "endpoint",
        container: str = "built-in",
        variants: tuple[str, ...] = ("AllTraffic",),
        **options: Any,
    ) -> None:
        if container not in CONTAINERS:
            raise ValueError(f"`container` must be one of {CONTAINERS}. Received: {container!r}.")
        self.endpoint_name, self.container, self.variants = endpoint_name, container, variants
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        signer = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", headers.get("Authorization", ""))
        if self.key is not None and (signer is None or signer[1] != self.key):
            said = "The security token included in the request is invalid."
            return _refused(403, "UnrecognizedClientException", said)
        place = re.fullmatch(r"/endpoints/([^/]+)/invocations", path)
        if place is None or unquote(place[1]) != self.endpoint_name:
            return _refused(400, "ValidationError", f"Endpoint {unquote(path)} not found.")
        variant = headers.get("X-Amzn-SageMaker-Target-Variant", self.variants[0])
        if variant not in self.variants:
            return _refused(400, "ValidationError", f"Variant {variant} not found.")
        try:
            images = self._images(headers.get("Content-Type", ""), body)
            scores, names = self.hosted.score(images, fault)
        except (BadImageError, KeyError, ValueError, TypeError) as error:
            return _of_container(400, f"{type(error).__name__}: {error}")
        accept = headers.get("Accept", "")
        content = self._content(scores.tolist(), names, accept)
        return Answer(
            200,
            content,
            {"x-Amzn-Invoked-Production-Variant": variant, "x-amzn-RequestId": str(uuid.uuid4())},
        )

    def refusal(self, status: int) -> Answer:
        if status == 424:
            return _of_container(503, "the worker died, to order")
        code = _ORDERED.get(status, "ValidationError")
        return _refused(status, code, f"status {status}, to order")

    def _images(self, content_type: str, body: bytes) -> list[bytes]:
        if self.container == "tensorflow-serving":
            return [base64.b64decode(one["b64"]) for one in json.loads(body)["instances"]]
        kinds = ("image/png", "image/jpeg", "application/x-image")
        if content_type not in kinds:
            raise ValueError(f"Unsupported content type {content_type}")
        return [body]

    def _content(self, scores: list[list[float]], names: list[str], accept: str) -> Any:
        if self.container == "tensorflow-serving":
            return {"predictions": scores}
        if self.container == "hugging-face":
            best = sorted(zip(names, scores[0], strict=True), key=lambda one: -one[1])[:5]
            return [{"label": name, "score": score} for name, score in best]
        if self.container == "jumpstart":
            best_name = names[scores[0].index(max(scores[0]))]
            more = {"labels": names, "predicted_label": best_name}
            return {"probabilities": scores[0]} | (more if "verbose" in accept else {})
        return scores[0]


def _of_container(status: int, message: str) -> Answer:
    side = "client" if status < 500 else "server"
    said = f'Received {side} error ({status}) from primary with message "{message}".'
    return _refused(424, "ModelError", said, OriginalStatusCode=status, OriginalMessage=message)


def _refused(status: int, code: str, message: str, **more: Any) -> Answer:
    return Answer(status, {"Message": message} | more, {"x-amzn-ErrorType": code})
