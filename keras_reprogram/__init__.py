"""keras_reprogram: re-use a trained classifier for a new task without touching its weights.

target image -> program -> source images -> source -> source scores -> output map -> classes
                trained                     frozen or opaque           fitted exactly or trained
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from keras_reprogram.lazy_imports import lazy_names
from keras_reprogram.version import __version__

if TYPE_CHECKING:
    from keras_reprogram.asking.prediction_sets import PredictionSets
    from keras_reprogram.estimators import (
        SPSA,
        CoordinateWise,
        GradientEstimator,
        GrowDirections,
        ProgramSearch,
        RandomDirections,
        ScoreFunction,
        search_program,
        spsa_learning_rate,
    )
    from keras_reprogram.export import (
        export_blockers,
        export_halves,
        export_litert,
        export_onnx,
        export_saved_model,
    )
    from keras_reprogram.fitting import Calibration, MapFit, fit_logistic_regression
    from keras_reprogram.methods import Method, build_method, method_names
    from keras_reprogram.model.program_file import load_program, read_description, save_program
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.opaque.query_estimate import QueryEstimate
    from keras_reprogram.opaque.result import OpaqueFit, OpaqueStage
    from keras_reprogram.opaque.step_check import StepCheck
    from keras_reprogram.opaque.view_choice import ViewSelection
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
        Program,
        ProgramLayer,
        SampleMaskProgram,
        ScaledProgram,
        SeriesProgram,
        SeriesView,
        TextProgram,
        View,
        Vocabulary,
        draw_series_views,
        draw_views,
        program_for,
        suggested_style,
        train_decoder,
    )
    from keras_reprogram.source import (
        FrozenSource,
        HTTPSource,
        LiteRTSource,
        ONNXSource,
        OpaqueSource,
        PixelSource,
        PythonSource,
        QueryLedger,
        RandomSwitching,
        SavedModelSource,
        Source,
        application_names,
        embedded_path,
        join_sources,
        train_random_switching,
    )
    from keras_reprogram.source.errors import (
        BudgetSpentError,
        NotBilledError,
        SourceBusyError,
        SourceDriftedError,
        SourceError,
        SourceRefusedError,
        SourceUnavailableError,
        UnknownFateError,
    )
    from keras_reprogram.source.remote import (
        AzureContentSafetySource,
        ClarifaiSource,
        CustomVisionSource,
        GoogleVisionSource,
        HuggingFaceSource,
        KServeSource,
        OpenAIModerationSource,
        RekognitionSource,
        SageMakerSource,
        TFServingGRPCSource,
        TFServingSource,
        VertexAISource,
    )
    from keras_reprogram.student import Student, fit_student

# In the order of the data's way through a model.
_names, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "program": (
            "Program",
            "ProgramLayer",
            "program_for",
            "DecoderProgram",
            "train_decoder",
            "ScaledProgram",
            "SampleMaskProgram",
            "SeriesProgram",
            "TextProgram",
            "Vocabulary",
            "View",
            "Placement",
            "draw_views",
            "SeriesView",
            "draw_series_views",
            "suggested_style",
        ),
        "source": (
            "Source",
            "FrozenSource",
            "join_sources",
            "PixelSource",
            "SavedModelSource",
            "PythonSource",
            "OpaqueSource",
            "LiteRTSource",
            "ONNXSource",
            "HTTPSource",
            "QueryLedger",
            "RandomSwitching",
            "train_random_switching",
            "application_names",
            "embedded_path",
        ),
        "source.remote": (
            "TFServingSource",
            "TFServingGRPCSource",
            "KServeSource",
            "ClarifaiSource",
            "CustomVisionSource",
            "RekognitionSource",
            "GoogleVisionSource",
            "OpenAIModerationSource",
            "AzureContentSafetySource",
            "VertexAISource",
            "SageMakerSource",
            "HuggingFaceSource",
        ),
        "source.errors": (
            "SourceError",
            "BudgetSpentError",
            "UnknownFateError",
            "NotBilledError",
            "SourceRefusedError",
            "SourceBusyError",
            "SourceUnavailableError",
            "SourceDriftedError",
        ),
        "output_map": (
            "OutputMap",
            "MultiLabelMap",
            "DenseMap",
            "NewHead",
            "assign_labels",
            "bayesian_weights",
        ),
        "estimators": (
            "GradientEstimator",
            "RandomDirections",
            "CoordinateWise",
            "SPSA",
            "spsa_learning_rate",
            "ScoreFunction",
            "GrowDirections",
            "search_program",
            "ProgramSearch",
        ),
        "fitting": (
            "MapFit",
            "fit_logistic_regression",
            "Calibration",
        ),
        "asking.prediction_sets": ("PredictionSets",),
        "model.reprogrammed_model": ("ReprogrammedModel",),
        "methods": (
            "build_method",
            "method_names",
            "Method",
        ),
        "opaque.query_estimate": ("QueryEstimate",),
        "opaque.step_check": ("StepCheck",),
        "opaque.view_choice": ("ViewSelection",),
        "opaque.result": (
            "OpaqueFit",
            "OpaqueStage",
        ),
        "student": (
            "fit_student",
            "Student",
        ),
        "model.program_file": (
            "save_program",
            "load_program",
            "read_description",
        ),
        "export": (
            "export_blockers",
            "export_saved_model",
            "export_litert",
            "export_onnx",
            "export_halves",
        ),
    },
)

__all__ = [*_names, "__version__"]


def is_command(arguments: Sequence[str]) -> bool:
    """Whether a process runs the command line.

    Args:
        arguments: `sys.orig_argv`: Python, its options, what it runs, and what that is given.

    Returns:
        Whether it is `keras-reprogram`, `python -m keras_reprogram...`, or `python -c` with code
        that imports the command line.
    """
    words = iter(arguments[1:])
    for word in words:
        if word == "-m":
            return next(words, "").split(".")[0] == "keras_reprogram"
        if word == "-c":
            return "keras_reprogram.command_line" in next(words, "")
        if word in ("-W", "-X"):
            next(words, "")
        elif not word.startswith("-"):
            return Path(word).stem.removesuffix("-script") == "keras-reprogram"
    return False


# Keras finds the classes of a `.keras` file by their registered names, so `import keras_reprogram`
# has to register them. A command instead answers `--help` without TensorFlow and imports modules
# only when it needs them.
_WITH_REGISTERED_CLASSES = (
    "program",
    "source.frozen_source",
    "source.keyword_spotter",
    "source.random_switching",
    "source.speech_commands",
    "source.pixel_source",
    "source.joint_source",
    "source.saved_model_source",
    "source.python_source",
    "source.litert_source",
    "source.onnx_source",
    "source.remote",
    "output_map",
    "estimators",
    "model.reprogrammed_model",
    "methods",
)


def register_classes() -> None:
    """Imports every class that Keras has to find by its name in a file."""
    for place in _WITH_REGISTERED_CLASSES:
        import_module(f"{__name__}.{place}")


if not is_command(sys.orig_argv):
    register_classes()
