"""VertexAISource: a model behind an endpoint of Google's Vertex AI, AutoML's among them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import SourceBusyError, SourceRefusedError
from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource, json_body

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOGIN = "Log in: gcloud auth application-default login; or set GOOGLE_APPLICATION_CREDENTIALS."
_HINTS = {
    400: "Check that the endpoint's model takes such images, that a request has at most 1.5 MB (10 "
    "at a dedicated endpoint), and `build_request`.",
    401: f"The credentials are not accepted. {_LOGIN}",
    403: "Allow the identity aiplatform.endpoints.predict (the role Vertex AI User).",
    404: "Check `project`, `location` and `endpoint_id`, and that a model is deployed there.",
}


@dataclass(frozen=True)
class VertexAIClient(HTTPClient):
    """Posts images to an endpoint, with a token of Google's credentials."""

    media_type: str
    max_predictions: int
    automl: bool

    hints = HTTPClient.hints | _HINTS

    @property
    def request_options(self) -> str:
        return str(self.max_predictions) if self.automl else "own request"

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        if not self.automl:
            return super().body(payloads)
        instances = [
            {"content": base64.b64encode(image).decode(), "mimeType": self.media_type}
            for image in payloads
        ]
        # The service lists ten labels unless told otherwise.
        wanted = {"confidenceThreshold": 0.0, "maxPredictions": self.max_predictions}
        return json_body({"instances": instances, "parameters": wanted})

    def authorization(self, place: str) -> dict[str, str]:
        if self.key_variable is not None:
            return super().authorization(place)
        token = self.kept("credentials", _Token).now(place)
        return {self.key_header: f"{self.key_prefix}{token}"}


@keras.saving.register_keras_serializable(package="keras_reprogram")
class VertexAISource(HTTPSource):
    """A model behind an endpoint of Vertex AI (renamed Gemini Enterprise Agent Platform in 2026).

    Image classification of AutoML answers with `displayNames` and `confidences` in an order of its
    own; containers of an exported AutoML model with `labels` and `scores`, those of TensorFlow with
    rows of scores. All three are understood; `read_answer` reads others. A deployed model is billed
    by the hour, asked or not. AutoML Vision, the service before Vertex AI, ended on 2024-03-31.

    Args:
        project: id or number of the project.
        location: such as `"europe-west4"`.
        endpoint_id: of the endpoint.
        source_shape: `(H, W, C)`.
        class_names: names of the labels. AutoML's `confidences` of one label an image are
            probabilities; for several labels an image pass `score_kind="independent"`.
        build_request: encoded images -> the request's JSON, for models that are not AutoML's: see
            `exported_automl_request`.
        read_answer: the answer's JSON -> one row of scores an image; `None` for those above.
        raw: post to `:rawPredict`, which hands request and answer through as they are, instead
            of `:predict`.
        key_variable: the environment variable that holds an access token (`gcloud auth
            print-access-token`), which lasts an hour. With `None` Google's own chain of
            credentials makes tokens and renews them.
        address: of the API, such as a `FakeVertexAI`'s or a dedicated endpoint's; `None` for that
            of the location.
        options: as of `HTTPSource` (`timeout`, `certificates`) and `RemoteSource`. `identity` is
            made of the endpoint's name unless given: put the model's version into it, for the
            endpoint may get another.

    Raises:
        ImportError: if urllib3, or without `key_variable` google-auth, is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.vertex_ai import VertexAISource

    source = VertexAISource(
        "my-project", "europe-west4", "1234567890", (224, 224, 3), ["stop", "yield"],
        key_variable="VERTEX_TOKEN", value_range=(0, 255),
    )
    assert source.num_labels == 2       # nothing was asked yet
    ```
    """

    def __init__(
        self,
        project: str,
        location: str,
        endpoint_id: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        build_request: Callable[[list[bytes]], Any] | None = None,
        read_answer: Callable[[Any], Any] | None = None,
        raw: bool = False,
        key_variable: str | None = None,
        address: str | None = None,
        **options: Any,
    ) -> None:
        if key_variable is None:
            with needs_extra("google-auth", "google"):
                import google.auth  # noqa: F401
        place = f"projects/{project}/locations/{location}/endpoints/{endpoint_id}"
        names = (project, location, endpoint_id)
        if not all(names) or any("/" in name for name in names):
            raise ValueError(
                "`project`, `location` and `endpoint_id` must be the names alone. Received: "
                f"{project!r}, {location!r}, {endpoint_id!r}."
            )
        if raw and build_request is None:
            raise ValueError(
                "`raw` needs a `build_request`: AutoML answers to :predict. Received: raw=True "
                "without it."
            )
        base = address or f"https://{location}-aiplatform.googleapis.com"
        chosen = {"identity": f"Vertex AI {place}"} | options
        super().__init__(
            f"{base.rstrip('/')}/v1/{place}:{'rawPredict' if raw else 'predict'}",
            source_shape,
            class_names,
            build_request=build_request,
            key_variable=key_variable,
            client=partial(
                VertexAIClient,
                media_type=f"image/{chosen.get('encoding', 'png')}",
                max_predictions=len(class_names),
                automl=build_request is None,
            ),
            **chosen,
        )
        self.read_answer = read_answer or self._rows

    def _rows(self, content: Any) -> list[Any]:
        return [self._row(one) for one in content["predictions"]]

    def _row(self, one: Any) -> Any:
        """A row of numbers, or of labels and scores under AutoML's names or an exported model's."""
        if not isinstance(one, dict):
            return one
        names, scores = ("displayNames", "confidences") if "confidences" in one else (
            "labels", "scores"
        )  # fmt: skip
        return self.row_of(zip(one[names], one[scores], strict=True))


def exported_automl_request(payloads: list[bytes]) -> dict[str, Any]:
    """The request of an exported AutoML model in TensorFlow Serving's container.

    For `build_request` of a `VertexAISource` or an `HTTPSource`.

    Args:
        payloads: encoded images; one goes into each instance, with its number as `key`.

    Example:
    ```python
    from keras_reprogram.source.remote.vertex_ai import exported_automl_request

    (instance,) = exported_automl_request([b"a file"])["instances"]
    assert instance == {"image_bytes": {"b64": "YSBmaWxl"}, "key": "0"}
    ```
    """
    return {
        "instances": [
            {"image_bytes": {"b64": base64.b64encode(image).decode()}, "key": str(number)}
            for number, image in enumerate(payloads)
        ]
    }


class _Token:
    """An access token of Google's chain of credentials, renewed before it runs out."""

    def __init__(self, closing: ExitStack) -> None:
        self._lock, self._closing = threading.Lock(), closing
        self._credentials: Any = None
        self._request: Any = None

    def now(self, place: str) -> str:
        """A token that is valid for some minutes at least."""
        from google.auth import exceptions

        with self._lock:
            try:
                if self._credentials is None:
                    self._find()
                if not self._credentials.valid:
                    self._credentials.refresh(self._request)
            except exceptions.GoogleAuthError as error:
                said = f"{type(error).__name__}: {str(error.args[0] if error.args else '')[:200]}"
                passing = isinstance(error, exceptions.TransportError)
                if passing or getattr(error, "retryable", False):
                    raise SourceBusyError(f"{place} got no token ({said})") from None
                raise SourceRefusedError(
                    f"{place} needs credentials of Google's. Received: {said}. {_LOGIN}"
                ) from None
            return str(self._credentials.token)

    def _find(self) -> None:
        import google.auth
        import urllib3
        from google.auth.transport.urllib3 import Request

        credentials, _ = google.auth.default(scopes=[_SCOPE])
        pool = urllib3.PoolManager(retries=False)
        self._closing.callback(pool.clear)
        self._credentials, self._request = credentials, Request(pool)
