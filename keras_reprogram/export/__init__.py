"""Exports of a trained model: SavedModel for TF Serving, LiteRT for devices, ONNX."""

from keras_reprogram.export.browser_export import export_browser_page
from keras_reprogram.export.checks import export_blockers
from keras_reprogram.export.halves import ExportedHalves, export_halves
from keras_reprogram.export.litert import export_litert
from keras_reprogram.export.litert_facts import read_litert_facts
from keras_reprogram.export.litert_targets import TARGETS
from keras_reprogram.export.onnx_export import export_onnx, onnx_blockers, read_onnx_facts
from keras_reprogram.export.other_servers import write_for_server
from keras_reprogram.export.saved_model import ExportedModel, export_saved_model

__all__ = [
    "TARGETS",
    "ExportedHalves",
    "ExportedModel",
    "export_blockers",
    "export_browser_page",
    "export_halves",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "onnx_blockers",
    "read_litert_facts",
    "read_onnx_facts",
    "write_for_server",
]
