"""Pictures of what a program does to images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_reprogram.report.figure_style import QUIET, bare, new_figure, shorten, styled

MAX_COLUMNS = 12
MAX_VIEWS = 4
MAX_PROGRAMS = 8


@styled
def draw_source_images(
    target_images: Any,
    source_images: Any,
    value_range: tuple[float, float],
    titles: Sequence[str] | None = None,
    *,
    target_range: tuple[float, float] | None = None,
) -> Figure:
    """Draws target images over the source images that the program turns them into.

    Args:
        target_images: `(n, h, w, c)`, 1 or 3 channels. At most 12 are drawn.
        source_images: `(n, num_views, H, W, C)`. At most 4 views are drawn.
        value_range: Darkest and brightest value of the source images.
        titles: One title an image, such as its class; above the columns.
        target_range: Darkest and brightest value of the target images; by default the
            smallest and the largest among them.

    Returns:
        A `Figure`, one column an image: the target, then one row a view.

    Raises:
        ValueError: On other shapes, NaN, an empty range, or a wrong number of titles.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.report import draw_source_images

        digits = np.random.default_rng(0).uniform(0, 16, (3, 8, 8, 1))
        figure = draw_source_images(digits, np.zeros((3, 2, 32, 32, 3)), (-1, 1), ["4", "7", "1"])
        assert len(figure.axes) == 3 * (1 + 2)
        ```
    """
    targets = _checked(target_images, "target_images", "(n, h, w, c)")
    sources = _checked(source_images, "source_images", "(n, num_views, H, W, C)")
    _check_counts(targets, sources, titles)
    count, views = min(len(targets), MAX_COLUMNS), min(sources.shape[1], MAX_VIEWS)
    low_high = target_range or own_range(targets)
    rows = [("target", _displayable(targets, low_high, "target_range"))]
    shown = _displayable(sources, value_range, "value_range")
    rows += [
        (f"view {view + 1}" if views > 1 else "source", shown[:, view]) for view in range(views)
    ]
    figure = _picture_grid(
        [(label, list(images[:count])) for label, images in rows],
        f"{count} target images, each above the source images it becomes.",
    )
    for axes, title in zip(figure.axes, titles or [], strict=False):
        axes.set_title(shorten(title, 16))
    _say_what_is_missing(
        figure, (count, len(targets), "images"), (views, sources.shape[1], "views")
    )
    return figure


def one_if_shared(program_images: np.ndarray) -> np.ndarray:
    """The programs of all views, or the only one where all views have the same."""
    shared = (program_images == program_images[:1]).all()
    return program_images[:1] if shared else program_images


@styled
def draw_program(program_images: Any, value_range: tuple[float, float]) -> Figure:
    """Draws the program itself, as the source would see it without an image.

    A program that uses less than half of the range gets a second row with its contrast
    stretched around mid-range, so that a faint one can be seen too.

    Args:
        program_images: `(num_views or 1, H, W, C)`, 1 or 3 channels, mid-range where the
            program is zero. At most 8 are drawn.
        value_range: Darkest and brightest value.

    Returns:
        A `Figure`, one column a view.

    Raises:
        ValueError: On another shape, NaN, or an empty range.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.report import draw_program

        figure = draw_program(np.full((1, 32, 32, 3), 0.2), (-1, 1))
        assert len(figure.axes) == 2  # as it is, and with its contrast stretched
        ```
    """
    programs = _checked(program_images, "program_images", "(num_views or 1, H, W, C)")
    count = min(len(programs), MAX_PROGRAMS)
    shown = _displayable(programs, value_range, "value_range")[:count]
    rows = [("program", list(shown))]
    reach = float(np.abs(shown - 0.5).max())
    if 1e-9 < reach <= 0.25:
        gain = 0.5 / reach
        rows.append((f"contrast\n× {gain:,.3g}", list(0.5 + (shown - 0.5) * gain)))
    figure = _picture_grid(rows, f"The program, for {count} view(s), as an image.", cell=2.2)
    if count > 1:
        for view in range(count):
            figure.axes[view].set_title(f"view {view + 1}")
    _say_what_is_missing(figure, (count, len(programs), "views"))
    return figure


def _picture_grid(
    rows: Sequence[tuple[str, list[np.ndarray]]], description: str, cell: float = 1.1
) -> Figure:
    columns = len(rows[0][1])
    aspects = [images[0].shape[0] / images[0].shape[1] for _, images in rows]
    heights = [cell * min(max(aspect, 0.2), 4.0) for aspect in aspects]
    # Room for the row labels, and for titles and the note under the pictures.
    figure = new_figure(columns * cell + 1.2, sum(heights) + 0.6, description)
    grid = figure.subplots(
        len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for line, (label, images) in zip(grid, rows, strict=True):
        for axes, image in zip(line, images, strict=True):
            _show(axes, image)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def _show(axes: Axes, image: np.ndarray) -> None:
    pixels = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    bare(axes).imshow(np.clip(pixels, 0.0, 1.0), interpolation="antialiased", aspect="equal")


def _say_what_is_missing(figure: Figure, *counts: tuple[int, int, str]) -> None:
    parts = [f"{shown} of {total} {noun}" for shown, total, noun in counts if shown < total]
    if parts:
        figure.supxlabel(", ".join(parts) + " shown", fontsize=8, color=QUIET)


def _checked(images: Any, name: str, form: str) -> np.ndarray:
    array = np.asarray(images, dtype="float64")
    if array.ndim != form.count(",") + 1 or array.size == 0 or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"Expected `{name}` of shape {form} with 1 or 3 channels, not empty. Received: "
            f"shape {array.shape}. Add the missing axis, for example images[..., None]."
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"Expected finite pixels in `{name}`. Received: NaN or infinity in "
            f"{int((~np.isfinite(array)).sum())} values. Check the model that made them."
        )
    return array


def _check_counts(targets: np.ndarray, sources: np.ndarray, titles: Any) -> None:
    if len(targets) != len(sources) or (titles is not None and len(titles) != len(targets)):
        raise ValueError(
            "Expected as many source images, and titles if any, as target images. Received: "
            f"{len(targets)} targets, {len(sources)} sources, "
            f"{'no' if titles is None else len(titles)} titles. Slice them alike."
        )


def own_range(images: np.ndarray) -> tuple[float, float]:
    """`(darkest, brightest)` value of images, never empty."""
    low, high = float(images.min()), float(images.max())
    return (low, high) if high > low else (low, low + 1.0)


def _displayable(images: np.ndarray, value_range: tuple[float, float], name: str) -> np.ndarray:
    low, high = (float(end) for end in value_range)
    if not low < high:
        raise ValueError(
            f"Expected `{name}` = (low, high) with low < high. Received: {tuple(value_range)}. "
            "Pass the source's own value_range, such as (0, 255)."
        )
    return np.clip((images - low) / (high - low), 0.0, 1.0)
