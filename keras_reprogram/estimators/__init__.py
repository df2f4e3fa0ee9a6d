"""Estimates of the program's gradient from queries, and searches without one."""

from keras_reprogram.estimators.coordinate_wise import CoordinateWise
from keras_reprogram.estimators.gradient_estimator import GradientEstimator
from keras_reprogram.estimators.program_search import ProgramSearch, search_program
from keras_reprogram.estimators.random_directions import GrowDirections, RandomDirections
from keras_reprogram.estimators.score_function import ScoreFunction
from keras_reprogram.estimators.spsa import SPSA, spsa_learning_rate

__all__ = [
    "CoordinateWise",
    "GradientEstimator",
    "GrowDirections",
    "ProgramSearch",
    "RandomDirections",
    "SPSA",
    "ScoreFunction",
    "search_program",
    "spsa_learning_rate",
]
