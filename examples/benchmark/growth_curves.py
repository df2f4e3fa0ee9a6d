"""How do time and memory of the pipeline's stages grow with images, views, labels and classes?

    export KERAS_HOME=...   # only where there is no network: MobileNet's weights
    python examples/benchmark/growth_curves.py --csv growth_curves.csv --plot growth_curves.png

Each point runs in a process of its own, `--rounds` times: target images are placed under the views
of a program (`place`), the source answers (`ask`), the exact map is fitted on the answers (`fit`)
and read (`read`). One quantity grows, the others stay at 2,000 images, 1 view, 43 labels and 10
classes. The images are digits, repeated under fresh noise; the source of 43 labels is the built-in
one. Two sweeps are not of one real task, since none has that many: with other numbers of labels
the answers are the first columns of MobileNet 0.25's, asked about 1,000 digits and repeated
with noise on their logarithms, and with other numbers of classes the classes are drawn from a
random linear map of the answers. Only `fit` and `read` are timed there.

A point is a row of the CSV file: stop with Ctrl-C and start again. The table of slopes, on
logarithmic axes, goes to stdout.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from csv_rows import read_rows
from matplotlib.figure import Figure
from resumable import do_missing
from rounds import fresh_process

from keras_reprogram.report.figure_style import COLORS, MARKERS, new_figure, styled

STAGES = ("place", "ask", "fit", "read")
OWN_LABELS = 43
# As many images as a part of them that is placed and asked at once.
PART = 500


@dataclass(frozen=True)
class Size:
    """What a point of a curve has, and which of its numbers grows along the curve."""

    grows: str
    images: int = 2000
    views: int = 1
    labels: int = OWN_LABELS
    classes: int = 10

    @property
    def key(self) -> tuple[str, int]:
        return (self.grows, getattr(self, self.grows))


@dataclass(frozen=True)
class Point:
    """Seconds of each stage, a median over rounds; `None` where a stage was not run.

    Attributes:
        megabytes: that the process's peak grew by in the first fit, the answers being there.
        others: of `Size`.
    """

    grows: str
    images: int
    views: int
    labels: int
    classes: int
    place: float | None
    ask: float | None
    fit: float
    read: float
    megabytes: float

    @property
    def key(self) -> tuple[str, int]:
        return (self.grows, getattr(self, self.grows))

    @property
    def line(self) -> str:
        """What is shown when the point is there."""
        seconds = ((stage, getattr(self, stage)) for stage in STAGES)
        times = ", ".join(f"{stage} {one:.2f} s" for stage, one in seconds if one is not None)
        return f"{self.key[1]:,} {self.grows}: {times}, {self.megabytes:,.0f} MB"


SWEEPS = {
    "images": (1_000, 10_000, 100_000),
    "views": (1, 2, 4, 8, 16, 32),
    "labels": (2, 10, 100, 1000),
    "classes": (2, 10, 50, 200),
}
QUICK = {"images": (100, 400), "views": (1, 4), "labels": (2, 20), "classes": (2, 20)}


def main(
    csv: Annotated[Path, typer.Option(help="Points are kept here.")] = Path("growth_curves.csv"),
    plot: Annotated[Path | None, typer.Option(help="Where a picture is drawn.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that a stage runs.")] = 3,
    quick: Annotated[bool, typer.Option(help="Small numbers: for a first look.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Start no point after that.")] = None,
) -> None:
    """Measures how the pipeline's stages grow."""
    whole = do_missing(
        list(sizes(quick)),
        csv,
        minutes,
        key=lambda size: size.key,
        execute=partial(in_fresh_process, rounds=rounds),
        expected_seconds=lambda points, size: 0.0,
        kind=Point,
    )
    points = read_rows(csv, Point)
    print(table(points))
    if plot is not None and points:
        draw(points).savefig(plot, dpi=150)
    if not whole:
        raise typer.Exit(130)


def sizes(quick: bool) -> Iterator[Size]:
    """All points."""
    for grows, numbers in (QUICK if quick else SWEEPS).items():
        for number in numbers:
            size = replace(Size(grows), **{grows: number})
            yield replace(size, images=QUICK["images"][1]) if quick and grows != "images" else size


def in_fresh_process(size: Size, rounds: int) -> Point:
    """A point; its peak memory is its own."""
    with fresh_process() as process:
        return process.submit(measure, size, rounds).result()


def measure(size: Size, rounds: int) -> Point:
    """Runs the stages of a point.

    Args:
        size: of what is asked and fitted.
        rounds: times that each stage runs.
    """
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    if size.grows in ("labels", "classes"):
        scores = mobilenet_answers(size.images)[..., : size.labels]
        scores = scores / scores.sum(axis=-1, keepdims=True)
        labels = drawn_classes(scores, size.classes)
    else:
        images, labels = digits(size.images)
        place, ask = own_stages(size.views)
        place(images[:PART]), ask(place(images[:PART]))
        for _ in range(rounds):
            scores, took = placed_and_asked(images, place, ask)
            for stage, one in took.items():
                seconds[stage].append(one)
    megabytes = 0.0
    for number in range(rounds):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read, took = fitted(scores, labels, size.classes)
        seconds["fit"].append(took)
        if not number:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            megabytes = (peak - before) / 1024
        start = time.perf_counter()
        read()
        seconds["read"].append(time.perf_counter() - start)
    medians = {stage: statistics.median(own) if own else None for stage, own in seconds.items()}
    return Point(
        size.grows,
        size.images,
        size.views,
        size.labels,
        size.classes,
        **medians,
        megabytes=megabytes,
    )


def fitted(
    scores: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[Callable[[], np.ndarray], float]:
    """An exact map on answers `(n, V, S)`: what reads them, and the seconds of the fit."""
    from keras_reprogram import DenseMap
    from keras_reprogram.fitting import fit_logistic_regression

    start = time.perf_counter()
    output_map = DenseMap(classes)
    output_map.adapt(scores)
    features = np.asarray(output_map.features(scores))
    fit = fit_logistic_regression(features, labels, num_classes=classes)
    took = time.perf_counter() - start
    return lambda: np.asarray(output_map.features(scores)) @ fit.kernel + fit.bias, took


def placed_and_asked(
    images: np.ndarray, place: Callable[[Any], Any], ask: Callable[[Any], Any]
) -> tuple[np.ndarray, dict[str, float]]:
    """Answers `(n, V, S)`, part by part, and the seconds of both stages."""
    took, answers = dict.fromkeys(("place", "ask"), 0.0), []
    for start in range(0, len(images), PART):
        began = time.perf_counter()
        views = place(images[start : start + PART])
        placed = time.perf_counter()
        answers.append(ask(views))
        took["place"] += placed - began
        took["ask"] += time.perf_counter() - placed
    return np.concatenate(answers), took


def own_stages(views: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Places digits under views; asks the built-in source about them, 500 images a call."""
    import tensorflow as tf
    from sources import source_choices

    from keras_reprogram import ProgramLayer

    source = source_choices()["traffic_signs"].transparent()
    program = ProgramLayer(
        (8, 8, 1),
        source.source_shape,
        source_range=source.value_range,
        target_range=(0, 16),
        placement="gentle_views",
        num_views=views,
        masked=False,
        seed=0,
    )
    placing = tf.function(program, autograph=False, reduce_retracing=True)
    asking = tf.function(source, autograph=False, reduce_retracing=True)

    def ask(placed: np.ndarray) -> np.ndarray:
        flat = placed.reshape(-1, *source.source_shape)
        parts = (flat[i : i + PART] for i in range(0, len(flat), PART))
        answers = np.concatenate([asking(tf.constant(part)).numpy() for part in parts])
        return answers.reshape(len(placed), views, -1)

    return lambda images: placing(tf.constant(images)).numpy(), ask


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, repeated under noise of a level or so."""
    from keras_reprogram.datasets import load_target

    data = load_target("digits")
    chosen = np.arange(count) % len(data.train_images)
    noise = np.random.default_rng(0).normal(0, 1, (count, *data.target_shape)) * (
        np.arange(count) >= len(data.train_images)
    ).reshape(-1, 1, 1, 1)
    images = np.clip(data.train_images[chosen] + noise, 0, 16).astype(np.float32)
    return images, data.train_labels[chosen]


@cache
def mobilenet_answers(count: int, real: int = 1000) -> np.ndarray:
    """Answers `(n, 1, 1000)` of MobileNet 0.25 to digits, repeated with noise on the logarithms."""
    from sources import source_choices

    from keras_reprogram import ProgramLayer

    source = source_choices()["mobilenet_025_128"].transparent()
    program = ProgramLayer(
        (8, 8, 1), source.source_shape, source_range=source.value_range, target_range=(0, 16),
        placement="gentle_views", num_views=1, masked=False,
    )  # fmt: skip
    images, _ = digits(min(count, real))
    parts = (np.asarray(program(images[i : i + 50]))[:, 0] for i in range(0, len(images), 50))
    answers = np.concatenate([np.asarray(source(part)) for part in parts])
    chosen = np.arange(count) % len(answers)
    noise = np.random.default_rng(1).normal(0, 0.1, (count, answers.shape[1]))
    repeated = (
        np.log(np.maximum(answers[chosen], 1e-12)) + noise * (chosen < np.arange(count))[:, None]
    )
    scores = np.exp(repeated)
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), np.float32)[:, None]


def drawn_classes(scores: np.ndarray, classes: int) -> np.ndarray:
    """Classes that a random linear map of log-scores draws, a tenth of them anew."""
    random = np.random.default_rng(2)
    logs = np.log(np.maximum(scores.reshape(len(scores), -1), 1e-12))
    logs = (logs - logs.mean(axis=0)) / (logs.std(axis=0) + 1e-6)
    # Every class is the first of as many images as any other, roughly.
    votes = logs @ random.normal(size=(logs.shape[1], classes))
    labels = (votes - votes.mean(axis=0)).argmax(axis=1)
    anew = random.random(len(labels)) < 0.1
    return np.where(anew, random.integers(0, classes, len(labels)), labels)


def slope(points: Sequence[Point], stage: str) -> float | None:
    """Exponent of the growth of a stage, by least squares on logarithms."""
    values = [(point.key[1], getattr(point, stage)) for point in points]
    known = [(number, value) for number, value in values if value is not None and value > 0]
    if len(known) < 2:
        return None
    x, y = np.log(np.array(known, float)).T
    return float(np.polyfit(x, y, 1)[0])


def last_slope(points: Sequence[Point], stage: str) -> float | None:
    """The exponent between the two largest numbers, where fixed costs weigh least."""
    return slope(sorted(points, key=lambda point: point.key)[-2:], stage)


def table(points: Sequence[Point]) -> str:
    """Times, and the exponents of growth: 1 is linear."""
    head = [*STAGES, "peak of the fit"]
    lines = []
    for grows in SWEEPS:
        own = sorted((p for p in points if p.grows == grows), key=lambda point: point.key)
        if not own:
            continue
        lines += [f"| {grows} | {' | '.join(head)} |", "| ---: |" + " ---: |" * len(head)]
        for point in own:
            cells = [_seconds(getattr(point, stage)) for stage in STAGES]
            lines.append(f"| {point.key[1]:,} | {' | '.join(cells)} | {point.megabytes:,.0f} MB |")
        columns = (*STAGES, "megabytes")
        for name, found in (("exponent", slope), ("exponent at the end", last_slope)):
            cells = [_exponent(found(own, stage)) for stage in columns]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"


def _exponent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


@styled
def draw(points: Sequence[Point]) -> Figure:
    """Time and memory over each quantity that grows, on logarithmic axes.

    Args:
        points: as `read_rows` gives them.

    Returns:
        A `Figure`: seconds above, memory below, a dotted line that is linear.
    """
    sweeps = [grows for grows in SWEEPS if any(point.grows == grows for point in points)]
    figure = new_figure(
        2.6 * len(sweeps) + 0.6, 4.8, "Time and memory over " + ", ".join(sweeps) + "."
    )
    panels = figure.subplots(2, len(sweeps), squeeze=False, sharex="col", sharey="row")
    for column, grows in enumerate(sweeps):
        own = sorted((p for p in points if p.grows == grows), key=lambda point: point.key)
        numbers = [point.key[1] for point in own]
        above, below = panels[:, column]
        for number, stage in enumerate(STAGES):
            if (values := [getattr(point, stage) for point in own])[0] is not None:
                look = {"color": COLORS[number], "marker": MARKERS[number]}
                above.plot(numbers, values, label=stage, **look)
        largest = max(point.fit for point in own)
        linear = [largest * number / numbers[-1] for number in numbers]
        above.plot(numbers, linear, color="black", linestyle=":", linewidth=1.0, label="linear")
        below.plot(
            numbers, [max(point.megabytes, 1.0) for point in own], color=COLORS[2], marker="^"
        )
        above.set_title(grows)
        below.set_xlabel(grows)
        for axes in (above, below):
            axes.set(xscale="log", yscale="log")
            axes.grid(True)
    panels[0, 0].set_ylabel("seconds")
    panels[1, 0].set_ylabel("peak of the fit, MB")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


if __name__ == "__main__":
    typer.run(main)
