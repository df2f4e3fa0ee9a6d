"""GoogleVisionSource: label detection and SafeSearch of Google Cloud Vision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.client import (
    ServiceClient,
    check_images,
    check_images_per_request,
    hide_key,
    key_from,
)
from keras_reprogram.source.remote.grpc_transport import HINTS, channel_to, failure_of, is_local
from keras_reprogram.source.remote.remote_source import RemoteSource

SAFE_SEARCH_LABELS = ("adult", "spoof", "medical", "violence", "racy")
LEVELS = ("VERY_UNLIKELY", "UNLIKELY", "POSSIBLE", "LIKELY", "VERY_LIKELY")
_FEATURES = {"labels": "LABEL_DETECTION", "safe_search": "SAFE_SEARCH_DETECTION"}
_ADDRESS, _MOST_IMAGES = "vision.googleapis.com", 16


@dataclass(frozen=True)
class GoogleVisionClient(ServiceClient):
    """Sends images for annotation; the answer is Google's JSON."""

    feature: str
    max_results: int
    ordinal: tuple[float, ...]

    @property
    def request_options(self) -> str:
        detail = self.max_results if self.feature == "labels" else self.ordinal
        return f"{self.feature} {detail}"

    def send(self, payloads: list[bytes], endpoint: str) -> dict[str, Any]:
        vision = vision_package()
        from google.api_core.exceptions import GoogleAPICallError
        from google.protobuf.json_format import MessageToDict

        if self.key_variable is not None:
            key_from(self.key_variable, "Google Vision")
        feature = {"type_": _FEATURES[self.feature], "max_results": self.max_results}
        requests = [{"image": {"content": image}, "features": [feature]} for image in payloads]
        client = self.kept(
            endpoint, lambda closing: closing.enter_context(client_of(endpoint, self.key_variable))
        )
        try:
            # Without Google's own retries: each would be billed, unseen by the ledger.
            answer = client.batch_annotate_images(
                requests=requests, retry=None, timeout=self.timeout
            )
        except GoogleAPICallError as error:
            # Google's error repeats the service's message, which may contain the key.
            raise failure_of_call(error, endpoint, self.key_variable) from None
        said: dict[str, Any] = MessageToDict(vision.BatchAnnotateImagesResponse.pb(answer))
        check_responses(said.get("responses", []))
        return said


@keras.saving.register_keras_serializable(package="keras_reprogram")
class GoogleVisionSource(RemoteSource):
    """Google Cloud Vision: names with scores, or five levels of doubtful content.

    Every image is billed, however many a request carries. The key is read from the environment
    when a request leaves; without one, Google's own chain of credentials signs requests.

    Args:
        source_shape: `(H, W, C)`.
        class_names: of the thousands of names that label detection knows, those that count; other
            names in an answer are ignored. For SafeSearch some or all of adult, spoof, medical,
            violence, racy.
        feature: `"labels"` or `"safe_search"`.
        max_results: most names that label detection lists for an image; choose `missing` for
            labels it does not list.
        ordinal: scores of SafeSearch's five levels, from very unlikely to very likely. An unknown
            level counts as missing.
        key_variable: the environment variable that holds an API key, or `None` for Google's
            credentials.
        address: `host` or `host:port` such as `"eu-vision.googleapis.com"`, reached with TLS; on
            this machine without, for dry runs.
        timeout: seconds that a request may take.
        options: as of `RemoteSource`: `value_range`, `ledger`, `images_per_request` (at most 16),
            `concurrency`, `queries_per_second`, `missing`, ... `identity` is the feature unless
            given. Scores need not sum to 1: they are `"independent"`, and with an `ordinal`
            beyond [0, 1] read as they are (`"independent_logits"`).

    Raises:
        ImportError: if google-cloud-vision is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.google_vision import GoogleVisionSource

    source = GoogleVisionSource(
        (224, 224, 3), ["adult", "racy"], feature="safe_search", value_range=(0, 255)
    )
    assert source.num_labels == 2      # nothing was asked yet
    ```
    """

    client: GoogleVisionClient

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        feature: str = "labels",
        max_results: int = 50,
        ordinal: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        key_variable: str | None = None,
        address: str | None = None,
        timeout: float = 30.0,
        **options: Any,
    ) -> None:
        vision_package()
        check_images_per_request(options, _MOST_IMAGES, "Google Vision")
        _check_arguments(feature, class_names, max_results, ordinal)
        within_unit = all(0 <= level <= 1 for level in ordinal)
        chosen: dict[str, Any] = {
            "identity": f"Google Cloud Vision, {feature}",
            # Levels of the caller's own are numbers as they are, no probabilities.
            "score_kind": "independent" if within_unit else "independent_logits",
            "ignore_undeclared": feature == "labels",
        }
        chosen["client"] = GoogleVisionClient(
            feature, max_results, tuple(ordinal), key_variable=key_variable, timeout=timeout
        )
        super().__init__(
            source_shape, class_names, endpoints=[address or _ADDRESS], **chosen | options
        )

    def read(self, answer: dict[str, Any]) -> list[list[float]]:
        return [self._row(response) for response in answer["responses"]]

    def _row(self, response: dict[str, Any]) -> list[float]:
        if "error" in response:
            raise ValueError(f"An image failed: {response['error']}.")
        if self.client.feature == "labels":
            found = response.get("labelAnnotations", [])
            return self.row_of((one["description"], one.get("score", 0.0)) for one in found)
        levels = {
            label: response["safeSearchAnnotation"].get(label, "UNKNOWN")
            for label in self.class_names or ()
        }
        return self.row_of(
            (label, self.client.ordinal[LEVELS.index(level)])
            for label, level in levels.items()
            if level != "UNKNOWN"
        )


def _check_arguments(
    feature: str, class_names: Sequence[str], max_results: int, ordinal: Sequence[float]
) -> None:
    if feature not in _FEATURES:
        raise ValueError(f"`feature` must be one of {tuple(_FEATURES)}. Received: {feature!r}.")
    if feature == "safe_search" and (others := set(class_names) - set(SAFE_SEARCH_LABELS)):
        raise ValueError(
            f"SafeSearch knows the labels {', '.join(SAFE_SEARCH_LABELS)}. Received: "
            f"{', '.join(sorted(others))}. Pass some or all of them."
        )
    if max_results < 1:
        raise ValueError(f"`max_results` must be at least 1. Received: {max_results}.")
    if len(ordinal) != len(LEVELS) or list(ordinal) != sorted(ordinal):
        raise ValueError(
            f"`ordinal` must be {len(LEVELS)} increasing scores, for {', '.join(LEVELS)}. "
            f"Received: {tuple(ordinal)}."
        )


def vision_package() -> Any:
    """Google's package, or an ImportError that says what to install."""
    with needs_extra("google-cloud-vision", "google"):
        import google.cloud.vision as vision
    return vision


def client_of(endpoint: str, key_variable: str | None) -> Any:
    """An `ImageAnnotatorClient` of `host` or `host:port`; without a key, Google's credentials."""
    vision = vision_package()
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.vision_v1.services.image_annotator.transports import (
        ImageAnnotatorGrpcTransport,
    )

    if key_variable is None and not is_local(endpoint):
        try:
            return vision.ImageAnnotatorClient(client_options={"api_endpoint": endpoint})
        except DefaultCredentialsError as error:
            raise SourceRefusedError(
                f"Google Vision needs credentials. Received: none ({error}). {CREDENTIALS_HINT}"
            ) from error
    channel = channel_to(endpoint, "google")
    if key_variable is not None:
        channel = _with_key(channel, key_variable)
    return vision.ImageAnnotatorClient(
        transport=ImageAnnotatorGrpcTransport(channel=channel, host=endpoint)
    )


def _with_key(channel: Any, key_variable: str) -> Any:
    """The channel, which adds the key below Google's client: that logs what it sends."""
    import grpc

    class AddsKey(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
        def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
            key = ("x-goog-api-key", key_from(key_variable, "Google Vision"))
            return proceed(details._replace(metadata=[*(details.metadata or ()), key]), request)

    return grpc.intercept_channel(channel, AddsKey())


CREDENTIALS_HINT = (
    "Sign in with `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or "
    "pass `key_variable`."
)


def failure_of_call(error: Any, endpoint: str, key_variable: str | None) -> Exception:
    """Our error for a `GoogleAPICallError`."""
    who, said = f"Google Vision at {endpoint}", hide_key(str(error.message), key_variable)
    if "metadata from plugin" in said:
        # No token, so nothing was sent.
        return SourceBusyError(f"{who} got no credentials: {said[:200]}. {CREDENTIALS_HINT}")
    if "api key" in said.lower():
        hint = f"Check the key in the environment: {key_variable}."
        return SourceRefusedError(f"{who} refused. Received: {said[:200]} {hint}")
    return failure_of(error.response, who, key_variable, endpoint)


def check_responses(responses: list[dict[str, Any]]) -> None:
    """Raises an error that all images share; `read` reports single failures."""
    errors = [response.get("error") for response in responses]
    check_images([None if error is None else _failure_of_image(error) for error in errors])


def _failure_of_image(error: dict[str, Any]) -> Exception:
    """Our error for the status of one image, a `google.rpc.Status` as JSON."""
    from google.rpc.code_pb2 import Code

    number = error.get("code", 0)
    code = Code.Name(number) if number in Code.values() else "UNKNOWN"
    said = f"{code}: {str(error.get('message', ''))[:200]}"
    if code == "RESOURCE_EXHAUSTED":
        return SourceBusyError(f"Google Vision is asked too fast ({said})")
    if code in HINTS:
        return SourceRefusedError(
            f"Google Vision refused an image. Received: {said} {HINTS[code]} An image may have "
            "20 MB, a request 41 MB."
        )
    return SourceUnavailableError(f"Google Vision failed ({said})")
