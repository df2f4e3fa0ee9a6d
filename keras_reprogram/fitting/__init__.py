"""Exact fits on stored answers: output maps and the choice of views."""

from keras_reprogram.fitting.map_fitting import MapFit, fit_logistic_regression
from keras_reprogram.fitting.view_selection import READINGS, ViewOrder, ViewPool, solve_views

__all__ = [
    "MapFit",
    "READINGS",
    "ViewOrder",
    "ViewPool",
    "fit_logistic_regression",
    "solve_views",
]
