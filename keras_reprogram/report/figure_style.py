"""One look for every figure, independent of the user's matplotlib settings."""

from collections.abc import Callable
from typing import Any, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2933"
QUIET = "#7b8794"
BLUE = "#0072B2"

# Okabe and Ito's colour-blind safe set, without its yellow, which vanishes on white.
COLORS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Any: matplotlib types the keys in its later versions only.
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "text.usetex": False,
    # Class names are data: a "$" in one must not start a formula.
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.facecolor": "white",
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#e4e7eb",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "image.origin": "upper",
}

Drawing = TypeVar("Drawing", bound=Callable[..., Figure])


def styled(draw: Drawing) -> Drawing:
    """Makes a drawing function use the report's style and leave the user's untouched.

    Args:
        draw: A function that returns a `Figure`.

    Returns:
        The same function, run under the report's matplotlib settings.

    Example:
        ```python
        from keras_reprogram.report.figure_style import new_figure, styled

        @styled
        def draw_nothing():
            return new_figure(2, 1, "An empty figure")
        ```
    """
    return matplotlib.rc_context(_SETTINGS)(draw)


def new_figure(width: float, height: float, description: str) -> Figure:
    """Makes an empty figure without pyplot: no window, no global list of figures.

    Args:
        width: Width in inches.
        height: Height in inches.
        description: What the figure shows, in words; becomes the alt text in HTML.

    Returns:
        A white `Figure` with constrained layout, its label set to the description.

    Example:
        ```python
        from keras_reprogram.report.figure_style import new_figure

        assert new_figure(4, 3, "Accuracy").get_label() == "Accuracy"
        ```
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.set_label(description)
    return figure


def bare(axes: Axes) -> Axes:
    """Takes ticks and frame off axes that hold a picture; their y label stays.

    Args:
        axes: The axes to strip.

    Returns:
        The same axes.

    Example:
        ```python
        from keras_reprogram.report.figure_style import bare, new_figure

        axes = bare(new_figure(2, 2, "A picture").subplots())
        assert len(axes.get_xticks()) == 0
        ```
    """
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def shorten(text: object, length: int) -> str:
    """Cuts a name to a length that fits, with an ellipsis, on one line.

    Args:
        text: The name.
        length: Most characters, the ellipsis included.

    Returns:
        At most `length` characters without a line break.

    Example:
        ```python
        from keras_reprogram.report.figure_style import shorten

        assert shorten("speed limit", 6) == "speed…"
        ```
    """
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
