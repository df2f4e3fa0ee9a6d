"""CustomVisionSource: a published classifier of Azure Custom Vision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import keras

from keras_reprogram.source.errors import SourceRefusedError
from keras_reprogram.source.remote.client import check_images_per_request
from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource

_LARGEST_IMAGE = 4 * 2**20
_HINTS = {
    400: "Check that the iteration is published, and that the image is one of at most 4 MB.",
    401: "Check the prediction key (not the training key) and that it belongs to `endpoint`.",
    403: "The key's quota is spent, or it may not do this: see the resource in the Azure portal.",
    404: "Check `project_id`, and `iteration`: the name that it was published under.",
    415: "Check `endpoint`: another kind of service answers there.",
}


@dataclass(frozen=True)
class CustomVisionClient(HTTPClient):
    """Posts one image to the prediction URL of an iteration."""

    project_id: str
    iteration: str

    hints = HTTPClient.hints | _HINTS

    @property
    def request_options(self) -> str:
        return f"{self.project_id} {self.iteration}"

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        """The image itself; a SourceRefusedError for more than 4 MB."""
        (image,) = payloads
        if len(image) > _LARGEST_IMAGE:
            raise SourceRefusedError(
                f"Custom Vision takes images of at most {_LARGEST_IMAGE:,} bytes. Received: "
                f"{len(image):,}. Use a smaller `source_shape` or encoding='jpeg'."
            )
        return image, {"Content-Type": "application/octet-stream"}


@keras.saving.register_keras_serializable(package="keras_reprogram")
class CustomVisionSource(HTTPSource):
    """A classifier that was trained and published in Azure Custom Vision, one image a request.

    Scores of a multiclass project sum to 1. Those of a multilabel project do not: pass
    `score_kind="independent"`. Microsoft ends the service on 2028-09-25.

    Args:
        endpoint: of the prediction resource, `https://<name>.cognitiveservices.azure.com`.
        project_id: of the project, a UUID.
        iteration: the name that the iteration was published under.
        source_shape: `(H, W, C)`; Azure itself enlarges images below 256 pixels.
        class_names: names of the project's tags.
        key_variable: the environment variable that holds the prediction key.
        store: let Azure keep the images, for its owner to look at and train with.
        options: as of `HTTPSource` (`timeout`, `certificates`) and `RemoteSource`.

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for an endpoint that is no URL, or more than one image a request.

    Example:
    ```python
    from keras_reprogram.source.remote.custom_vision import CustomVisionSource

    source = CustomVisionSource(
        "https://signs.cognitiveservices.azure.com",
        "6a5b3c1e-2f4d-4e6a-9b8c-7d6e5f4a3b2c",
        "Iteration3",
        (64, 64, 3),
        class_names=["stop", "yield"],
        value_range=(0, 255),
        identity="signs, Iteration3",
    )
    assert source.num_labels == 2       # nothing was asked yet
    ```
    """

    def __init__(
        self,
        endpoint: str,
        project_id: str,
        iteration: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        key_variable: str = "VISION_PREDICTION_KEY",
        store: bool = False,
        **options: Any,
    ) -> None:
        check_images_per_request(options, 1, "Custom Vision")
        super().__init__(
            _url_of(endpoint, project_id, iteration, store),
            source_shape,
            class_names,
            key_variable=key_variable,
            key_header="Prediction-Key",
            key_prefix="",
            client=partial(CustomVisionClient, project_id=project_id, iteration=iteration),
            **options,
        )

    def read(self, answer: bytes) -> list[list[float]]:
        listed = json.loads(answer)["predictions"]
        return [self.row_of((tag["tagName"], tag["probability"]) for tag in listed)]


def _url_of(endpoint: str, project_id: str, iteration: str, store: bool) -> str:
    project, published = quote(project_id, safe=""), quote(iteration, safe="")
    kept = "" if store else "/nostore"
    return (
        f"{endpoint.rstrip('/')}/customvision/v3.1/prediction/{project}/classify/iterations/"
        f"{published}/image{kept}"
    )
