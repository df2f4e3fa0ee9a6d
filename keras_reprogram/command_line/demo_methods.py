"""What the demo compares: each method learns digits with the traffic-sign source."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_reprogram.baselines import fit_linear_head, fit_no_source
from keras_reprogram.datasets import TargetData
from keras_reprogram.estimators import RandomDirections
from keras_reprogram.fitting.validation import split_validation, validation_score
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.output_map import DenseMap, MultiLabelMap, NewHead
from keras_reprogram.program import ProgramLayer
from keras_reprogram.source import FrozenSource, LiteRTSource, Source, embedded_path
from keras_reprogram.source.embedded import TRAFFIC_SIGN_LABELS

NUM_VIEWS = 8
BEST = f"exact map, {NUM_VIEWS} views"
FREQUENCY = "frequency map, 4 to 1"
ZEROTH_ORDER = "1 view + zeroth-order"
WHITE_BOX = "white box: true gradients"
_VALUE_RANGE = (0.0, 255.0)
_ZEROTH_ORDER_EPOCHS = 2
_WHITE_BOX_EPOCHS = 5
# Where the image does not fill the canvas ("center"), the program has room around it.
_CENTERED_SIZE = 24


@dataclass
class Outcome:
    """What one method reached with one seed."""

    accuracy: float
    seconds: float
    training_queries: int | None = None
    queries_per_prediction: int | None = None
    # Only methods that train a model leave one, with its answers to the test images.
    model: Any = None
    probabilities: Any = None
    note: str = ""


Method = Callable[[TargetData, int], Outcome]


def opaque_source() -> LiteRTSource:
    """The embedded classifier as a black box: only scores come out of the `.tflite` file."""
    return LiteRTSource(
        embedded_path("traffic_signs.tflite"), value_range=_VALUE_RANGE, labels=TRAFFIC_SIGN_LABELS
    )


def transparent_source(output: str = "scores") -> FrozenSource:
    """The same classifier as a Keras model: gradients and features can be had."""
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    return FrozenSource(
        network, value_range=_VALUE_RANGE, output=output, labels=TRAFFIC_SIGN_LABELS
    )


def no_source(data: TargetData, seed: int) -> Outcome:
    """The better of logistic regression and RBF-SVM on the pixels, chosen on validation."""
    start = time.perf_counter()
    baseline = fit_no_source(
        data.train_images, data.train_labels, num_classes=len(data.class_names), seed=seed
    )
    seconds = time.perf_counter() - start
    accuracy = baseline.evaluate(data.test_images, data.test_labels)
    return Outcome(accuracy, seconds, note=baseline.name)


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
    return _refine_and_test(model, data, seed, _ZEROTH_ORDER_EPOCHS, 0.01, 0.001)


def white_box(data: TargetData, seed: int) -> Outcome:
    """The same source with its true gradients, for a program of one weight a pixel."""
    model = _model(data, transparent_source(), DenseMap(10), seed, placement="center", masked=False)
    return _refine_and_test(model, data, seed, _WHITE_BOX_EPOCHS, 0.02, 0.003)


def linear_head(data: TargetData, seed: int) -> Outcome:
    """Logistic regression on the source's own features: plain transfer learning."""
    start = time.perf_counter()
    model = _model(data, transparent_source("features"), NewHead(10), seed)
    features = model.collect_scores(data.train_images, verbose=0)[:, 0]
    head = fit_linear_head(features, data.train_labels, num_classes=10, seed=seed)
    seconds, queries = time.perf_counter() - start, model.queries_used
    test = model.collect_scores(data.test_images, verbose=0)[:, 0]
    return Outcome(head.evaluate(test, data.test_labels), seconds, queries, 1)


# In the order of the table.
METHODS: dict[str, Method] = {
    "no source": no_source,
    FREQUENCY: frequency_map,
    "exact map, 1 view": exact_map(1),
    **{f"exact map, {views} views": exact_map(views) for views in (2, 4, NUM_VIEWS)},
    ZEROTH_ORDER: zeroth_order,
    WHITE_BOX: white_box,
    "white box: linear head": linear_head,
}


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
    """View 0 is the plain image on the whole canvas; a program over it must not be masked."""
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
    seed: int,
    epochs: int,
    program_rate: float,
    map_rate: float,
) -> Outcome:
    """An exact map, then steps for program and map; what is best on validation is kept.

    The map alone is one of the candidates, so that the result is never worse on validation.
    """
    start = time.perf_counter()
    train, held_out = split_validation(data.train_images, data.train_labels, seed=seed)
    x, y = data.train_images[train], data.train_labels[train]
    validation = data.train_images[held_out], data.train_labels[held_out]
    scores = model.collect_scores(data.train_images, verbose=0)
    model.fit_output_map(y=y, scores=scores[train])
    of_map = keras.ops.convert_to_numpy(model.output_map(scores[held_out]))
    best = validation_score(of_map, validation[1])
    kept, weights = 0, model.get_weights()
    model.compile(
        _two_rates(program_rate, map_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    for epoch in range(1, epochs + 1):
        model.fit(x, y, batch_size=25, epochs=epoch, initial_epoch=epoch - 1, verbose=0)
        score = validation_score(model.predict(validation[0], verbose=0), validation[1])
        if score.beats(best):
            best, kept, weights = score, epoch, model.get_weights()
    model.set_weights(weights)
    if not kept:
        # The map alone: on all answers, which are paid for.
        model.fit_output_map(y=data.train_labels, scores=scores)
    outcome = _tested(model, data, time.perf_counter() - start)
    outcome.note = f"epoch {kept} of {epochs}"
    return outcome


def _two_rates(program_rate: float, map_rate: float) -> keras.optimizers.Optimizer:
    """The map starts at its exact solution and needs small steps, the program starts at zero."""
    rates = {"program/.*": keras.optimizers.Adam(program_rate)}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.Adam(map_rate), rates)
    )


def _tested(model: ReprogrammedModel, data: TargetData, seconds: float) -> Outcome:
    queries = model.queries_used
    probabilities = model.predict(data.test_images, verbose=0)
    accuracy = float((probabilities.argmax(axis=1) == data.test_labels).mean())
    return Outcome(accuracy, seconds, queries, model.queries_per_prediction, model, probabilities)
