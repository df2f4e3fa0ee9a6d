"""Fake services on real sockets, for tests and dry runs: a vendor's wire format, your model."""

from keras_reprogram.testing.faults import MALFORMED_ANSWERS, TRANSPORT_FAULTS, Faults
from keras_reprogram.testing.grpc_fake import GRPCFake
from keras_reprogram.testing.hosted_model import BadImageError, HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake

__all__ = [
    "MALFORMED_ANSWERS",
    "TRANSPORT_FAULTS",
    "Answer",
    "BadImageError",
    "Faults",
    "GRPCFake",
    "HTTPFake",
    "HostedModel",
]
