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
    """Runs a drawing function under the report's matplotlib settings."""
    return matplotlib.rc_context(_SETTINGS)(draw)


def new_figure(width: float, height: float, description: str) -> Figure:
    """An empty figure without pyplot; `description` becomes its alt text in HTML."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.set_label(description)
    return figure


def bare(axes: Axes) -> Axes:
    """Axes without ticks and frame, for a picture."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def shorten(text: object, length: int) -> str:
    """A name on one line of at most `length` characters, cut with an ellipsis."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
