"""ClarifaiSource: a model of Clarifai, over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
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
from keras_reprogram.source.remote.grpc_transport import channel_to, failure_of
from keras_reprogram.source.remote.remote_source import RemoteSource

_ADDRESS, _METHOD = "api.clarifai.com", "/clarifai.api.V2/PostModelOutputs"
_MOST_IMAGES, _MOST_CONCEPTS = 128, 200


@dataclass(frozen=True)
class ClarifaiClient(ServiceClient):
    """Asks Clarifai for the concepts of images; the answer is Clarifai's JSON."""

    model_id: str
    user_id: str
    app_id: str
    model_version_id: str | None
    concepts_by: str
    use_predict_cache: bool
    class_names: tuple[str, ...]

    @property
    def request_options(self) -> str:
        model = f"{self.user_id} {self.app_id} {self.model_id} {self.model_version_id}"
        return f"{model} {self.concepts_by} {self.use_predict_cache}"

    def send(self, payloads: list[bytes], endpoint: str) -> dict[str, Any]:
        with needs_extra("grpcio", "clarifai"):
            import grpc
        from google.protobuf.json_format import MessageToDict

        sent = ("authorization", f"Key {key_from(self.key_variable or '', 'Clarifai')}")
        try:
            answer = self.method(endpoint)(
                self.message(payloads), timeout=self.timeout, metadata=(sent,)
            )
        except grpc.RpcError as error:
            # The gRPC error repeats the service's message, which may contain the key.
            place = f"Clarifai at {endpoint}"
            raise failure_of(error, place, self.key_variable, endpoint) from None
        for output in answer.outputs:
            output.ClearField("input")  # the image again
        said: dict[str, Any] = MessageToDict(
            answer, preserving_proto_field_name=True, use_integers_for_enums=True
        )
        self._check_statuses(said)
        return said

    def message(self, payloads: list[bytes]) -> Any:
        """The `PostModelOutputsRequest` of some images."""
        service, resources = _messages()
        config = resources.OutputConfig(
            max_concepts=min(len(self.class_names), _MOST_CONCEPTS),
            min_value=0.0,
            select_concepts=[
                resources.Concept(**{self.concepts_by: label}) for label in self.class_names
            ],
        )
        images = [resources.Data(image=resources.Image(base64=image)) for image in payloads]
        return service.PostModelOutputsRequest(
            user_app_id=resources.UserAppIDSet(user_id=self.user_id, app_id=self.app_id),
            model_id=self.model_id,
            version_id=self.model_version_id or "",
            inputs=[resources.Input(data=data) for data in images],
            model=resources.Model(output_info=resources.OutputInfo(output_config=config)),
            use_predict_cache=self.use_predict_cache,
        )

    def method(self, endpoint: str) -> Any:
        """`PostModelOutputs` on the connection that this process keeps.

        Clarifai's own channel repeats what failed up to five times, billed and unseen by the
        ledger, and its own stub works with that channel only.
        """
        service, _ = _messages()

        def made(closing: ExitStack) -> Any:
            channel = closing.enter_context(channel_to(endpoint, "clarifai"))
            return channel.unary_unary(
                _METHOD,
                request_serializer=service.PostModelOutputsRequest.SerializeToString,
                response_deserializer=service.MultiOutputResponse.FromString,
            )

        return self.kept(endpoint, made)

    def _check_statuses(self, said: dict[str, Any]) -> None:
        """Raises an error that all outputs share; `read` reports single failures."""
        failure = failure_of_status(said.get("status", {}), "Clarifai", self.key_variable)
        outputs = said.get("outputs", [])
        if failure is not None and not outputs:
            raise failure
        if failure is not None:
            check_images([
                failure_of_status(output.get("status", {}), "Clarifai", self.key_variable)
                for output in outputs
            ])  # fmt: skip


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ClarifaiSource(RemoteSource):
    """A classifier in Clarifai's cloud, or behind its API elsewhere.

    Every image is billed as one operation, however many a request carries. Clarifai takes 15
    requests a second unless agreed otherwise: see `queries_per_second`.

    Args:
        model_id: such as `"nsfw-recognition"`.
        source_shape: `(H, W, C)`.
        class_names: names of the model's concepts, all or some; only these are asked for. Of more
            than 200, Clarifai lists the best 200: choose `missing`.
        user_id: whose model it is.
        app_id: of the model.
        model_version_id: a fixed version. With `None` Clarifai may exchange the model under way.
        key_variable: the environment variable that holds a personal access token.
        address: `host` or `host:port`, reached with TLS; on this machine without, for dry runs.
        concepts_by: `"name"` or `"id"`: what `class_names` are.
        use_predict_cache: let Clarifai answer again what it answered before.
        timeout: seconds that a request may take.
        options: as of `RemoteSource`: `value_range`, `ledger`, `images_per_request` (at most
            128), `concurrency`, `queries_per_second`, `missing`, ... `identity` is made of the
            model's names unless given. Concepts need not sum to 1: they are
            `"independent"` unless `score_kind` says otherwise.

    Raises:
        ImportError: if clarifai-grpc is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.clarifai import ClarifaiSource

    source = ClarifaiSource(
        "nsfw-recognition", (224, 224, 3), ["sfw", "nsfw"], value_range=(0, 255)
    )
    assert source.num_labels == 2      # nothing was asked yet
    ```
    """

    client: ClarifaiClient

    def __init__(
        self,
        model_id: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        user_id: str = "clarifai",
        app_id: str = "main",
        model_version_id: str | None = None,
        key_variable: str = "CLARIFAI_PAT",
        address: str | None = None,
        concepts_by: str = "name",
        use_predict_cache: bool = False,
        timeout: float = 30.0,
        **options: Any,
    ) -> None:
        _messages()
        check_images_per_request(options, _MOST_IMAGES, "Clarifai")
        if concepts_by not in ("name", "id"):
            raise ValueError(f"`concepts_by` must be 'name' or 'id'. Received: {concepts_by!r}.")
        where = f"{user_id}/{app_id}/{model_id}/{model_version_id or 'newest'}"
        options = {"identity": f"Clarifai {where}", "score_kind": "independent"} | options
        options["client"] = ClarifaiClient(
            model_id, user_id, app_id, model_version_id, concepts_by, use_predict_cache,
            tuple(class_names), key_variable=key_variable, timeout=timeout,
        )  # fmt: skip
        super().__init__(source_shape, class_names, endpoints=[address or _ADDRESS], **options)

    def read(self, answer: dict[str, Any]) -> list[list[float]]:
        rows = [self._row(output) for output in answer["outputs"]]
        if failure_of_status(answer["status"], "Clarifai"):
            raise ValueError(
                "Clarifai must know all labels. Received: a mixed success. Check that they are "
                "concepts of the model, spelled as there."
            )
        return rows

    def _row(self, output: dict[str, Any]) -> list[float]:
        if failure := failure_of_status(output.get("status", {}), "An image"):
            raise ValueError(str(failure))
        concepts = output.get("data", {}).get("concepts", [])
        pairs = [
            (concept[self.client.concepts_by], concept.get("value", 0.0)) for concept in concepts
        ]
        names = [name for name, _ in pairs]
        if not set(names) & set(self.class_names or ()):
            raise ValueError(
                f"Expected concepts out of {list(self.class_names or ())[:8]}. Received: "
                f"{names[:8]}. Declare the concepts of the model that answers."
            )
        return self.row_of(pairs)


def _messages() -> tuple[Any, Any]:
    with needs_extra("clarifai-grpc", "clarifai"):
        from clarifai_grpc.grpc.api import resources_pb2, service_pb2
    return service_pb2, resources_pb2


# Clarifai's own advice; it sends no Retry-After.
_THROTTLED_WAIT = 15.0
# Names and beginnings of names of Clarifai's `StatusCode`; those in no list may pass.
BUSY_STATUSES = (
    "CONN_THROTTLED",
    "MODEL_BUSY_PLEASE_RETRY",
    "MODEL_DEPLOYING",
    "MODEL_LOADING",
    "MODEL_QUEUED_FOR_DEPLOYMENT",
    "REQUEST_DISABLED_FOR_MAINTENANCE",
    "RPC_REQUEST_QUEUE_FULL",
)
REFUSED_STATUSES = {
    "CONN_EXCEED": "The account's limit is used up: raise it there, or continue when it is "
    "renewed.",
    "CONN_DOES_NOT_EXIST": "Check `model_id`, `model_version_id`, `user_id` and `app_id`.",
    "MODEL_DOES_NOT_EXIST": "Check `model_id`, `model_version_id`, `user_id` and `app_id`.",
    "MODEL_INVALID": "Check that all labels are concepts of the model, spelled as there.",
    "CONCEPTS_INVALID": "Check that all labels are concepts of the model, spelled as there.",
    "PREDICT_INVALID": "Check that the model takes images and answers with concepts.",
    "MODEL_UNTRAINED": "Train the model first.",
    "MODEL_NOT_DEPLOYED": "Deploy the model first.",
    "MODEL_PERMISSION": "Check the key in the environment and what it may do.",
    "CONN_": "Check the key in the environment, what it may do, and the account.",
    "INPUT_": "Check the images: if they are too large, send fewer per request, or JPEG.",
    "MP_": "Check the images: if they are too large, send fewer per request, or JPEG.",
    "RPC_MAX_MESSAGE": "The images are too large: send fewer per request, or JPEG.",
}
_UNKNOWN_FATE = ("CONN_UNCATEGORIZED", "INPUT_UNCATEGORIZED", "INPUT_CONNECTION_FAILED")


def failure_of_status(
    status: dict[str, Any], service: str, key_variable: str | None = None
) -> Exception | None:
    """Our error for a status in an answer, as JSON, or `None` for success."""
    from clarifai_grpc.grpc.api.status.status_code_pb2 import StatusCode

    code = status.get("code", 0)
    name = StatusCode.Name(code) if code in StatusCode.values() else "unknown"
    if name == "SUCCESS":
        return None
    words = f"{status.get('description', '')} {status.get('details', '')}".strip()
    said = f"{code} {name}: {hide_key(words, key_variable, 200)}"
    if name in BUSY_STATUSES:
        wait = _THROTTLED_WAIT if name == "CONN_THROTTLED" else None
        return SourceBusyError(f"{service} is busy ({said})", wait)
    hints = [hint for start, hint in REFUSED_STATUSES.items() if name.startswith(start)]
    if not hints or name in _UNKNOWN_FATE:
        return SourceUnavailableError(f"{service} failed ({said})")
    return SourceRefusedError(f"{service} refused. Received: {said}. {hints[0]}")
