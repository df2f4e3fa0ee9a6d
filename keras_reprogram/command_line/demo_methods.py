"""Methods of the demos: each learns digits with the traffic-sign source, or without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from keras_reprogram.asking.data import LabelledImages
from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.keras_sources import embedded_keras
from keras_reprogram.command_line.seed_run import Outcome, SeedRun, linear_head, no_source
from keras_reprogram.command_line.sources import resolve_source
from keras_reprogram.datasets import TargetData
from keras_reprogram.estimators import RandomDirections
from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.opaque.plan import plan_epochs
from keras_reprogram.opaque.recipe import Recipe, fit_epochs
from keras_reprogram.output_map import DenseMap, MultiLabelMap
from keras_reprogram.program import ProgramLayer
from keras_reprogram.source import PixelSource, Source, join_sources

NUM_VIEWS = 8
BEST = f"exact map, {NUM_VIEWS} views"
FREQUENCY = "frequency map, 4 to 1"
ZEROTH_ORDER = "1 view + zeroth-order"
WHITE_BOX = "white box: true gradients"
_ZEROTH_ORDER_EPOCHS = 2
_WHITE_BOX_EPOCHS = 5
_BATCH_SIZE = 25
# Where the image does not fill the canvas ("center"), the program has room around it.
_CENTERED_SIZE = 24


Method = Callable[[TargetData, int], Outcome]

QUIET = Progress(quiet=True)


def opaque_source() -> Source:
    """The embedded classifier as a black box: only scores come out of the `.tflite` file."""
    return resolve_source("traffic-signs", opaque=True).source


def without_source(data: TargetData, seed: int) -> Outcome:
    """The better of logistic regression and RBF-SVM on the pixels, chosen on validation."""
    return no_source(data, seed, QUIET)


def frequency_map(data: TargetData, seed: int) -> Outcome:
    """The papers' map: four source labels a digit, assigned by how often they come first."""
    model = _model(data, opaque_source(), MultiLabelMap(10, labels_per_class=4), seed)
    return _fit_map_and_test(model, data)


def exact_map(num_views: int) -> Method:
    """Logistic regression on the log-scores of `num_views` views."""

    def method(data: TargetData, seed: int) -> Outcome:
        model = _model(data, opaque_source(), DenseMap(10), seed, num_views=num_views)
        return _fit_map_and_test(model, data)

    return method


def joint_map(num_views: int) -> Method:
    """One exact map that reads the log-scores of `num_views` views, and the pixels."""

    def method(data: TargetData, seed: int) -> Outcome:
        pixels = PixelSource(data.target_shape, target_range=data.target_range)
        source = join_sources([opaque_source(), pixels])
        model = _model(data, source, DenseMap(10), seed, num_views=num_views)
        return _fit_map_and_test(model, data)

    return method


def map_of_pixels(data: TargetData, seed: int) -> Outcome:
    """The pixels' part of `joint_map` by itself: the same exact fit, on the pixels alone."""
    del seed
    pixels = PixelSource(data.target_shape, target_range=data.target_range)
    start = time.perf_counter()
    rows = keras.ops.convert_to_numpy(pixels(data.train_images))
    fit = fit_logistic_regression(rows, data.train_labels, num_classes=len(data.class_names))
    outcome = Outcome(0.0, len(data.test_labels), time.perf_counter() - start)
    logits = keras.ops.convert_to_numpy(pixels(data.test_images)) @ fit.kernel + fit.bias
    return outcome.measure(logits.argmax(axis=1), data.test_labels)


def zeroth_order(data: TargetData, seed: int) -> Outcome:
    """One view, then estimated gradients for a program of 8 x 8 weights over the image."""
    model = _model(
        data,
        opaque_source(),
        DenseMap(10),
        seed,
        estimator=RandomDirections(num_directions=4),
        grid=8,
        masked=False,
    )
    return _refine_and_test(model, data, _ZEROTH_ORDER_EPOCHS, 0.01, 0.001)


def white_box(data: TargetData, seed: int) -> Outcome:
    """The same source with its true gradients, for a program of one weight a pixel."""
    model = _model(data, embedded_keras(), DenseMap(10), seed, placement="center", masked=False)
    return _refine_and_test(model, data, _WHITE_BOX_EPOCHS, 0.02, 0.003)


def new_head(data: TargetData, seed: int) -> Outcome:
    """Logistic regression on the source's own features: plain transfer learning."""
    return linear_head(embedded_keras, data, seed, QUIET)


# Of `demo --full`, in the order of its table.
METHODS: dict[str, Method] = {
    "no source": without_source,
    FREQUENCY: frequency_map,
    "exact map, 1 view": exact_map(1),
    **{f"exact map, {views} views": exact_map(views) for views in (2, 4, NUM_VIEWS)},
    ZEROTH_ORDER: zeroth_order,
    WHITE_BOX: white_box,
    "white box: linear head": new_head,
}


def run_methods(
    methods: Mapping[str, Method], draws: Sequence[TargetData], console: Console
) -> dict[str, list[Outcome]]:
    """Each method's outcomes, one a draw; the number of a draw is its seed."""
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn())
    outcomes: dict[str, list[Outcome]] = {name: [] for name in methods}
    with Bar(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("starting", total=len(draws) * len(methods))
        for seed, data in enumerate(draws):
            for name, method in methods.items():
                bar.update(task, description=name)
                outcomes[name].append(method(data, seed))
                bar.advance(task)
        bar.update(task, description="done")
    return outcomes


def _model(
    data: TargetData,
    source: Source,
    output_map: keras.layers.Layer,
    seed: int,
    *,
    num_views: int = 1,
    estimator: RandomDirections | None = None,
    **options: Any,
) -> ReprogrammedModel:
    """A model with view 0 as the plain image on the whole canvas and an unmasked program."""
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        num_views=num_views,
        image_size=_CENTERED_SIZE,
        **{"placement": "views", **options},
    )
    return ReprogrammedModel(
        program, source, output_map, estimator, class_names=data.class_names, seed=seed
    )


def _fit_map_and_test(model: ReprogrammedModel, data: TargetData) -> Outcome:
    start = time.perf_counter()
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    return _tested(model, data, time.perf_counter() - start)


def _refine_and_test(
    model: ReprogrammedModel,
    data: TargetData,
    epochs: int,
    program_rate: float,
    map_rate: float,
) -> Outcome:
    """An exact map, then steps for program and map; what is best on validation is kept."""
    start = time.perf_counter()
    labels, plan = data.train_labels, plan_epochs(model, data.train_labels, epochs)
    images = LabelledImages(data.train_images, labels, labels, None)
    recipe = Recipe(model, images, plan.train, plan.validation, exact_map=False)
    model.compile(_two_rates(program_rate, map_rate), loss="sparse_categorical_crossentropy")
    recipe.ask()
    recipe.judge("map")
    recipe.improve(fit_epochs(recipe, epochs, _BATCH_SIZE))
    note = f"epoch {recipe.kept_epoch} of {epochs}"
    return _tested(model, data, time.perf_counter() - start, note)


def _two_rates(program_rate: float, map_rate: float) -> keras.optimizers.Optimizer:
    """The map starts at its exact solution and needs small steps, the program starts at zero."""
    rates = {"program/.*": keras.optimizers.Adam(program_rate)}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.Adam(map_rate), rates)
    )


def _tested(model: ReprogrammedModel, data: TargetData, seconds: float, note: str = "") -> Outcome:
    run = SeedRun(model, data)
    outcome = run.add("demo", seconds, note)
    run.test(outcome, QUIET)
    outcome.model = model
    return outcome
