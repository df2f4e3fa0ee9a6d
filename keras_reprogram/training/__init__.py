"""How program and map learn: exact fits, estimated gradients."""

from keras_reprogram.training.gradient_estimator import GradientEstimator
from keras_reprogram.training.map_fitting import MapFit, fit_logistic_regression
from keras_reprogram.training.random_directions import RandomDirections

__all__ = ["GradientEstimator", "MapFit", "RandomDirections", "fit_logistic_regression"]
