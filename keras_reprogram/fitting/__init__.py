"""Exact fits on stored answers: output maps and the choice of views."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_reprogram.fitting.map_fitting import MapFit, fit_logistic_regression
    from keras_reprogram.fitting.view_selection import READINGS, ViewOrder, ViewPool, solve_views

# Imported when asked for: a data set draws its images without a solver.
_PLACES = {
    "MapFit": "map_fitting",
    "READINGS": "view_selection",
    "ViewOrder": "view_selection",
    "ViewPool": "view_selection",
    "fit_logistic_regression": "map_fitting",
    "solve_views": "view_selection",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
