"""GrpcServer: TF Serving's gRPC services and gRPC's own health service on a port."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import FAULT, ServingError, address, check_port, port_error
from keras_reprogram.serving.json_examples import serialized_examples
from keras_reprogram.serving.model_versions import ModelVersions, VersionPolicy
from keras_reprogram.serving.request_checks import CLASSIFY_METHOD, REGRESS_METHOD
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.server_state import Call, ServerState
from keras_reprogram.serving.status_messages import (
    SIGNATURES_FIELD,
    metadata_message,
    status_message,
)
from keras_reprogram.serving.tensors import array_of_proto, proto_of_array

_log = logging.getLogger("keras_reprogram.serving")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
# Threads for what asks no model: status, metadata, health.
_MORE_THREADS = 4


class GrpcServer:
    """Listens from the beginning, answers from `start` on."""

    def __init__(self, state: ServerState, host: str, port: int) -> None:
        with needs_extra("grpcio", "server"):
            import grpc
        check_port(port, "--grpc-port")
        limits = state.limits
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limits.request_bytes),
            ("grpc.max_send_message_length", -1),
        ]
        # All that the gate admits has a thread to wait in.
        most = limits.in_flight + limits.queued + _MORE_THREADS
        self._threads = ThreadPoolExecutor(most, "grpc")
        self._server = grpc.server(self._threads, options=options, maximum_concurrent_rpcs=most)
        try:
            self.port: int = self._server.add_insecure_port(address(host, port))
        except RuntimeError as error:
            raise port_error(host, port, "--grpc-port", str(error)) from None
        _add_services(self._server, state, GrpcAnswers(state))
        self._health = _add_health(self._server)

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def stop(self, seconds: float) -> Any:
        """Refuses new requests; the returned event is set when all running ones have ended."""
        self._health.enter_graceful_shutdown()
        ended = self._server.stop(grace=seconds)
        self._threads.shutdown(wait=False)
        return ended


def _add_services(server: Any, state: ServerState, answers: GrpcAnswers) -> None:
    import grpc

    with needs_extra("tensorflow-serving-api", "server"):
        from tensorflow_serving.apis import (
            classification_pb2,
            get_model_metadata_pb2,
            get_model_status_pb2,
            inference_pb2,
            model_management_pb2,
            predict_pb2,
            regression_pb2,
        )

    def handler(kind: Any, answer: Callable[..., Any], name: str, asks_model: bool) -> Any:
        begin = state.request if asks_model else state.metrics.call

        def respond(content: bytes, context: Any) -> Any:
            try:
                with begin("grpc", name) as call:
                    return answer(_parsed(kind, content), call)
            except ServingError as error:
                return context.abort(getattr(grpc.StatusCode, error.code), error.text)
            except Exception:
                _log.exception("A request failed.")
                return context.abort(grpc.StatusCode.INTERNAL, FAULT)

        # Bytes come as they are: gRPC itself calls a broken message an internal error.
        return grpc.unary_unary_rpc_method_handler(
            respond, response_serializer=lambda message: message.SerializeToString()
        )

    predictions = {
        "Predict": handler(predict_pb2.PredictRequest, answers.predict, "predict", True),
        "Classify": handler(
            classification_pb2.ClassificationRequest, answers.classify, "classify", True
        ),
        "Regress": handler(regression_pb2.RegressionRequest, answers.regress, "regress", True),
        "MultiInference": handler(
            inference_pb2.MultiInferenceRequest, answers.multi_inference, "multi_inference", True
        ),
        "GetModelMetadata": handler(
            get_model_metadata_pb2.GetModelMetadataRequest, answers.metadata, "metadata", False
        ),
    }
    models = {
        "GetModelStatus": handler(
            get_model_status_pb2.GetModelStatusRequest, answers.status, "status", False
        ),
        "HandleReloadConfigRequest": handler(
            model_management_pb2.ReloadConfigRequest, answers.reload, "reload", False
        ),
    }
    for service, methods in ((PREDICTION_SERVICE, predictions), (MODEL_SERVICE, models)):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))


def _parsed(kind: Any, content: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(content)
    except DecodeError:
        raise ServingError(
            f"The request must be a {kind.DESCRIPTOR.full_name}. Received: other bytes."
        ) from None


def _add_health(server: Any) -> Any:
    with needs_extra("grpcio-health-checking", "server"):
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    servicer = health.HealthServicer()
    for service in ("", PREDICTION_SERVICE):
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


class GrpcAnswers:
    """Answers the methods of PredictionService and ModelService."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def predict(self, request: Any, call: Call) -> Any:
        """A `PredictResponse`."""
        from tensorflow_serving.apis import predict_pb2

        servable, name = self._servable(request.model_spec, call)
        if servable.signature(name) is None:
            raise ServingError(
                f'Serving signature key "{signature_key(name)}" not found.', "FAILED_PRECONDITION"
            )
        inputs = self._arrays(request.inputs)
        wanted = list(request.output_filter)
        outputs = self._state.calls.predict(call, servable, name, inputs, wanted)
        answer = predict_pb2.PredictResponse()
        self._name_model(answer.model_spec, servable, name)
        for alias, array in outputs.items():
            answer.outputs[alias].CopyFrom(proto_of_array(array))
        return answer

    def classify(self, request: Any, call: Call) -> Any:
        """A `ClassificationResponse`."""
        from tensorflow_serving.apis import classification_pb2

        answer = classification_pb2.ClassificationResponse()
        self._fill(answer, answer.result, self._classes, request.model_spec, request.input, call)
        return answer

    def regress(self, request: Any, call: Call) -> Any:
        """A `RegressionResponse`."""
        from tensorflow_serving.apis import regression_pb2

        answer = regression_pb2.RegressionResponse()
        self._fill(answer, answer.result, self._values, request.model_spec, request.input, call)
        return answer

    def multi_inference(self, request: Any, call: Call) -> Any:
        """A `MultiInferenceResponse`: several signatures on the same examples."""
        from tensorflow_serving.apis import inference_pb2

        self._check_tasks(request.tasks)
        answer = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            added = answer.results.add()
            if task.method_name == CLASSIFY_METHOD:
                result, add = added.classification_result, self._classes
            else:
                result, add = added.regression_result, self._values
            self._fill(added, result, add, task.model_spec, request.input, call)
        return answer

    def metadata(self, request: Any, call: Call) -> Any:
        """A `GetModelMetadataResponse`."""
        if not request.HasField("model_spec"):
            raise ServingError("Missing ModelSpec")
        if not request.metadata_field:
            raise ServingError("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURES_FIELD:
                raise ServingError(f"Metadata field {field} is not supported")
        servable, _ = self._servable(request.model_spec, call)
        return metadata_message(servable, self._state.versions.model_name)

    def status(self, request: Any, call: Call) -> Any:
        """A `GetModelStatusResponse`."""
        del call
        if not request.HasField("model_spec"):
            raise ServingError("Missing ModelSpec")
        return status_message(self._state.versions.statuses(*_spec(request.model_spec)))

    def reload(self, request: Any, call: Call) -> Any:
        """A `ReloadConfigResponse`."""
        from tensorflow_serving.apis import model_management_pb2

        del call
        reload_versions(request.config, self._state.versions)
        answer = model_management_pb2.ReloadConfigResponse()
        answer.status.SetInParent()
        return answer

    def _servable(self, spec: Any, call: Call) -> tuple[Servable, str]:
        servable = self._state.versions.find(*_spec(spec))
        if servable.signature(spec.signature_name) is not None:
            call.signature = signature_key(spec.signature_name)
        return servable, spec.signature_name

    def _arrays(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        most = self._state.limits.request_bytes
        return {name: array_of_proto(proto, most) for name, proto in inputs.items()}

    def _fill(
        self, answer: Any, result: Any, add: Callable[..., None], spec: Any, given: Any, call: Call
    ) -> None:
        servable, name = self._servable(spec, call)
        add(result, call, servable, name, given)
        self._name_model(answer.model_spec, servable, name)

    def _classes(self, result: Any, call: Call, servable: Servable, name: str, given: Any) -> None:
        rows = self._state.calls.classify(call, servable, name, serialized_examples(given))
        for row in rows:
            added = result.classifications.add()
            for label, score in row:
                added.classes.add(label=label.decode("utf-8", "replace"), score=score)

    def _values(self, result: Any, call: Call, servable: Servable, name: str, given: Any) -> None:
        for value in self._state.calls.regress(call, servable, name, serialized_examples(given)):
            result.regressions.add(value=value)

    def _check_tasks(self, tasks: Any) -> None:
        if not tasks:
            raise ServingError("Inference request must have at least one task.")
        names = [signature_key(task.model_spec.signature_name) for task in tasks]
        for number, (task, name) in enumerate(zip(tasks, names, strict=True)):
            if not task.model_spec.name:
                raise ServingError("Found ModelSpec with an empty model name.")
            if task.model_spec.name != tasks[0].model_spec.name:
                raise ServingError(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            if name in names[:number]:
                raise ServingError(f"Duplicate evaluation of signature: {name}")
            if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
                raise ServingError(
                    f"Unsupported signature method_name: {task.method_name}", "UNIMPLEMENTED"
                )

    def _name_model(self, spec: Any, servable: Servable, signature_name: str) -> None:
        spec.name = self._state.versions.model_name
        spec.signature_name = signature_key(signature_name)
        spec.version.value = servable.version


def _spec(spec: Any) -> tuple[str, int | None, str | None]:
    """Model, version and label of a `ModelSpec`."""
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def reload_versions(config: Any, versions: ModelVersions) -> None:
    """Takes over versions and labels of a new `ModelServerConfig`."""
    configs = config.model_config_list.config
    if config.WhichOneof("config") != "model_config_list" or len(configs) != 1:
        raise ServingError(
            "This server serves one model: the config must be a model_config_list of one. "
            f"Received: {len(configs)} models."
        )
    (model,) = configs
    if model.name != versions.model_name:
        raise ServingError(
            f"This server serves the model {versions.model_name} only. Received: {model.name}."
        )
    if Path(model.base_path).expanduser().resolve() != versions.folder.path.resolve():
        raise ServingError(
            "This server serves one folder; the base_path must stay what it is. "
            f"Received: {model.base_path}."
        )
    if model.model_platform not in ("", "tensorflow"):
        raise ServingError(
            f"The model_platform must be tensorflow. Received: {model.model_platform}."
        )
    versions.change(_policy(model.model_version_policy), dict(model.version_labels))


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy.of("all")
    try:
        if choice == "specific":
            return VersionPolicy.of(list(policy.specific.versions))
        return VersionPolicy(newest=policy.latest.num_versions or 1)
    except ValueError as error:
        raise ServingError(str(error)) from None
