"""What share of a zeroth-order training step is the source's own forward pass?

    export KERAS_HOME=...   # only where there is no network: MobileNet's weights
    python examples/benchmark/throughput.py

Whole training steps are timed against the source alone on as many images in calls of the same
size, in turn, so that whatever else the machine does meets both alike; what is reported are ratios
inside a round. On a busy machine the share of processor time is steadier than that of wall time.
The Markdown goes to stdout, `--json` writes the figures into a file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import typer

from keras_reprogram import (
    FrozenSource,
    MultiLabelMap,
    ProgramLayer,
    RandomDirections,
    ReprogrammedModel,
)
from keras_reprogram.datasets import load_target

GRID = 16
WARM_UP_ROUNDS = 3


@dataclass(frozen=True)
class Measurement:
    """What the rounds gave.

    Attributes:
        source_shape: of one source image.
        batch_size: target images a step.
        directions: one-sided differences an image.
        images_per_step: source images a step, the clean ones included.
        calls_per_step: calls of the source a step: one for the clean answers, one for all others.
        rounds: steps that were timed.
        step_seconds: median of whole steps.
        source_seconds: median of the source alone.
        program_seconds: median of making the candidates' images alone.
        share: median over the rounds of source / step, in wall time.
        share_low: first quartile of the share.
        share_high: third quartile of the share.
        processor_share: median over the rounds of source / step, in processor time.
    """

    source_shape: tuple[int, int, int]
    batch_size: int
    directions: int
    images_per_step: int
    calls_per_step: float
    rounds: int
    step_seconds: float
    source_seconds: float
    program_seconds: float
    share: float
    share_low: float
    share_high: float
    processor_share: float


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Target images a step.")] = 32,
    directions: Annotated[int, typer.Option(min=1, help="Differences an image.")] = 8,
    trained: Annotated[
        bool, typer.Option(help="ImageNet's weights; without them they are random, as fast.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the figures are written.")
    ] = None,
) -> None:
    """Measures the share of the source's forward pass in a training step."""
    source = FrozenSource.from_application(
        "MobileNet",
        weights="imagenet" if trained else None,
        alpha=0.25,
        input_shape=(128, 128, 3),
        max_batch=max(256, batch_size),
    )
    measurement = measure(source, batch_size, directions, rounds)
    print(markdown(measurement))
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(measurement), indent=2) + "\n", encoding="utf-8")


def measure(source: FrozenSource, batch_size: int, directions: int, rounds: int) -> Measurement:
    """Times whole steps, the source alone and the program alone, in turn.

    Args:
        source: with `max_batch` images a call at least as many as `batch_size`.
        batch_size: target images a step.
        directions: differences an image.
        rounds: how many of each are timed.

    Returns:
        A `Measurement`.
    """
    digits = load_target("digits")
    images = digits.train_images[:batch_size].astype(np.float32)
    labels = digits.train_labels[:batch_size]
    calls = _count_calls(source)
    model = _model(source, digits.target_shape, directions)
    timed: dict[str, Callable[[], Any]] = {
        "step": lambda: model.train_on_batch(images, labels),
        "source": _source_alone(source, batch_size, directions),
        "program": _program_alone(model, images, directions),
    }
    for _ in range(WARM_UP_ROUNDS):
        for action in timed.values():
            action()
    wall: dict[str, list[float]] = {name: [] for name in timed}
    processor: dict[str, list[float]] = {name: [] for name in timed}
    queries, calls_of_steps = model.queries_used, 0
    for _ in range(rounds):
        for name, action in timed.items():
            before = int(calls.numpy())
            start, start_processor = time.perf_counter(), time.process_time()
            action()
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - start_processor)
            calls_of_steps += (name == "step") * (int(calls.numpy()) - before)
    shares = np.divide(wall["source"], wall["step"])
    return Measurement(
        source.source_shape,
        batch_size,
        directions,
        (model.queries_used - queries) // rounds,
        calls_of_steps / rounds,
        rounds,
        *(float(np.median(wall[name])) for name in timed),
        *(float(np.quantile(shares, level)) for level in (0.5, 0.25, 0.75)),
        float(np.median(np.divide(processor["source"], processor["step"]))),
    )


def markdown(measurement: Measurement) -> str:
    """The figures as a Markdown table.

    Args:
        measurement: from `measure`.
    """
    m = measurement
    height, width, _ = m.source_shape
    facts = (
        f"{m.batch_size} target images a step, {m.directions} directions an image, "
        f"source images of {height} x {width}"
    )
    rows = {
        "source images a step": f"{m.images_per_step}",
        "calls of the source a step": f"{m.calls_per_step:g}",
        "whole step, median": f"{1000 * m.step_seconds:.0f} ms",
        "source's forward pass alone, median": f"{1000 * m.source_seconds:.0f} ms",
        "candidates' images alone, median": f"{1000 * m.program_seconds:.0f} ms",
        "share of the forward pass, median of wall time": f"{m.share:.1%}",
        "quartiles of the share": f"{m.share_low:.1%} to {m.share_high:.1%}",
        "share of the forward pass, median of processor time": f"{m.processor_share:.1%}",
        "source images a second of training": f"{m.images_per_step / m.step_seconds:,.0f}",
    }
    lines = [f"| {facts} | {m.rounds} rounds |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])


def _model(
    source: FrozenSource, target_shape: tuple[int, int, int], directions: int
) -> ReprogrammedModel:
    program = ProgramLayer(
        target_shape,
        source.source_shape,
        source_range=source.value_range,
        placement="full",
        grid=GRID,
        masked=False,
    )
    estimator = RandomDirections(num_directions=directions)
    output_map = MultiLabelMap(10, assignment="random")
    model = ReprogrammedModel(program, source, output_map, gradient_estimator=estimator)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def _count_calls(source: FrozenSource) -> tf.Variable:
    """Counts, in the graph, how often the source's network runs."""
    calls, answer = tf.Variable(0, dtype=tf.int64), source.answer

    def counted(images: Any) -> Any:
        calls.assign_add(1)
        return answer(images)

    source.answer = counted
    return calls


def _source_alone(source: FrozenSource, batch_size: int, directions: int) -> Callable[[], Any]:
    """As many images as a step asks, in calls of the same size."""
    total = batch_size * directions
    sizes = [
        batch_size,
        *(min(source.max_batch, total - i) for i in range(0, total, source.max_batch)),
    ]
    random = np.random.default_rng(0)
    parts = [
        tf.constant(random.uniform(*source.value_range, (size, *source.source_shape)), tf.float32)
        for size in sizes
    ]
    answer = tf.function(source, autograph=False, reduce_retracing=True)
    return lambda: [answer(part).numpy() for part in parts]


def _program_alone(
    model: ReprogrammedModel, images: np.ndarray, directions: int
) -> Callable[[], Any]:
    """What a candidate's images cost before the source sees them."""
    repeated = tf.constant(np.tile(images, (directions, 1, 1, 1)))
    size = int(np.prod(model.program.program_weights.shape))
    values = tf.constant(np.random.default_rng(0).normal(size=(len(repeated), size)), tf.float32)
    # The sum keeps the images from being copied out; nothing else is done with them.
    transform = tf.function(
        lambda rows, weights: tf.reduce_sum(model.program.transform(rows, weights)), autograph=False
    )
    return lambda: transform(repeated, values).numpy()


if __name__ == "__main__":
    sys.exit(typer.run(main))
