"""keras_reprogram: re-use a trained classifier for a new task without touching its weights.

target image -> program -> source images -> source -> source scores -> output map -> classes
                trained                     frozen or opaque           fitted exactly or trained
"""

from keras_reprogram.export import export_blockers, export_litert, export_saved_model
from keras_reprogram.output_map import DenseMap, MultiLabelMap, NewHead, OutputMap, assign_labels
from keras_reprogram.program import Placement, ProgramLayer, View, draw_views
from keras_reprogram.program_file import load_program, read_description, save_program
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source import (
    FrozenSource,
    LiteRTSource,
    OpaqueSource,
    PythonSource,
    SavedModelSource,
    Source,
    application_names,
    embedded_path,
)
from keras_reprogram.training import (
    GradientEstimator,
    MapFit,
    RandomDirections,
    fit_logistic_regression,
)
from keras_reprogram.version import __version__

# In the order of the data's way through a model.
__all__ = [
    "ProgramLayer",
    "View",
    "Placement",
    "draw_views",
    "Source",
    "FrozenSource",
    "SavedModelSource",
    "PythonSource",
    "OpaqueSource",
    "LiteRTSource",
    "application_names",
    "embedded_path",
    "OutputMap",
    "MultiLabelMap",
    "DenseMap",
    "NewHead",
    "assign_labels",
    "GradientEstimator",
    "RandomDirections",
    "MapFit",
    "fit_logistic_regression",
    "ReprogrammedModel",
    "save_program",
    "load_program",
    "read_description",
    "export_blockers",
    "export_saved_model",
    "export_litert",
    "__version__",
]
