"""How program and map learn: exact fits, estimated gradients."""

from keras_reprogram.training.adaptive_directions import GrowDirections
from keras_reprogram.training.coordinate_wise import CoordinateWise
from keras_reprogram.training.gradient_estimator import GradientEstimator
from keras_reprogram.training.map_fitting import MapFit, fit_logistic_regression
from keras_reprogram.training.program_search import ProgramSearch, search_program
from keras_reprogram.training.random_directions import RandomDirections
from keras_reprogram.training.spsa import SPSA
from keras_reprogram.training.spsa_learning_rate import spsa_learning_rate
from keras_reprogram.training.view_reading import READINGS, solve_views
from keras_reprogram.training.view_selection import ViewOrder, ViewPool

__all__ = [
    "CoordinateWise",
    "GradientEstimator",
    "GrowDirections",
    "MapFit",
    "ProgramSearch",
    "READINGS",
    "RandomDirections",
    "SPSA",
    "ViewOrder",
    "ViewPool",
    "fit_logistic_regression",
    "search_program",
    "solve_views",
    "spsa_learning_rate",
]
