"""OpenAIModerationSource: OpenAI's moderation of images, free of charge."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from keras_reprogram.source.errors import SourceRefusedError
from keras_reprogram.source.remote.client import check_images_per_request
from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource, Posted, json_body

IMAGE_CATEGORIES = (
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "violence",
    "violence/graphic",
)
_ADDRESS = "https://api.openai.com/v1"
_LARGEST_IMAGE = 20 * 2**20
_HINTS = {
    400: "Check `model`, and that the image is PNG or JPEG.",
    401: "Check the key in the environment, and that it belongs to `address`.",
    403: "The key's project, or this country, may not ask this model.",
    404: "Check `model` and `address`.",
}


@dataclass(frozen=True)
class OpenAIModerationClient(HTTPClient):
    """Posts one image, as a data URL in JSON."""

    model: str
    media_type: str

    hints = HTTPClient.hints | _HINTS

    @property
    def request_options(self) -> str:
        return self.model

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        """The request of an image; a SourceRefusedError for more than 20 MB."""
        (image,) = payloads
        if len(image) > _LARGEST_IMAGE:
            raise SourceRefusedError(
                f"OpenAI takes images of at most {_LARGEST_IMAGE:,} bytes. Received: "
                f"{len(image):,}. Use a smaller `source_shape` or encoding='jpeg'."
            )
        url = f"data:{self.media_type};base64,{base64.b64encode(image).decode()}"
        part = {"type": "image_url", "image_url": {"url": url}}
        return json_body({"model": self.model, "input": [part]})

    def _check_status(self, answer: Posted, place: str) -> None:
        code = _error_code(answer.content) if answer.status >= 400 else ""
        if answer.status == 401:
            # OpenAI's message repeats the beginning and the end of the key.
            raise SourceRefusedError(f"{place} refused. Received: 401 {code!r}. {_HINTS[401]}")
        if answer.status == 429 and code == "insufficient_quota":
            raise SourceRefusedError(
                f"{place} refused. Received: 429 {code!r}. Moderation is free, but OpenAI wants "
                "an account with credit or a payment method: see its page on billing."
            )
        super()._check_status(answer, place)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class OpenAIModerationSource(HTTPSource):
    """OpenAI's moderation of images: up to six scores of doubtful content, one image a request.

    Six of the model's thirteen categories answer to images; the others read text only, and what
    the service says about them without a text is not read. Requests are free of charge, and limited
    by the account's tier: pass `queries_per_second`. Each score is from 0 to 1 and stands alone.

    Args:
        source_shape: `(H, W, C)`.
        class_names: some or all of self-harm, self-harm/instructions, self-harm/intent, sexual,
            violence, violence/graphic.
        model: a snapshot such as `"omni-moderation-2024-09-26"` stays what it is;
            `"omni-moderation-latest"` may be exchanged under way: see `drift_tolerance`.
        key_variable: the environment variable that holds an API key.
        address: of the API, such as a `FakeOpenAIModeration`'s with `/v1`, for dry runs.
        options: as of `HTTPSource` (`timeout`, `certificates`) and `RemoteSource`. `identity` is
            made of `model` unless given.

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for categories that do not answer to images, or more than one image a request.

    Example:
    ```python
    from keras_reprogram.source.remote.openai_moderation import OpenAIModerationSource

    source = OpenAIModerationSource((64, 64, 3), value_range=(0, 255), queries_per_second=8)
    assert source.num_labels == 6       # nothing was asked yet
    assert source.score_kind == "independent"
    ```
    """

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str] = IMAGE_CATEGORIES,
        *,
        model: str = "omni-moderation-latest",
        key_variable: str = "OPENAI_API_KEY",
        address: str = _ADDRESS,
        **options: Any,
    ) -> None:
        check_images_per_request(options, 1, "OpenAI's moderation")
        if others := [name for name in class_names if name not in IMAGE_CATEGORIES]:
            raise ValueError(
                f"OpenAI scores images for {', '.join(IMAGE_CATEGORIES)}. Received: "
                f"{', '.join(others)}. Pass some or all of them."
            )
        chosen = {"identity": f"OpenAI {model}", "score_kind": "independent"} | options
        media_type = f"image/{chosen.get('encoding', 'png')}"
        super().__init__(
            f"{address.rstrip('/')}/moderations",
            source_shape,
            class_names,
            key_variable=key_variable,
            client=partial(OpenAIModerationClient, model=model, media_type=media_type),
            **chosen,
        )

    def read(self, answer: bytes) -> list[list[float]]:
        (result,) = json.loads(answer)["results"]
        read_from = result["category_applied_input_types"]
        names = self.class_names or ()
        if unread := [name for name in names if "image" not in read_from.get(name, ())]:
            raise ValueError(
                f"The image must be read for every declared category. Received: not for "
                f"{', '.join(unread)}."
            )
        return [self.row_of((name, result["category_scores"][name]) for name in names)]


def _error_code(content: bytes) -> str:
    """The code of OpenAI's error, or nothing if it has none."""
    try:
        return str(json.loads(content)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
