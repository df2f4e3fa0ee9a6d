"""How a trained model leaves Python: SavedModel for TF Serving, LiteRT for the edge."""

from keras_reprogram.export.blockers import export_blockers
from keras_reprogram.export.exported_halves import ExportedHalves
from keras_reprogram.export.exported_model import ExportedModel
from keras_reprogram.export.halves import export_halves
from keras_reprogram.export.litert import export_litert
from keras_reprogram.export.litert_facts import read_litert_facts
from keras_reprogram.export.saved_model import export_saved_model

__all__ = [
    "ExportedHalves",
    "ExportedModel",
    "export_blockers",
    "export_halves",
    "export_litert",
    "export_saved_model",
    "read_litert_facts",
]
