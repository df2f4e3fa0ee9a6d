"""Sources behind a network: they cost money, fail, and answer late."""

from keras_reprogram.source.remote.failures import (
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.http_source import HTTPSource, named_scores
from keras_reprogram.source.remote.remote_source import RemoteSource

__all__ = [
    "HTTPSource",
    "RemoteSource",
    "SourceRefusedError",
    "SourceUnavailableError",
    "named_scores",
]
