"""The stub that asks TF Serving over gRPC, and the address that it asks."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from keras_reprogram.source.remote.extras import needs_extra


def check_address(address: str) -> None:
    """Raises a ValueError unless the address is `host:port`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ValueError(
            f"`address` must be host:port. Received: {address!r}. Pass the port of gRPC, 8500 "
            "unless the server was told otherwise; TLS is `secure=True`."
        )


def prediction_stub(
    endpoint: str, *, secure: bool, certificates: str | Path | None, largest_answer: int
) -> Any:
    """A stub of TF Serving's PredictionService; its channel closes with it.

    Args:
        endpoint: `host:port`.
        secure: TLS.
        certificates: a PEM file of the authorities to trust instead of gRPC's own, or `None`.
        largest_answer: in bytes.
    """
    with needs_extra("grpcio", "serving"):
        import grpc
    with needs_extra("tensorflow-serving-api", "serving"):
        from tensorflow_serving.apis import prediction_service_pb2_grpc as service
    # gRPC's own repetitions would be billed and unseen by the ledger.
    options = [("grpc.enable_retries", 0), ("grpc.max_receive_message_length", largest_answer)]
    if secure:
        roots = Path(certificates).read_bytes() if certificates else None
        credentials = grpc.ssl_channel_credentials(roots)
        channel = grpc.secure_channel(endpoint, credentials, options=options)
    else:
        channel = grpc.insecure_channel(endpoint, options=options)
    stub = service.PredictionServiceStub(channel)
    weakref.finalize(stub, channel.close)
    return stub
