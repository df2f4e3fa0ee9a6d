"""Exact fits on stored answers: output maps and the choice of views."""

from typing import TYPE_CHECKING

from keras_reprogram.lazy_imports import lazy_names

if TYPE_CHECKING:
    from keras_reprogram.fitting.calibration import Calibration
    from keras_reprogram.fitting.joined_fit import fit_joined_parts
    from keras_reprogram.fitting.map_fitting import MapFit, fit_logistic_regression
    from keras_reprogram.fitting.view_selection import READINGS, ViewOrder, ViewPool, solve_views

# Imported when asked for: a data set draws its images without a solver.
__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "calibration": ("Calibration",),
        "joined_fit": ("fit_joined_parts",),
        "map_fitting": (
            "MapFit",
            "fit_logistic_regression",
        ),
        "view_selection": (
            "READINGS",
            "ViewOrder",
            "ViewPool",
            "solve_views",
        ),
    },
)
