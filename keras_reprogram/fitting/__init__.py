"""Exact fits on stored answers: the output map, and the views that are worth their queries."""

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
