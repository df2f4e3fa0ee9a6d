"""keras_reprogram: re-use a trained classifier for a new task without touching its weights.

target image -> program -> source images -> source -> source scores -> output map -> classes
                trained                     frozen or opaque           fitted exactly or trained
"""

# The first of all, before anything imports TensorFlow.
from keras_reprogram.command_line import startup_noise as _command_noise  # noqa: F401
from keras_reprogram.estimators import (
    SPSA,
    CoordinateWise,
    GradientEstimator,
    GrowDirections,
    ProgramSearch,
    RandomDirections,
    search_program,
    spsa_learning_rate,
)
from keras_reprogram.export import (
    export_blockers,
    export_halves,
    export_litert,
    export_saved_model,
)
from keras_reprogram.fitting import MapFit, fit_logistic_regression
from keras_reprogram.methods import Method, build_method, method_names
from keras_reprogram.model.program_file import load_program, read_description, save_program
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.opaque.query_estimate import QueryEstimate
from keras_reprogram.opaque.result import OpaqueFit, OpaqueStage
from keras_reprogram.opaque.step_check import StepCheck
from keras_reprogram.opaque.views import ViewSelection
from keras_reprogram.output_map import (
    DenseMap,
    MultiLabelMap,
    NewHead,
    OutputMap,
    assign_labels,
    bayesian_weights,
)
from keras_reprogram.program import (
    DecoderProgram,
    Placement,
    ProgramLayer,
    SampleMaskProgram,
    ScaledProgram,
    View,
    draw_views,
    suggested_style,
    train_decoder,
)
from keras_reprogram.source import (
    BudgetSpentError,
    FrozenSource,
    HTTPSource,
    LiteRTSource,
    OpaqueSource,
    PythonSource,
    QueryLedger,
    SavedModelSource,
    Source,
    UnknownFateError,
    application_names,
    embedded_path,
    join_sources,
)
from keras_reprogram.source.remote import (
    ClarifaiSource,
    CustomVisionSource,
    GoogleVisionSource,
    KServeSource,
    RekognitionSource,
    TFServingGRPCSource,
    TFServingSource,
)
from keras_reprogram.version import __version__

# In the order of the data's way through a model.
__all__ = [
    "ProgramLayer",
    "DecoderProgram",
    "train_decoder",
    "ScaledProgram",
    "SampleMaskProgram",
    "View",
    "Placement",
    "draw_views",
    "suggested_style",
    "Source",
    "FrozenSource",
    "join_sources",
    "SavedModelSource",
    "PythonSource",
    "OpaqueSource",
    "LiteRTSource",
    "HTTPSource",
    "TFServingSource",
    "TFServingGRPCSource",
    "KServeSource",
    "ClarifaiSource",
    "CustomVisionSource",
    "RekognitionSource",
    "GoogleVisionSource",
    "QueryLedger",
    "BudgetSpentError",
    "UnknownFateError",
    "application_names",
    "embedded_path",
    "OutputMap",
    "MultiLabelMap",
    "DenseMap",
    "NewHead",
    "assign_labels",
    "bayesian_weights",
    "GradientEstimator",
    "RandomDirections",
    "CoordinateWise",
    "SPSA",
    "spsa_learning_rate",
    "GrowDirections",
    "search_program",
    "ProgramSearch",
    "MapFit",
    "fit_logistic_regression",
    "ReprogrammedModel",
    "build_method",
    "method_names",
    "Method",
    "QueryEstimate",
    "StepCheck",
    "ViewSelection",
    "OpaqueFit",
    "OpaqueStage",
    "save_program",
    "load_program",
    "read_description",
    "export_blockers",
    "export_saved_model",
    "export_litert",
    "export_halves",
    "__version__",
]
