"""Sources behind a network: they cost money, fail, and answer late."""

from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.http_source import HTTPSource
from keras_reprogram.source.remote.named_scores import named_scores
from keras_reprogram.source.remote.remote_source import RemoteSource

__all__ = [
    "HTTPSource",
    "RemoteSource",
    "SourceBusyError",
    "SourceRefusedError",
    "SourceUnavailableError",
    "named_scores",
]
