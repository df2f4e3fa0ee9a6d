"""What still works where a source hides most of what it knows.

    export KERAS_REPROGRAM_DATA=... KERAS_HOME=...
    python examples/benchmark/harsh_sources.py

The same source answers in full, rounded to 1/256, with its five largest scores only, with its
first label only, with noise, and with its temperature changed; the map is fitted exactly on what
comes out. Nothing is chosen on test images. The table goes to stdout.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from sources import SourceChoice, source_choices
from targets import draw_target
from task import Task, accuracy

from keras_reprogram import DenseMap, OpaqueSource, ReprogrammedModel

PAIRS = (("traffic_signs", "digits"), ("cifar10", "digits"), ("mobilenet_025_128", "cifar10"))
VIEWS = (1, 8)
NOISE = 0.01


@dataclass(frozen=True)
class Harshness:
    """One way of hiding scores.

    Attributes:
        name: as in the table.
        change: probabilities `(n, S)` -> what comes out.
        score_step: what a user would declare as the scores' step.
        sums_to_one: whether rows are whole distributions.
    """

    name: str
    change: Callable[[np.ndarray], np.ndarray]
    score_step: float = 0.0
    sums_to_one: bool = False


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Only the `count` largest scores, the others 0."""
    smallest = np.sort(scores, axis=1)[:, -count][:, None]
    return np.where(scores >= smallest, scores, 0.0)


def warmed(scores: np.ndarray, temperature: float) -> np.ndarray:
    """`softmax(log(scores) / temperature)`."""
    powers = np.maximum(scores, 1e-30) ** (1.0 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def noisy(scores: np.ndarray) -> np.ndarray:
    """Gaussian noise, another one for every answer but the same in every run."""
    random = np.random.default_rng(zlib.crc32(scores.tobytes()))
    return np.maximum(scores + random.normal(0, NOISE, scores.shape), 0.0)


HARSHNESS = (
    Harshness("all scores", lambda scores: scores, sums_to_one=True),
    Harshness("rounded to 1/256", lambda scores: np.round(scores * 256) / 256, 1 / 256),
    Harshness("top 5 only", lambda scores: largest(scores, 5), 0.02),
    Harshness("first label only", lambda scores: np.eye(scores.shape[1])[scores.argmax(axis=1)]),
    Harshness(f"noise of {NOISE}", noisy, 2 * NOISE),
    Harshness("temperature 4", lambda scores: warmed(scores, 4.0), sums_to_one=True),
    Harshness("temperature 1/4", lambda scores: warmed(scores, 0.25), sums_to_one=True),
)


class Remembered:
    """A source whose answers are kept, so that each image is asked once for all harshnesses."""

    def __init__(self, choice: SourceChoice) -> None:
        self.source = choice.opaque()
        self.answers: dict[bytes, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Scores `(n, S)`."""
        keys = [image.tobytes() for image in images]
        new = [row for row, key in enumerate(keys) if key not in self.answers]
        if new:
            for row, answer in zip(new, self.source.ask(images[new]), strict=True):
                self.answers[keys[row]] = answer
        return np.stack([self.answers[key] for key in keys])

    def behind(self, harshness: Harshness) -> OpaqueSource:
        """The source as it looks from outside."""
        return OpaqueSource(
            lambda images: harshness.change(self(images)),
            self.source.source_shape,
            self.source.num_labels,
            value_range=self.source.value_range,
            identity=f"{self.source.identity} {harshness.name}",
            score_step=harshness.score_step,
            sum_tolerance="auto" if harshness.sums_to_one else None,
        )


def measure(task: Task, remembered: Remembered, harshness: Harshness, num_views: int) -> float:
    """Test accuracy of the exact map behind one harshness."""
    source = remembered.behind(harshness)
    program = task.plain_program(source, num_views)
    model = ReprogrammedModel(program, source, DenseMap(task.num_classes), seed=task.seed)
    model.fit_output_map(task.data.train_images, task.data.train_labels, verbose=0)
    return accuracy(task.predict(model), task.data.test_labels)


def main(
    pairs: Annotated[str, typer.Option(help="source:target by commas; default: three.")] = "",
    seeds: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2",
    images: Annotated[int, typer.Option(min=50, help="Most training and test images.")] = 1000,
) -> None:
    """Prints accuracy for each way of hiding scores, at 1 and 8 views."""
    chosen = [tuple(pair.split(":")) for pair in pairs.split(",") if pair] or PAIRS
    numbers = [int(seed) for seed in seeds.split(",")]
    found: dict[tuple[str, str, str, int], list[float]] = {}
    with Progress(console=Console(stderr=True)) as bar:
        work = bar.add_task("measuring", total=len(chosen) * len(numbers) * len(VIEWS))
        for source, target in chosen:
            for seed in numbers:
                data = draw_target(source, target, seed, images)
                task = Task(source_choices()[source], data, seed)
                remembered = Remembered(task.choice)
                for num_views in VIEWS:
                    for harshness in HARSHNESS:
                        reached = measure(task, remembered, harshness, num_views)
                        key = (source, target, harshness.name, num_views)
                        found.setdefault(key, []).append(reached)
                    bar.advance(work)
    print("| source, target | scores | 1 view | 8 views |\n| --- | --- | ---: | ---: |")
    for source, target in chosen:
        for harshness in HARSHNESS:
            cells = [found[source, target, harshness.name, views] for views in VIEWS]
            shown = " | ".join(f"{np.mean(cell):.3f} ± {np.std(cell):.3f}" for cell in cells)
            print(f"| {source}, {target} | {harshness.name} | {shown} |")


if __name__ == "__main__":
    typer.run(main)
