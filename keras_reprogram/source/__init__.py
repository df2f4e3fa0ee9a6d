"""Source image -> source scores: frozen or opaque, never trained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_reprogram.source.applications import application_names
    from keras_reprogram.source.embedded import embedded_path
    from keras_reprogram.source.errors import BudgetSpentError, UnknownFateError
    from keras_reprogram.source.frozen_source import FrozenSource, join_sources
    from keras_reprogram.source.ledger.query_ledger import Claim, QueryLedger, query_key
    from keras_reprogram.source.litert_source import LiteRTSource
    from keras_reprogram.source.onnx_source import ONNXSource
    from keras_reprogram.source.python_source import OpaqueSource, PythonSource
    from keras_reprogram.source.remote.http_source import HTTPSource
    from keras_reprogram.source.saved_model_source import SavedModelSource
    from keras_reprogram.source.source import Source

# Imported when asked for: a command knows the names of applications without TensorFlow.
_PLACES = {
    "BudgetSpentError": "errors",
    "Claim": "ledger.query_ledger",
    "FrozenSource": "frozen_source",
    "HTTPSource": "remote.http_source",
    "LiteRTSource": "litert_source",
    "ONNXSource": "onnx_source",
    "OpaqueSource": "python_source",
    "PythonSource": "python_source",
    "QueryLedger": "ledger.query_ledger",
    "SavedModelSource": "saved_model_source",
    "Source": "source",
    "UnknownFateError": "errors",
    "application_names": "applications",
    "embedded_path": "embedded",
    "join_sources": "frozen_source",
    "query_key": "ledger.query_ledger",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
