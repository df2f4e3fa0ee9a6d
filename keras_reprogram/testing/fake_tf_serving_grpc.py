"""FakeTFServingGRPC: TF Serving's gRPC interface on a socket of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.request_checks import check_outputs
from keras_reprogram.serving.tensors import array_of_proto, proto_of_array
from keras_reprogram.testing.fake_tf_serving import ServedModel, check_key
from keras_reprogram.testing.grpc_fake import GRPCFake
from keras_reprogram.testing.hosted_model import Fault, HostedModel


class FakeTFServingGRPC(GRPCFake):
    """TF Serving's gRPC interface: Predict, GetModelMetadata and GetModelStatus.

    Faults are for Predict. Everything else is as of `FakeTFServing`.

    Args:
        hosted: the model and its bill.
        model_name: what clients must call it.
        versions: that are loaded; the largest answers unless another is asked for.
        version_labels: label -> version.
        signatures: name -> `(input, "pixels" or "encoded")`; `None` for those of our exports.
        output_names: of every signature; `"classes"` holds the labels.
        largest_request: in bytes; clients are refused as a gRPC server does.
        certificate: `(certificate file, key file)` for TLS, or `None`.
        options: as of `GRPCFake`: `faults`, `latency`, `key`, `threads`.

    Attributes:
        metadata_requests: how often a client asked for the model's metadata.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_tf_serving_grpc import FakeTFServingGRPC

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeTFServingGRPC(HostedModel.of(signs), "signs") as service:
        assert service.address.startswith("127.0.0.1:")
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str = "model",
        *,
        versions: Sequence[int] = (1,),
        version_labels: Mapping[str, int] | None = None,
        signatures: Mapping[str, tuple[str, str]] | None = None,
        output_names: Sequence[str] = ("scores",),
        largest_request: int | None = None,
        certificate: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.served = ServedModel(
            hosted, model_name, versions, version_labels, signatures, output_names
        )
        self.largest_request, self.metadata_requests = largest_request, 0
        super().__init__(hosted, "serving", **options)
        if certificate is not None:
            self.address = _secure_address(self.server, certificate)
        _add_servicers(self)
        self.start()

    def checked(self, context: Any, answer: Any) -> Any:
        """The result of `answer()`, for a client with the key; refusals end the call."""
        import grpc

        try:
            check_key(self.key, dict(context.invocation_metadata()).get("authorization"))
            return answer()
        except ServingError as error:
            return context.abort(getattr(grpc.StatusCode, error.code), error.text)

    def predict(self, request: Any, fault: Fault) -> Any:
        """A `PredictResponse` to a `PredictRequest`."""
        from tensorflow_serving.apis import predict_pb2

        size = request.ByteSize()
        if self.largest_request is not None and size > self.largest_request:
            raise ServingError(
                f"Received message larger than max ({size} vs. {self.largest_request})",
                "RESOURCE_EXHAUSTED",
            )
        version = self._version_of(request.model_spec)
        name = request.model_spec.signature_name or "serving_default"
        signature = self.served.signature(name, "FAILED_PRECONDITION")
        check_outputs(signature, request.output_filter)
        arrays = {name: array_of_proto(one, size) for name, one in request.inputs.items()}
        answer = predict_pb2.PredictResponse()
        answer.model_spec.CopyFrom(request.model_spec)
        answer.model_spec.version.value = version
        for alias, array in self.served.outputs(signature, arrays, fault).items():
            if not request.output_filter or alias in request.output_filter:
                answer.outputs[alias].CopyFrom(proto_of_array(array))
        return answer

    def metadata(self, request: Any) -> Any:
        """A `GetModelMetadataResponse` to a `GetModelMetadataRequest`."""
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

        self.metadata_requests += 1
        if not request.metadata_field:
            raise ServingError("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise ServingError(f"Metadata field {field} is not supported")
        spec = request.model_spec
        version = self._version_of(spec)
        signatures = metadata.SignatureDefMap()
        for name, signature in self.served.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
        answer = metadata.GetModelMetadataResponse()
        answer.model_spec.name = spec.name
        answer.model_spec.version.value = version
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def status(self, request: Any) -> Any:
        """A `GetModelStatusResponse` to a `GetModelStatusRequest`."""
        from tensorflow_serving.apis import get_model_status_pb2 as status

        spec = request.model_spec
        version = None if not spec.WhichOneof("version_choice") else self._version_of(spec)
        available = status.ModelVersionStatus.AVAILABLE
        answer = status.GetModelStatusResponse()
        for one in self.served.statuses(spec.name, version):
            answer.model_version_status.add(version=one, state=available)
        return answer

    def _version_of(self, spec: Any) -> int:
        version = spec.version.value if spec.HasField("version") else None
        return self.served.version(spec.name, version, spec.version_label)


def _secure_address(server: Any, certificate: tuple[str, str]) -> str:
    import grpc

    chain, key = (Path(name).read_bytes() for name in certificate)
    credentials = grpc.ssl_server_credentials([(key, chain)])
    return f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"


def _add_servicers(fake: FakeTFServingGRPC) -> None:
    with needs_extra("tensorflow-serving-api", "serving"):
        from tensorflow_serving.apis import model_service_pb2_grpc as models
        from tensorflow_serving.apis import prediction_service_pb2_grpc as predictions

    class Predictions(predictions.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            def respond(fault: Fault) -> Any:
                return fake.checked(context, lambda: fake.predict(request, fault))

            return fake.serve(context, respond)

        def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            return fake.checked(context, lambda: fake.metadata(request))

    class Models(models.ModelServiceServicer):
        def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
            return fake.checked(context, lambda: fake.status(request))

    predictions.add_PredictionServiceServicer_to_server(Predictions(), fake.server)
    models.add_ModelServiceServicer_to_server(Models(), fake.server)
