"""Channels to gRPC services that leave repetitions to us, and limits of what a request carries."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.remote.extras import needs_extra

_LARGEST_ANSWER = 64 * 2**20


def channel_to(address: str, extra: str) -> Any:
    """A gRPC channel that repeats nothing by itself; with TLS unless it ends on this machine.

    Args:
        address: `host` or `host:port`.
        extra: of this package that brings grpcio.
    """
    with needs_extra("grpcio", extra):
        import grpc
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", _LARGEST_ANSWER),
        ("grpc.max_send_message_length", -1),
    ]
    if is_local(address):
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(), options=options)


def is_local(address: str) -> bool:
    """Whether `host:port` is on this machine."""
    return address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


def check_images_per_request(options: dict[str, Any], most: int, service: str) -> None:
    """Raises a ValueError if more images are to go into a request than a service takes."""
    if (wanted := options.get("images_per_request", 1)) > most:
        raise ValueError(
            f"{service} takes at most {most} images a request. Received: "
            f"images_per_request={wanted}. Pass a smaller one and more `concurrency`."
        )
