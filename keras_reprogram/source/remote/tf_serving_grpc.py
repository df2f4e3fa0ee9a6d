"""TFServingGRPCSource: a model in TensorFlow Serving, asked over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.client import ServiceClient, key_from
from keras_reprogram.source.remote.grpc_transport import LARGEST_ANSWER, channel_to, failure_of
from keras_reprogram.source.remote.payloads import decoded, pixel_levels
from keras_reprogram.source.remote.remote_source import RemoteSource
from keras_reprogram.source.remote.tf_serving import ServedModel, chosen_output


@dataclass(frozen=True)
class TFServingGRPCClient(ServiceClient):
    """Asks TF Serving's PredictionService; the answer is a `PredictResponse`."""

    model: ServedModel
    secure: bool
    certificates: str | Path | None
    key_header: str
    key_prefix: str

    @property
    def request_options(self) -> str:
        return self.model.request_options

    def prepare(self, endpoint: str) -> None:
        """Asks for the name of the model's input, unless it was given."""
        self.input_name(endpoint)

    def send(self, payloads: list[bytes], endpoint: str) -> Any:
        import grpc

        message = self._message(payloads, self.input_name(endpoint))
        try:
            return self.stub(endpoint).Predict(message, **self._call_options(endpoint))
        except grpc.RpcError as error:
            raise self._failure(error, endpoint) from None

    def stub(self, endpoint: str) -> Any:
        """A stub of TF Serving on the connection that this process keeps."""
        with needs_extra("tensorflow-serving-api", "serving"):
            from tensorflow_serving.apis import prediction_service_pb2_grpc as service

        def made(closing: ExitStack) -> Any:
            channel = channel_to(
                endpoint,
                "serving",
                secure=self.secure,
                certificates=self.certificates,
                largest_answer=LARGEST_ANSWER,
            )
            return service.PredictionServiceStub(closing.enter_context(channel))

        return self.kept(endpoint, made)

    def input_name(self, endpoint: str) -> str:
        """The input's name, which a server is asked for once a process."""
        return self.model.input_name or self.kept(
            "input name",
            lambda _: only_input(self.ask_metadata(endpoint), self.model.signature_name),
        )

    def ask_metadata(self, endpoint: str) -> Any:
        """The model's `GetModelMetadataResponse`."""
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURES_FIELD])
        self._name_model(request)
        try:
            return self.stub(endpoint).GetModelMetadata(request, **self._call_options(endpoint))
        except grpc.RpcError as error:
            failure = self._failure(error, endpoint)
            if isinstance(failure, SourceUnavailableError):
                # No image has left yet, so that nothing can be billed.
                raise SourceBusyError(str(failure), failure.retry_after) from None
            raise failure from None

    def _message(self, payloads: list[bytes], input_name: str) -> Any:
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._name_model(request)
        if self.model.output_name is not None:
            request.output_filter.append(self.model.output_name)
        tensor = request.inputs[input_name]
        if self.model.input_format == "encoded":
            fill_with_files(tensor, payloads)
        else:
            fill_with_pixels(tensor, payloads, self.model.value_range)
        return request

    def _name_model(self, request: Any) -> None:
        spec, model = request.model_spec, self.model
        spec.name, spec.signature_name = model.model_name, model.signature_name
        if model.version is not None:
            spec.version.value = model.version
        if model.version_label is not None:
            spec.version_label = model.version_label

    def _call_options(self, endpoint: str) -> dict[str, Any]:
        if self.key_variable is None:
            return {"timeout": self.timeout}
        key = f"{self.key_prefix}{key_from(self.key_variable, endpoint)}"
        return {"timeout": self.timeout, "metadata": ((self.key_header.lower(), key),)}

    def _failure(self, error: Any, endpoint: str) -> Exception:
        failure = failure_of(error, endpoint, self.key_variable, endpoint)
        if type(failure) is RuntimeError:
            return RuntimeError(
                f"{endpoint} must answer with at most {LARGEST_ANSWER:,} bytes. Received: "
                f"{failure} Pass the `output_name` of the scores, or fewer "
                "`images_per_request`."
            )
        return failure


@keras.saving.register_keras_serializable(package="keras_reprogram")
class TFServingGRPCSource(RemoteSource):
    """A model in TensorFlow Serving, asked over gRPC (port 8500): fewer bytes than REST.

    Args:
        address: `"host:8500"`; a list of them for replicas that answer alike.
        model_name: `--model_name` of the server.
        source_shape: `(H, W, C)`.
        class_names: names of the scores, in order.
        value_range: `(low, high)` of the pixels that callers send.
        version: of the model; `None` for the one that the server chooses, the newest.
        version_label: a label of the server's configuration instead of a number.
        signature_name: of the model.
        input_name: the signature's input. `None` asks the server for the model's metadata before
            the first image; that is no query.
        output_name: the output with the scores; a signature with one output needs none.
        input_format: `"pixels"`, floats in `value_range` rounded to 256 steps, or `"encoded"`,
            PNG or JPEG files.
        secure: TLS.
        certificates: a PEM file of the authorities to trust instead of gRPC's own.
        key_variable: the environment variable that holds a key, or `None`.
        key_header: the metadata that carries it.
        key_prefix: what stands before it there.
        timeout: seconds that a request may take.
        options: as of `RemoteSource`: `identity`, `ledger`, `encoding`,
            `images_per_request`, `concurrency`, `retries`, ...

    Raises:
        ImportError: if grpcio or tensorflow-serving-api is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.tf_serving_grpc import TFServingGRPCSource

    source = TFServingGRPCSource(
        "127.0.0.1:8500",
        "signs",
        (32, 32, 3),
        class_names=[f"sign {number}" for number in range(43)],
        signature_name="image_bytes",
        input_format="encoded",
        value_range=(0, 255),
        identity="signs, version 1",
    )
    assert source.num_labels == 43      # nothing was asked yet
    ```
    """

    client: TFServingGRPCClient

    def __init__(
        self,
        address: str | Sequence[str],
        model_name: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        value_range: tuple[float, float],
        version: int | None = None,
        version_label: str | None = None,
        signature_name: str = "serving_default",
        input_name: str | None = None,
        output_name: str | None = None,
        input_format: str = "pixels",
        secure: bool = False,
        certificates: str | Path | None = None,
        key_variable: str | None = None,
        key_header: str = "authorization",
        key_prefix: str = "Bearer ",
        timeout: float = 30.0,
        **options: Any,
    ) -> None:
        model = ServedModel(
            model_name, version, version_label, signature_name,
            input_name, output_name, input_format, value_range,
        )  # fmt: skip
        addresses = [address] if isinstance(address, str) else list(address)
        for one in addresses:
            check_address(one)
        client = TFServingGRPCClient(
            model, secure, certificates, key_header, key_prefix,
            key_variable=key_variable, timeout=timeout,
        )  # fmt: skip
        options |= {"value_range": value_range, "client": client, "endpoints": addresses}
        super().__init__(source_shape, class_names, **options)
        # Missing packages and wrong certificates are found before the first request.
        for one in addresses:
            client.stub(one)

    def read(self, answer: Any) -> Any:
        name = chosen_output(answer.outputs, self.client.model.output_name)
        return array_of(answer.outputs[name])


def check_address(address: str) -> None:
    """Raises a ValueError unless the address is `host:port`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ValueError(
            f"`address` must be host:port. Received: {address!r}. Pass the port of gRPC, 8500 "
            "by default; TLS is `secure=True`."
        )


SIGNATURES_FIELD = "signature_def"
# tensorflow.DataType: the numbers are part of the wire format.
_FLOAT, _DOUBLE, _STRING = 1, 2, 7
_FLOATS = {_FLOAT: ("<f4", "float_val"), _DOUBLE: ("<f8", "double_val")}


def fill_with_files(tensor: Any, payloads: list[bytes]) -> None:
    """Writes encoded images into an empty `TensorProto`."""
    tensor.dtype = _STRING
    tensor.tensor_shape.dim.add(size=len(payloads))
    tensor.string_val.extend(payloads)


def fill_with_pixels(tensor: Any, payloads: list[bytes], value_range: tuple[float, float]) -> None:
    """Writes the pixels of encoded images into an empty `TensorProto`."""
    pixels = pixel_levels(value_range)[decoded(payloads)]
    tensor.dtype = _FLOAT
    for size in pixels.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = pixels.astype("<f4").tobytes()


def array_of(tensor: Any) -> np.ndarray:
    """The scores in a `TensorProto`; a ValueError for any other type than floats."""
    if tensor.dtype not in _FLOATS:
        raise ValueError(
            f"Scores must be of type DT_FLOAT or DT_DOUBLE. Received: type {tensor.dtype}. "
            "Pass the `output_name` of the scores."
        )
    dtype, field = _FLOATS[tensor.dtype]
    values = np.frombuffer(tensor.tensor_content, dtype)
    if not tensor.tensor_content:
        values = np.array(getattr(tensor, field), dtype)
    return values.reshape([dim.size for dim in tensor.tensor_shape.dim])


def only_input(answer: Any, signature_name: str) -> str:
    """The name of a signature's input in a `GetModelMetadataResponse`."""
    from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

    found = metadata.SignatureDefMap()
    answer.metadata[SIGNATURES_FIELD].Unpack(found)
    if signature_name not in found.signature_def:
        raise SourceRefusedError(
            f"`signature_name` must be a signature of the model: "
            f"{', '.join(sorted(found.signature_def))}. Received: {signature_name!r}."
        )
    inputs = sorted(found.signature_def[signature_name].inputs)
    if len(inputs) != 1:
        raise SourceRefusedError(
            f"The signature {signature_name!r} must have one input, for the images. "
            f"Received: {', '.join(inputs)}. Pass another `signature_name`."
        )
    return inputs[0]
