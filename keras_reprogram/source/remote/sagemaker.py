"""SageMakerSource: a model behind an endpoint of Amazon SageMaker AI."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import SourceRefusedError, SourceUnavailableError
from keras_reprogram.source.remote.amazon_sdk import AmazonClient
from keras_reprogram.source.remote.client import check_images_per_request
from keras_reprogram.source.remote.http_source import checked_url, json_body
from keras_reprogram.source.remote.remote_source import RemoteSource

_HINTS = {
    "AccessDeniedException": "Allow the identity the action sagemaker:InvokeEndpoint.",
    "ValidationError": "Check `endpoint_name`, that `region` is its region, and the images' size: "
    "a request may have 6 MB, a serverless endpoint's 4 MB.",
}


@dataclass(frozen=True)
class SageMakerClient(AmazonClient):
    """Calls `InvokeEndpoint`; returns the container's answer unparsed."""

    endpoint_name: str
    content_type: str
    accept: str
    target: tuple[tuple[str, str], ...]
    build_request: Callable[[list[bytes]], Any] | None

    service, title, hints = "sagemaker-runtime", "SageMaker", AmazonClient.hints | _HINTS
    throttled = (*AmazonClient.throttled, "ModelNotReadyException")

    @property
    def request_options(self) -> str:
        return json.dumps([self.endpoint_name, self.content_type, self.accept, self.target])

    def call(self, amazons: Any, payloads: list[bytes]) -> Any:
        answer = amazons.invoke_endpoint(
            EndpointName=self.endpoint_name,
            ContentType=self.content_type,
            Accept=self.accept,
            Body=self.body(payloads),
            **dict(self.target),
        )
        content: bytes = answer["Body"].read()
        return content

    def body(self, payloads: list[bytes]) -> bytes:
        """The image itself, or the JSON that `build_request` makes of some."""
        if self.build_request is None:
            (image,) = payloads
            return image
        try:
            return json_body(self.build_request(payloads))[0]
        except Exception as error:
            # Nothing has left, so that nothing is billed.
            raise SourceRefusedError(
                f"`build_request` must turn encoded images into JSON. Received: "
                f"{type(error).__name__}: {error}. Correct it; nothing was sent."
            ) from error

    def refusal_of(self, answer: dict[str, Any], place: str) -> Exception:
        if answer["Error"]["Code"] != "ModelError":
            return super().refusal_of(answer, place)
        # The endpoint answered, and its container did not: always a 424.
        status = answer.get("OriginalStatusCode", 500)
        said = f"ModelError {status}: {str(answer.get('OriginalMessage', ''))[:200]!r}"
        if status >= 500 or status in (408, 429):
            return SourceUnavailableError(f"{place} failed ({said})")
        return SourceRefusedError(
            f"{place} refused. Received: {said}. Check `content_type` and `build_request`: the "
            "container does not understand the request; its log says more."
        )


@keras.saving.register_keras_serializable(package="keras_reprogram")
class SageMakerSource(RemoteSource):
    """A model behind a real-time or serverless endpoint of Amazon SageMaker AI.

    The container behind an endpoint decides what it takes and answers. Images are sent as they are
    encoded unless `build_request` makes JSON of them. Understood are the answers of the built-in
    image classification (a list of scores), of PyTorch (rows of scores) and TensorFlow Serving
    (`predictions`), of JumpStart (`probabilities`, with `labels` if `accept` ends in `;verbose`)
    and of Hugging Face's container (labels with scores); `read_answer` reads others.

    Credentials are found by the SDK's own chain. Its retries are off: ours are counted by the
    ledger. A real-time endpoint is billed by the hour while it exists, asked or not; a serverless
    one for the time of each computation.

    Args:
        endpoint_name: of the endpoint.
        source_shape: `(H, W, C)`.
        class_names: names of the scores, in the order of the model.
        content_type: of the request: `None` for `image/png` or `image/jpeg`, as `encoding` is;
            `"application/x-image"` for the built-in image classification.
        accept: the wanted type of the answer.
        build_request: encoded images -> the request's JSON, such as TensorFlow Serving's; the
            content type is `application/json` then. `None` for one image as it is.
        read_answer: the answer's JSON -> one row of scores an image; `None` for those above.
        target_variant: a production variant, `None` for the endpoint's own choice, which mixes
            models where there are several.
        target_model: of a multi-model endpoint.
        inference_component_name: of an endpoint with inference components.
        region: such as `"eu-west-1"`; `None` for the SDK's default.
        endpoint_url: another address, such as a `FakeSageMaker`'s, for dry runs.
        timeout: seconds that connecting, and waiting for the answer, may take.
        concurrency: requests at a time.
        options: as of `RemoteSource`. `identity` is made of the endpoint's names unless given.

    Raises:
        ImportError: if boto3 is not installed.
        ValueError: for arguments that do not fit.

    Example:
    ```python
    from keras_reprogram.source.remote.sagemaker import SageMakerSource

    source = SageMakerSource(
        "signs-endpoint", (224, 224, 3), ["stop", "yield"], region="eu-west-1",
        content_type="application/x-image", value_range=(0, 255),
    )
    assert source.num_labels == 2       # nothing was asked yet
    ```
    """

    client: SageMakerClient

    def __init__(
        self,
        endpoint_name: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        content_type: str | None = None,
        accept: str = "application/json",
        build_request: Callable[[list[bytes]], Any] | None = None,
        read_answer: Callable[[Any], Any] | None = None,
        target_variant: str | None = None,
        target_model: str | None = None,
        inference_component_name: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 70.0,
        concurrency: int = 8,
        **options: Any,
    ) -> None:
        with needs_extra("boto3", "aws"):
            import boto3  # noqa: F401
        if build_request is None:
            check_images_per_request(options, 1, "An endpoint that is sent images as they are")
        given = {
            "TargetVariant": target_variant,
            "TargetModel": target_model,
            "InferenceComponentName": inference_component_name,
        }
        target = tuple((name, value) for name, value in given.items() if value is not None)
        image = f"image/{options.get('encoding', 'png')}"
        where = "/".join([endpoint_name, *(value for _, value in target)])
        chosen = {"identity": f"SageMaker {region or 'default region'} {where}"} | options
        chosen["client"] = SageMakerClient(
            endpoint_name, content_type or ("application/json" if build_request else image),
            accept, target, build_request,
            region=region, connections=concurrency, timeout=timeout,
        )  # fmt: skip
        places = [checked_url(endpoint_url) if endpoint_url else ""]
        super().__init__(
            source_shape, class_names, concurrency=concurrency, endpoints=places, **chosen
        )
        self.read_answer = read_answer

    def read(self, answer: bytes) -> Any:
        content = json.loads(answer)
        return self.read_answer(content) if self.read_answer else self._rows(content)

    def _rows(self, content: Any) -> list[Any]:
        """Rows of the answers of Amazon's own containers."""
        if isinstance(content, dict) and "predictions" in content:
            return [self._row(one) for one in content["predictions"]]
        if isinstance(content, list) and content and isinstance(content[0], list):
            return [self._row(one) for one in content]
        return [self._row(content)]

    def _row(self, one: Any) -> Any:
        """A row of numbers, of labels with scores, or of a JSON object that holds them."""
        if isinstance(one, dict):
            scores = one["probabilities"] if "probabilities" in one else one["score"]
            labels = one.get("labels")
            return scores if labels is None else self.row_of(zip(labels, scores, strict=True))
        if one and isinstance(one[0], dict):
            return self.row_of((pair["label"], pair["score"]) for pair in one)
        return one
