"""Clients of Google Cloud Vision, with a key of the environment or Google's credentials."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.remote.extras import needs_extra
from keras_reprogram.source.remote.failures import SourceRefusedError
from keras_reprogram.source.remote.google_failures import CREDENTIALS_HINT
from keras_reprogram.source.remote.grpc_channels import channel_to, is_local
from keras_reprogram.source.remote.keys import key_from


def vision_package() -> Any:
    """Google's package, or an ImportError that says what to install."""
    with needs_extra("google-cloud-vision", "google"):
        import google.cloud.vision as vision
    return vision


def client_of(endpoint: str, key_variable: str | None) -> Any:
    """An `ImageAnnotatorClient`.

    Args:
        endpoint: `host` or `host:port`.
        key_variable: the environment variable that holds the key, or `None` for credentials.

    Raises:
        SourceRefusedError: if there is neither.
    """
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
