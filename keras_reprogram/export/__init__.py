"""Exports of a trained model: SavedModel for TF Serving, LiteRT for edge devices."""

from keras_reprogram.export.checks import export_blockers
from keras_reprogram.export.halves import ExportedHalves, export_halves
from keras_reprogram.export.litert import export_litert, read_litert_facts
from keras_reprogram.export.saved_model import ExportedModel, export_saved_model

__all__ = [
    "ExportedHalves",
    "ExportedModel",
    "export_blockers",
    "export_halves",
    "export_litert",
    "export_saved_model",
    "read_litert_facts",
]
