"""GrpcServer: TF Serving's gRPC services and gRPC's own health service on a port."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from keras_reprogram.serving.grpc_answers import GrpcAnswers
from keras_reprogram.serving.listening_sockets import address, check_port, port_error
from keras_reprogram.serving.server_packages import needs_server_package
from keras_reprogram.serving.server_state import ServerState
from keras_reprogram.serving.serving_error import FAULT, ServingError

_log = logging.getLogger("keras_reprogram.serving")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
# Threads for what asks no model: status, metadata, health.
_MORE_THREADS = 4


class GrpcServer:
    """Listens from the beginning, answers from `start` on.

    Args:
        state: of the server.
        host: a name or an address.
        port: 0 for any free one.

    Attributes:
        port: the port it listens at.

    Raises:
        OSError: if the port is taken.
        ImportError: if grpcio, tensorflow-serving-api or grpcio-health-checking are not installed.
    """

    def __init__(self, state: ServerState, host: str, port: int) -> None:
        with needs_server_package("grpcio"):
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
        """Takes no more requests.

        Args:
            seconds: that those which run may still take.

        Returns:
            An event to wait for: it is set when all have ended.
        """
        self._health.enter_graceful_shutdown()
        ended = self._server.stop(grace=seconds)
        self._threads.shutdown(wait=False)
        return ended


def _add_services(server: Any, state: ServerState, answers: GrpcAnswers) -> None:
    import grpc

    with needs_server_package("tensorflow-serving-api"):
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
    with needs_server_package("grpcio-health-checking"):
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    servicer = health.HealthServicer()
    for service in ("", PREDICTION_SERVICE):
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer
