"""HuggingFaceSource: image classifiers on Hugging Face, hosted by a provider or an endpoint."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import keras

from keras_reprogram.source.errors import SourceBusyError
from keras_reprogram.source.remote.client import check_images_per_request
from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource, Posted, json_body

_ADDRESS = "https://router.huggingface.co/hf-inference"
_LEAST_TOP_K = 1000
# What the service applies to the model's outputs -> what the scores are.
_KINDS = {"softmax": "probabilities", "sigmoid": "independent", "none": "logits"}
_HINTS = {
    400: "Check that the provider hosts `model` for image classification.",
    402: "The month's credits are spent: buy more, or continue next month.",
    403: 'The token needs the permission "Make calls to Inference Providers".',
    404: "Check `model`, and that the provider hosts it.",
    422: "Check `function_to_apply` and `top_k`.",
}


@dataclass(frozen=True)
class HuggingFaceClient(HTTPClient):
    """Posts one image as base64, with the parameters of the task."""

    top_k: int
    function_to_apply: str | None

    hints = HTTPClient.hints | _HINTS

    @property
    def parameters(self) -> dict[str, Any]:
        """The request's parameters, in Hugging Face's terms."""
        chosen = {"top_k": self.top_k, "function_to_apply": self.function_to_apply}
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def request_options(self) -> str:
        return json.dumps(self.parameters, sort_keys=True)

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        (image,) = payloads
        inputs = base64.b64encode(image).decode()
        return json_body({"inputs": inputs, "parameters": self.parameters})

    def _check_status(self, answer: Posted, place: str) -> None:
        if answer.status == 503 and (wait := _loading_seconds(answer.content)) is not None:
            raise SourceBusyError(
                f"{place} loads the model (503)", answer.retry_after or min(wait, 60.0)
            )
        super()._check_status(answer, place)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class HuggingFaceSource(HTTPSource):
    """An image classifier on Hugging Face: Inference Providers or an Inference Endpoint.

    Of Hugging Face's providers, `hf-inference` hosts image classification. One image goes into a
    request, and a list of labels and scores comes back, the best first. All labels are asked
    for, so that the rows are whole; of fewer (`top_k`) the others get `missing`. Time of
    computation is billed, on the month's credits first.

    Args:
        model: its name on the Hub, such as `"google/vit-base-patch16-224"`, or the URL of an
            Inference Endpoint of your own.
        source_shape: `(H, W, C)`; the service resizes images as the model wants.
        class_names: the model's labels, as in `id2label` of its `config.json`.
        top_k: most labels that are listed; `None` for all labels.
        function_to_apply: `"softmax"`, `"sigmoid"` or `"none"`, or `None` for what the model's
            configuration says: softmax, unless it has several findings or one label.
        key_variable: the environment variable that holds an access token.
        address: of the provider, such as a `FakeHuggingFace`'s, for dry runs.
        options: as of `HTTPSource` (`timeout`, `certificates`) and `RemoteSource`. `identity` is
            made of `model` unless given: pass one with the model's revision, for the Hub serves
            the newest. `score_kind` follows `function_to_apply`, and is `"probabilities"` for
            `None`; lists of fewer labels than declared, and those of which some are ignored
            (`ignore_undeclared`), are `"independent"`.

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.hugging_face import HuggingFaceSource

    source = HuggingFaceSource(
        "Falconsai/nsfw_image_detection", (224, 224, 3), ["normal", "nsfw"], value_range=(0, 255)
    )
    assert source.score_kind == "probabilities"     # nothing was asked yet
    ```
    """

    def __init__(
        self,
        model: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        key_variable: str = "HF_TOKEN",
        address: str = _ADDRESS,
        **options: Any,
    ) -> None:
        check_images_per_request(options, 1, "Hugging Face")
        _check_arguments(model, top_k, function_to_apply)
        most = top_k or max(len(class_names), _LEAST_TOP_K)
        partial_lists = most < len(class_names) or options.get("ignore_undeclared", False)
        kind = _KINDS.get(function_to_apply or "softmax", "probabilities")
        if partial_lists and kind == "probabilities":
            kind = "independent"
        own = model.startswith(("http://", "https://"))
        url = model if own else f"{address.rstrip('/')}/models/{quote(model)}"
        chosen = {"identity": f"Hugging Face {model}", "score_kind": kind} | options
        super().__init__(
            url,
            source_shape,
            class_names,
            key_variable=key_variable,
            client=partial(HuggingFaceClient, top_k=most, function_to_apply=function_to_apply),
            **chosen,
        )

    def read(self, answer: bytes) -> list[list[float]]:
        return [self.row_of((one["label"], one["score"]) for one in json.loads(answer))]


def _check_arguments(model: str, top_k: int | None, function_to_apply: str | None) -> None:
    if not model or model.isspace():
        raise ValueError(
            f"`model` must be a name on the Hub, as owner/name, or a URL. Received: {model!r}."
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"`top_k` must be at least 1. Received: {top_k}.")
    if function_to_apply not in (None, *_KINDS):
        raise ValueError(
            f"`function_to_apply` must be one of {tuple(_KINDS)} or None. Received: "
            f"{function_to_apply!r}."
        )


def _loading_seconds(content: bytes) -> float | None:
    """Seconds until a model is loaded, as the service estimates them; `None` if it does not."""
    try:
        return float(json.loads(content)["estimated_time"])
    except (ValueError, KeyError, TypeError):
        return None
