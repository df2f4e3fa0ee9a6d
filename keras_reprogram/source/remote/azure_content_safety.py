"""AzureContentSafetySource: severities of four kinds of harm in an image."""

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
from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource, json_body

CATEGORIES = ("Hate", "SelfHarm", "Sexual", "Violence")
_SEVERITIES = (0, 2, 4, 6)
_API_VERSION = "2024-09-01"
_LARGEST_IMAGE = 4 * 2**20
_SIDES = (50, 7200)
_HINTS = {
    400: "Check that the image is PNG or JPEG, of 50 to 7,200 pixels a side and at most 4 MB.",
    401: "Check the key, and that it belongs to `endpoint`.",
    403: "The key's quota is spent, or it may not do this: see the resource in the Azure portal.",
    404: "Check `endpoint`: a Content Safety resource, in a region that has image analysis.",
}


@dataclass(frozen=True)
class AzureContentSafetyClient(HTTPClient):
    """Posts one image as base64."""

    categories: tuple[str, ...]

    hints = HTTPClient.hints | _HINTS

    @property
    def request_options(self) -> str:
        return f"{_API_VERSION} {self.categories}"

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        """The request of an image; a SourceRefusedError for more than 4 MB."""
        (image,) = payloads
        if len(image) > _LARGEST_IMAGE:
            raise SourceRefusedError(
                f"Content Safety takes images of at most {_LARGEST_IMAGE:,} bytes. Received: "
                f"{len(image):,}. Use a smaller `source_shape` or encoding='jpeg'."
            )
        return json_body({
            "image": {"content": base64.b64encode(image).decode()},
            "categories": list(self.categories),
            "outputType": "FourSeverityLevels",
        })  # fmt: skip


@keras.saving.register_keras_serializable(package="keras_reprogram")
class AzureContentSafetySource(HTTPSource):
    """Azure AI Content Safety: how severe hate, self-harm, sexual content and violence are.

    Each category has one of four severities (0, 2, 4, 6), which become the scores of `ordinal`.
    Such coarse scores do not move with small steps of a program: fit a map on many views of an
    image instead, and see `model.check_step`.

    Args:
        endpoint: of the resource, `https://<name>.cognitiveservices.azure.com`.
        source_shape: `(H, W, C)`, 50 to 7,200 pixels a side.
        class_names: some or all of Hate, SelfHarm, Sexual, Violence.
        ordinal: scores of the four severities, from safe to high.
        key_variable: the environment variable that holds a key of the resource.
        options: as of `HTTPSource` (`timeout`, `certificates`) and `RemoteSource`. `identity` is
            made of `endpoint` unless given; the model behind it has no version that one could
            name: see `drift_tolerance`. Scores are `"independent"`, and with an `ordinal` beyond
            [0, 1] read as they are (`"independent_logits"`); `score_step` follows from `ordinal`
            where its steps are equal.

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for images that the service does not take, or arguments that do not fit.

    Example:
    ```python
    from keras_reprogram.source.remote.azure_content_safety import AzureContentSafetySource

    source = AzureContentSafetySource(
        "https://mine.cognitiveservices.azure.com", (64, 64, 3), value_range=(0, 255)
    )
    assert source.num_labels == 4       # nothing was asked yet
    ```
    """

    def __init__(
        self,
        endpoint: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str] = CATEGORIES,
        *,
        ordinal: Sequence[float] = (0.0, 1 / 3, 2 / 3, 1.0),
        key_variable: str = "CONTENT_SAFETY_KEY",
        **options: Any,
    ) -> None:
        check_images_per_request(options, 1, "Content Safety")
        _check_arguments(source_shape, class_names, ordinal)
        base = endpoint.rstrip("/")
        self.ordinal = tuple(float(score) for score in ordinal)
        within_unit = all(0 <= score <= 1 for score in self.ordinal)
        chosen = {
            "identity": f"Azure Content Safety {base}",
            "score_kind": "independent" if within_unit else "independent_logits",
            "score_step": _step(self.ordinal),
        } | options
        super().__init__(
            f"{base}/contentsafety/image:analyze?api-version={_API_VERSION}",
            source_shape,
            class_names,
            key_variable=key_variable,
            key_header="Ocp-Apim-Subscription-Key",
            key_prefix="",
            client=partial(AzureContentSafetyClient, categories=tuple(class_names)),
            **chosen,
        )

    def read(self, answer: bytes) -> list[list[float]]:
        found = json.loads(answer)["categoriesAnalysis"]
        scores = dict(zip(_SEVERITIES, self.ordinal, strict=True))
        return [self.row_of((one["category"], scores[one["severity"]]) for one in found)]


def _check_arguments(
    source_shape: tuple[int, int, int], class_names: Sequence[str], ordinal: Sequence[float]
) -> None:
    least, most = _SIDES
    if not all(least <= side <= most for side in source_shape[:2]):
        raise ValueError(
            f"Content Safety takes images of {least} to {most:,} pixels per side. Received: "
            f"source_shape={tuple(source_shape)}. Let the program make images of (64, 64, 3)."
        )
    if others := [name for name in class_names if name not in CATEGORIES]:
        raise ValueError(
            f"Content Safety knows the categories {', '.join(CATEGORIES)}. Received: "
            f"{', '.join(others)}. Pass some or all of them."
        )
    if len(ordinal) != len(_SEVERITIES) or list(ordinal) != sorted(ordinal):
        raise ValueError(
            f"`ordinal` must be {len(_SEVERITIES)} increasing scores, for the severities "
            f"{_SEVERITIES}. Received: {tuple(ordinal)}."
        )


def _step(ordinal: tuple[float, ...]) -> float:
    """The distance of neighbouring scores if it is the same everywhere, else 0."""
    steps = [high - low for low, high in zip(ordinal, ordinal[1:], strict=False)]
    return steps[0] if max(steps) - min(steps) < 1e-9 else 0.0
