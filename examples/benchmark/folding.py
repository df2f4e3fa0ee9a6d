"""How much faster does a frozen source answer with its BatchNormalization folded?

    export KERAS_HOME=...   # only where there is no network: MobileNetV2's weights
    python examples/benchmark/folding.py --json folding.json

A `FrozenSource` asks a view of its network in which each BatchNormalization is part of the
convolution before it. Here both are asked for the same images in turn: for the gradient of the
scores by the images, for the scores, and for the scores of a single image. What is compared are
ratios inside a round. The Markdown goes to stdout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import typer
from resumable import progress_bars
from rounds import in_turns, machine, machine_line, ratios, seconds_of, spread_text

from keras_reprogram import FrozenSource

WARM_UP_ROUNDS = 2
SINGLE_IMAGES = 10


def main(
    sizes: Annotated[list[int] | None, typer.Option("--size", help="May come again.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a call.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that are timed.")] = 11,
    alpha: Annotated[float, typer.Option(help="Width of MobileNetV2.")] = 1.0,
    trained: Annotated[
        bool, typer.Option(help="ImageNet's weights; without them they are random, as fast.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the figures are written.")
    ] = None,
) -> None:
    """Times a frozen source with and without folding."""
    found = []
    for size in sizes or [128, 224]:
        source = mobilenet_v2(size, alpha, trained)
        found.append({"size": size, "batch_size": batch_size} | measure(source, batch_size, rounds))
    print(table(found))
    if json_file is not None:
        text = json.dumps({"cases": found} | machine(), indent=2)
        json_file.write_text(text + "\n", encoding="utf-8")


def mobilenet_v2(size: int, alpha: float, trained: bool) -> FrozenSource:
    """MobileNetV2 as a source, with weights under which its scores differ from image to image."""
    options = {"alpha": alpha, "input_shape": (size, size, 3)}
    source = FrozenSource.from_application("MobileNetV2", weights=None, **options)
    if trained:
        # Those for 224 pixels at every size, so that one file is enough.
        source.model.set_weights(keras.applications.MobileNetV2(alpha=alpha).get_weights())
        return source
    # Keras's own random weights make every score the same, down to the last bit.
    random = np.random.default_rng(0)
    for variable in source.model.weights:
        if variable.name == "kernel":
            # The axes before the outputs: one channel of a depthwise kernel reads no other.
            inputs = np.prod(variable.shape[: 2 if variable.shape[-1] == 1 else -1])
            variable.assign(random.normal(0, np.sqrt(2 / inputs), variable.shape))
        else:
            middle = float(variable.name in ("gamma", "moving_variance"))
            variable.assign(random.uniform(middle - 0.5, middle + 0.5, variable.shape))
    return source


def measure(source: FrozenSource, batch_size: int, rounds: int) -> dict[str, Any]:
    """Seconds of every call in every round, by question and way."""
    scale, offset = source.preprocessing
    answers = {
        "folded": source.answer,
        "as it is": lambda images: source.model(images * scale + offset, training=False),
    }
    random = np.random.default_rng(0)
    pixels = random.uniform(*source.value_range, (batch_size, *source.source_shape))
    images = tf.constant(pixels, tf.float32)
    found = {name: questions(answer, images) for name, answer in answers.items()}
    seconds: dict[str, dict[str, list[float]]] = {}
    with progress_bars() as bars:
        for question in found["folded"]:
            ways = {name: partial(seconds_of, own[question]) for name, own in found.items()}
            name = f"{source.source_shape[0]} pixels, {question}"
            bar = bars.add_task(name, total=rounds + WARM_UP_ROUNDS)
            seconds[question] = in_turns(
                ways,
                rounds,
                warm_up=WARM_UP_ROUNDS,
                done=lambda number, bar=bar: bars.update(bar, completed=number),
            )
    folded, plain = (answer(images) for answer in answers.values())
    return {"seconds": seconds, "largest_difference": float(tf.reduce_max(abs(folded - plain)))}


def questions(answer: Callable[[Any], Any], images: Any) -> dict[str, Callable[[], Any]]:
    """What a source is asked, each compiled once."""
    scores = tf.function(answer, autograph=False)

    @partial(tf.function, autograph=False)
    def gradient(images: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            first = tf.reduce_sum(tf.math.log(answer(images)[:, 0]))
        return tape.gradient(first, images)

    def one_by_one() -> None:
        for _ in range(SINGLE_IMAGES):
            scores(images[:1]).numpy()

    return {
        "input gradient": lambda: gradient(images).numpy(),
        "forward": lambda: scores(images).numpy(),
        "single image": one_by_one,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| MobileNetV2 | as it is | folded | times faster |", "| --- | ---: | ---: | ---: |"]
    for case in found:
        for question, seconds in case["seconds"].items():
            calls = SINGLE_IMAGES if question == "single image" else 1
            count = "" if question == "single image" else f", batch {case['batch_size']}"
            plain, folded = ([one / calls for one in seconds[w]] for w in ("as it is", "folded"))
            lines.append(
                f"| {case['size']} pixels, {question}{count} | {spread_text(plain, 3)} s "
                f"| {spread_text(folded, 3)} s | {spread_text(ratios(plain, folded))} |"
            )
    largest = max(case["largest_difference"] for case in found)
    return "\n".join([*lines, "", f"Scores differ by at most {largest:.1g}. {machine_line()}"])


if __name__ == "__main__":
    typer.run(main)
