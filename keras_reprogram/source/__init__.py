"""Source image -> source scores: frozen or opaque, never trained."""

from keras_reprogram.source.applications import application_names
from keras_reprogram.source.embedded import embedded_path
from keras_reprogram.source.errors import BudgetSpentError, UnknownFateError
from keras_reprogram.source.frozen_source import FrozenSource, join_sources
from keras_reprogram.source.ledger.query_ledger import Claim, QueryLedger, query_key
from keras_reprogram.source.litert_source import LiteRTSource
from keras_reprogram.source.python_source import OpaqueSource, PythonSource
from keras_reprogram.source.remote import HTTPSource
from keras_reprogram.source.saved_model_source import SavedModelSource
from keras_reprogram.source.source import Source

__all__ = [
    "BudgetSpentError",
    "Claim",
    "FrozenSource",
    "HTTPSource",
    "LiteRTSource",
    "OpaqueSource",
    "PythonSource",
    "QueryLedger",
    "SavedModelSource",
    "Source",
    "UnknownFateError",
    "application_names",
    "embedded_path",
    "join_sources",
    "query_key",
]
