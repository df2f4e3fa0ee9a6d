"""What still works where a source hides most of what it knows.

    export KERAS_REPROGRAM_DATA=... KERAS_HOME=...
    python examples/benchmark/harsh_sources.py

The same source answers in full, rounded to 1/256, with its five largest scores only, with its
top label only, with noise, and with its temperature changed: the measures of `keras-reprogram
audit`. The map is fitted exactly on what comes out. Each image is asked once, and nothing is chosen
on test images. The table goes to stdout.
"""

from __future__ import annotations

import os
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from sources import source_choices
from targets import draw_target
from task import Task

from keras_reprogram import DenseMap, ReprogrammedModel
from keras_reprogram.audit import (
    AS_IT_IS,
    Measure,
    exact_map_accuracy,
    noisy,
    rounded,
    tempered,
    top_label,
    top_scores,
)

PAIRS = (("traffic_signs", "digits"), ("cifar10", "digits"), ("mobilenet_025_128", "cifar10"))
VIEWS = (1, 8)
MEASURES = (
    *(AS_IT_IS, rounded(1 / 256), top_scores(5), top_label(), noisy(0.01)),
    *(tempered(4.0), tempered(0.25)),
)


class Asked:
    """A task's answers under all views, and the exact map behind a measure.

    Attributes:
        task: source, images and seed.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.source = task, task.choice.opaque()
        program = task.plain_program(self.source, max(VIEWS))
        model = ReprogrammedModel(program, self.source, DenseMap(task.num_classes), seed=task.seed)
        data = task.data
        self.train = model.collect_scores(data.train_images, verbose=0)
        self.test = model.collect_scores(data.test_images, verbose=0)

    def accuracy(self, measure: Measure, num_views: int) -> float:
        """Test accuracy of the exact map behind one measure."""
        kind, step = self.source.score_kind, self.source.score_step
        train, test = (
            measure.apply(scores[:, :num_views], kind, step) for scores in (self.train, self.test)
        )
        data = self.task.data
        return exact_map_accuracy(
            train,
            data.train_labels,
            test,
            data.test_labels,
            num_classes=self.task.num_classes,
            seed=self.task.seed,
        )


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
                asked = Asked(Task(source_choices()[source], data, seed))
                for num_views in VIEWS:
                    for measure in MEASURES:
                        key = (source, target, measure.name, num_views)
                        found.setdefault(key, []).append(asked.accuracy(measure, num_views))
                    bar.advance(work)
    print("| source, target | scores | 1 view | 8 views |\n| --- | --- | ---: | ---: |")
    for source, target in chosen:
        for measure in MEASURES:
            cells = [found[source, target, measure.name, views] for views in VIEWS]
            shown = " | ".join(f"{np.mean(cell):.3f} ± {np.std(cell):.3f}" for cell in cells)
            print(f"| {source}, {target} | {measure.name} | {shown} |")


if __name__ == "__main__":
    typer.run(main)
