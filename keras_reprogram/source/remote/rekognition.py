"""RekognitionSource: Amazon Rekognition's labels, moderation labels and custom labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.remote.amazon_sdk import AmazonClient
from keras_reprogram.source.remote.client import check_images_per_request
from keras_reprogram.source.remote.http_source import checked_url
from keras_reprogram.source.remote.remote_source import RemoteSource

# Our word -> the SDK's method, the list in the answer, the limit's name.
_OPERATIONS = {
    "labels": ("detect_labels", "Labels", "MaxLabels"),
    "moderation": ("detect_moderation_labels", "ModerationLabels", ""),
    "custom_labels": ("detect_custom_labels", "CustomLabels", "MaxResults"),
}
_SIDES = (80, 10_000)
_MOST_LABELS = 1000
_HINTS = {
    "AccessDeniedException": "Allow the identity the action rekognition:Detect...",
    "ImageTooLargeException": "An image may have 5 MB: a smaller `source_shape`, or JPEG.",
    "InvalidImageFormatException": "Images must be PNG or JPEG.",
    "InvalidParameterException": "Check `min_confidence`, `max_labels` and the model's ARN.",
    "ResourceNotFoundException": "Check `project_version_arn`, and that `region` is its region.",
    "ResourceNotReadyException": "Start the model: aws rekognition start-project-version.",
}


@dataclass(frozen=True)
class RekognitionClient(AmazonClient):
    """Sends one image through the SDK; returns the answer's bytes unparsed."""

    operation: str
    project_version_arn: str | None
    min_confidence: float
    max_labels: int

    service, title, hints = "rekognition", "Rekognition", AmazonClient.hints | _HINTS

    @property
    def settings(self) -> dict[str, Any]:
        """The request's settings, in Amazon's terms."""
        _, _, limit = _OPERATIONS[self.operation]
        settings: dict[str, Any] = {"MinConfidence": self.min_confidence}
        if limit:
            settings[limit] = self.max_labels
        if self.project_version_arn:
            custom = self.operation == "custom_labels"
            settings["ProjectVersionArn" if custom else "ProjectVersion"] = self.project_version_arn
        return settings

    @property
    def request_options(self) -> str:
        return json.dumps([self.operation, self.settings], sort_keys=True)

    def call(self, amazons: Any, payloads: list[bytes]) -> Any:
        (image,) = payloads
        method = getattr(amazons, _OPERATIONS[self.operation][0])
        return method(Image={"Bytes": image}, **self.settings)["Body"]

    def made(self, endpoint: str) -> Any:
        client = super().made(endpoint)
        client.meta.events.register("after-call.rekognition.*", _keep_body)
        return client


@keras.saving.register_keras_serializable(package="keras_reprogram")
class RekognitionSource(RemoteSource):
    """Amazon Rekognition, asked through boto3 with one image a request.

    Credentials are found by the SDK's own chain (environment, profile, role) and kept by it. The
    SDK's retries are off: ours are counted by the ledger. Confidences of 0 to 100 become scores
    of 0 to 1; a label that is not listed gets `missing`.

    Args:
        source_shape: `(H, W, C)`, 80 to 10,000 pixels a side.
        class_names: names of the scores, as Rekognition writes them; for moderation, of any level.
        operation: `"labels"`, `"moderation"` or `"custom_labels"`.
        project_version_arn: the model of custom labels, or an adapter of moderation.
        region: such as `"eu-west-1"`; `None` for the SDK's default.
        endpoint_url: another address, such as a `FakeRekognition`'s, for dry runs.
        min_confidence: smallest confidence that is listed, in percent as Amazon counts it.
        max_labels: most labels that are listed; `None` for 1000, or all custom labels.
        timeout: seconds that connecting, and waiting for the answer, may take.
        concurrency: requests at a time.
        options: as of `RemoteSource`. The scores are `"independent"` unless given, for the lists
            are partial. `ignore_undeclared` is true unless given, but for custom labels.

    Raises:
        ImportError: if boto3 is not installed.
        ValueError: for images that Rekognition does not take, or arguments that do not fit.

    Example:
    ```python
    from keras_reprogram.source.remote.rekognition import RekognitionSource

    source = RekognitionSource(
        (96, 96, 3),
        class_names=["Road Sign", "Tree", "Person"],
        region="eu-west-1",
        value_range=(0, 255),
        identity="Rekognition labels, 3.0",
    )
    assert source.num_labels == 3       # nothing was asked yet
    ```
    """

    client: RekognitionClient

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        operation: str = "labels",
        project_version_arn: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        min_confidence: float = 0.0,
        max_labels: int | None = None,
        timeout: float = 30.0,
        concurrency: int = 8,
        **options: Any,
    ) -> None:
        with needs_extra("boto3", "aws"):
            import boto3  # noqa: F401
        _check_operation(operation, project_version_arn, max_labels)
        _check_sides(source_shape)
        check_images_per_request(options, 1, "Rekognition")
        if not 0 <= min_confidence <= 100:
            raise ValueError(
                f"`min_confidence` must be from 0 to 100 percent. Received: {min_confidence}."
            )
        options.setdefault("ignore_undeclared", operation != "custom_labels")
        options.setdefault("score_kind", "independent")
        most = max_labels or (_MOST_LABELS if operation == "labels" else len(class_names))
        options["client"] = RekognitionClient(
            operation, project_version_arn, float(min_confidence), most,
            region=region, connections=concurrency, timeout=timeout,
        )  # fmt: skip
        places = [checked_url(endpoint_url) if endpoint_url else ""]
        super().__init__(
            source_shape, class_names, concurrency=concurrency, endpoints=places, **options
        )

    def read(self, answer: bytes) -> list[list[float]]:
        listed = json.loads(answer)[_OPERATIONS[self.client.operation][1]]
        return [self.row_of((label["Name"], label["Confidence"] / 100) for label in listed)]


def _keep_body(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    """Keeps the raw answer: the SDK drops what it cannot parse."""
    parsed["Body"] = http_response.content


def _check_operation(operation: str, arn: str | None, max_labels: int | None) -> None:
    if operation not in _OPERATIONS:
        raise ValueError(f"`operation` must be one of {list(_OPERATIONS)}. Received: {operation}.")
    if (operation == "custom_labels" and not arn) or (operation == "labels" and arn):
        raise ValueError(
            "`project_version_arn` belongs to custom labels, which need it, and to moderation. "
            f"Received: operation={operation!r}, project_version_arn={arn!r}."
        )
    if max_labels is not None and (operation == "moderation" or max_labels < 1):
        raise ValueError(
            "`max_labels` must be at least 1, and None for moderation, which has no limit. "
            f"Received: {max_labels}."
        )


def _check_sides(source_shape: tuple[int, int, int]) -> None:
    least, most = _SIDES
    if not all(least <= side <= most for side in source_shape[:2]):
        raise ValueError(
            f"Rekognition takes images of {least} to {most:,} pixels per side. Received: "
            f"source_shape={tuple(source_shape)}. Let the program make images of (96, 96, 3)."
        )
