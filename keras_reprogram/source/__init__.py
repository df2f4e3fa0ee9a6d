"""Source image -> source scores: frozen or opaque, never trained."""

from typing import TYPE_CHECKING

from keras_reprogram.lazy_imports import lazy_names

if TYPE_CHECKING:
    from keras_reprogram.source.applications import application_names
    from keras_reprogram.source.embedded import embedded_path
    from keras_reprogram.source.errors import BudgetSpentError, UnknownFateError
    from keras_reprogram.source.frozen_source import FrozenSource
    from keras_reprogram.source.joined_sources import join_sources
    from keras_reprogram.source.joint_source import JointSource
    from keras_reprogram.source.keyword_spotter import KeywordSpotterSource
    from keras_reprogram.source.ledger.query_ledger import Claim, QueryLedger, query_key
    from keras_reprogram.source.litert_source import LiteRTSource
    from keras_reprogram.source.onnx_source import ONNXSource
    from keras_reprogram.source.pixel_source import PixelSource, PlacedSource
    from keras_reprogram.source.python_source import OpaqueSource, PythonSource
    from keras_reprogram.source.random_switching import RandomSwitching, train_random_switching
    from keras_reprogram.source.remote.http_source import HTTPSource
    from keras_reprogram.source.saved_model_source import SavedModelSource
    from keras_reprogram.source.source import Source
    from keras_reprogram.source.speech_commands import speech_commands_source

# Imported when asked for: a command knows the names of applications without TensorFlow.
__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "applications": ("application_names",),
        "embedded": ("embedded_path",),
        "errors": (
            "BudgetSpentError",
            "UnknownFateError",
        ),
        "frozen_source": ("FrozenSource",),
        "joined_sources": ("join_sources",),
        "joint_source": ("JointSource",),
        "keyword_spotter": ("KeywordSpotterSource",),
        "ledger.query_ledger": (
            "Claim",
            "QueryLedger",
            "query_key",
        ),
        "litert_source": ("LiteRTSource",),
        "onnx_source": ("ONNXSource",),
        "pixel_source": (
            "PixelSource",
            "PlacedSource",
        ),
        "python_source": (
            "OpaqueSource",
            "PythonSource",
        ),
        "random_switching": (
            "RandomSwitching",
            "train_random_switching",
        ),
        "remote.http_source": ("HTTPSource",),
        "saved_model_source": ("SavedModelSource",),
        "source": ("Source",),
        "speech_commands": ("speech_commands_source",),
    },
)
