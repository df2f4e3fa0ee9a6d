"""FakeClarifai: Clarifai's API on a real socket of this machine, with your model behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.testing.grpc_fake import GRPCFake
from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel

_MOST_IMAGES, _MOST_CONCEPTS, _FEWEST_CONCEPTS = 128, 200, 20
# Clarifai's own codes for HTTP statuses.
_STATUSES = {
    400: "PREDICT_INVALID_REQUEST",
    401: "CONN_KEY_INVALID",
    403: "CONN_INSUFFICIENT_SCOPES",
    404: "MODEL_DOES_NOT_EXIST",
    413: "RPC_MAX_MESSAGE_SIZE_EXCEEDED",
    429: "CONN_THROTTLED",
    500: "INTERNAL_UNCATEGORIZED",
    503: "TRY_AGAIN",
    504: "RPC_REQUEST_TIMEOUT",
}


class FakeClarifai(GRPCFake):
    """Answers `PostModelOutputs` as Clarifai does, and bills every image.

    What goes wrong is said in the answer's status, as Clarifai says it, while gRPC says OK.
    Besides HTTP's numbers, a fault may be any number of Clarifai's `StatusCode`; 10010, mixed
    success, bills all images but the last, which fails.

    Args:
        hosted: the model and its bill.
        model_id: that clients must ask for.
        grpc_statuses: say HTTP's numbers as gRPC errors instead, as a proxy on the way does.
        options: as of `GRPCFake`: `faults`, `latency`, `key`, `threads`.

    Raises:
        ImportError: if clarifai-grpc is not installed.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_clarifai import FakeClarifai

    hosted = HostedModel(lambda pixels: np.full((len(pixels), 2), 0.5), (8, 8, 3), ["sfw", "nsfw"])
    with FakeClarifai(hosted, model_id="nsfw-recognition") as fake:
        assert fake.address.startswith("127.0.0.1:") and fake.bill == 0
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        model_id: str = "general-image-recognition",
        grpc_statuses: bool = False,
        **options: Any,
    ) -> None:
        with needs_extra("clarifai-grpc", "clarifai"):
            from clarifai_grpc.grpc.api import service_pb2_grpc
        super().__init__(hosted, "clarifai", **options)
        self.model_id, self.grpc_statuses = model_id, grpc_statuses
        service_pb2_grpc.add_V2Servicer_to_server(_servicer_of(self), self.server)
        self.start()

    def refuse(self, context: Any, fault: Any, respond: Callable[[Fault], Any]) -> Any:
        status: Any = fault[0] if isinstance(fault, tuple) else fault
        if self.grpc_statuses:
            return super().refuse(context, fault, respond)
        if status == _code("MIXED_STATUS"):
            return respond(status)
        return _answer(_STATUSES.get(int(status), int(status)))

    def respond(self, request: Any, sent: dict[str, str], fault: Fault) -> Any:
        """The answer to a `PostModelOutputsRequest` with the metadata of its call."""
        if refusal := self._refusal(request, sent):
            return _answer(refusal)
        mixed = fault == _code("MIXED_STATUS")
        images = [one.data.image.base64 for one in request.inputs]
        config = request.model.output_info.output_config
        try:
            scores, names = self.hosted.score(images[:-1] if mixed else images, fault)
        except BadImageError:
            return _answer("FAILURE", [("MP_IMAGE_DECODE_ERROR", [])] * len(images))
        if fault == "wrong labels":
            config.ClearField("select_concepts")  # a replaced model has other concepts
        outputs = [("SUCCESS", _listed(row, names, config)) for row in scores]
        if mixed:
            return _answer("MIXED_STATUS", [*outputs, ("MODEL_PREDICTION_FAILED", [])])
        if unknown := _selected(config) - set(names) - set(_ids(names)):
            known = len(unknown) < len(_selected(config))
            return _answer("MIXED_STATUS", outputs) if known else _answer("MODEL_INVALID_ARGUMENT")
        return _answer("SUCCESS", outputs)

    def _refusal(self, request: Any, sent: dict[str, str]) -> str | None:
        if self.key is not None and sent.get("authorization") != f"Key {self.key}":
            return "CONN_KEY_INVALID"
        if request.model_id != self.model_id:
            return "MODEL_DOES_NOT_EXIST"
        if not 1 <= len(request.inputs) <= _MOST_IMAGES:
            return "INPUT_OVER_LIMIT"
        return None


def _servicer_of(fake: FakeClarifai) -> Any:
    from clarifai_grpc.grpc.api import service_pb2_grpc

    class Servicer(service_pb2_grpc.V2Servicer):  # type: ignore[misc, unused-ignore]
        def PostModelOutputs(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            sent = dict(context.invocation_metadata())
            return fake.serve(context, lambda fault: fake.respond(request, sent, fault))

    return Servicer()


def _ids(names: list[str]) -> list[str]:
    return [f"ai_{number}" for number in range(len(names))]


def _selected(config: Any) -> set[str]:
    return {concept.id or concept.name for concept in config.select_concepts}


def _listed(row: Any, names: list[str], config: Any) -> list[tuple[str, str, float]]:
    """Concepts as asked for, the best first."""
    wanted = _selected(config)
    concepts = [
        (identifier, name, float(score))
        for identifier, name, score in zip(_ids(names), names, row, strict=True)
        if not wanted or name in wanted or identifier in wanted
    ]
    most = min(config.max_concepts or _FEWEST_CONCEPTS, _MOST_CONCEPTS)
    best = sorted(concepts, key=lambda concept: -concept[2])[:most]
    return [concept for concept in best if not concept[2] < config.min_value]


def _answer(status: str | int, outputs: Any = ()) -> Any:
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2

    answer = service_pb2.MultiOutputResponse(status=_status(status))
    for state, concepts in outputs:
        output = resources_pb2.Output(status=_status(state))
        for identifier, name, value in concepts:
            output.data.concepts.add(id=identifier, name=name, value=value, app_id="main")
        answer.outputs.append(output)
    return answer


def _status(status: str | int) -> Any:
    from clarifai_grpc.grpc.api.status import status_pb2

    code = _code(status) if isinstance(status, str) else status
    return status_pb2.Status(code=code, description="Ok" if status == "SUCCESS" else "to order")


def _code(name: str) -> int:
    from clarifai_grpc.grpc.api.status.status_code_pb2 import StatusCode

    return int(StatusCode.Value(name))
