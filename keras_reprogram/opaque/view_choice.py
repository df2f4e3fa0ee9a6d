"""Choosing views: scores a pool of views on a few pilot images and keeps the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.arguments import is_image
from keras_reprogram.fitting.validation import draw_stratified, strata
from keras_reprogram.fitting.view_selection import ViewOrder, ViewPool
from keras_reprogram.output_map.dense_map import DenseMap
from keras_reprogram.program.placement import Placement
from keras_reprogram.program.views import draw_views, suggested_style

# The pilot's share of the images: a quarter of the price of asking the whole pool for all.
PILOT_SHARE = 0.25
# More pilot images hardly change the choice.
_LARGEST_PILOT = 300


@dataclass(frozen=True)
class ViewSelection:
    """Views chosen from a pool, and the gain of each.

    Args:
        placement: the chosen views, best first; `ProgramLayer(placement=...)` takes it.
        order: indices into the pool, with leave-one-out errors and accuracies of the pilot.
        pool: the pool itself.
        pilot: positions of the pilot images in `x`.
        answers: the source's answers to them, `(pilot, pool, S)`: paid for, and to be used again.
        queries_used: image queries that the pilot cost.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import ViewSelection, draw_views
    from keras_reprogram.fitting import ViewPool

    pool = draw_views((8, 8, 1), (32, 32, 3), num_views=3)
    answers = np.random.default_rng(0).normal(size=(20, 3, 5))
    order = ViewPool(answers, np.arange(20) % 2, num_classes=2).choose(2)
    selection = ViewSelection(pool, order, pool, np.arange(20), answers, queries_used=60)
    print(selection.to_markdown())
    ```
    """

    placement: Placement
    order: ViewOrder
    pool: Placement
    pilot: np.ndarray
    answers: np.ndarray
    queries_used: int

    @property
    def curve(self) -> list[tuple[int, float]]:
        """`(queries per prediction, pilot accuracy)`: what accuracy each further view buys.

        `report.draw_accuracy_over_queries({"chosen": curve}, of="a prediction")` draws it.
        """
        return list(enumerate(self.order.accuracies, start=1))

    def to_markdown(self) -> str:
        """The curve as a table: queries per prediction, accuracy, leave-one-out error."""
        rows = zip(self.order.views, self.order.accuracies, self.order.errors, strict=True)
        lines = ["| queries per prediction | pilot accuracy | error | view |", "|---|---|---|---|"]
        for number, (view, accuracy, error) in enumerate(rows, start=1):
            lines.append(f"| {number} | {accuracy:.3f} | {error:.4f} | {view} |")
        return "\n".join(lines)


def select_views(
    model: Any,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    pool_size: int = 48,
    num_views: int | None = None,
    pilot_images: int | None = None,
    style: str = "mixed",
    batch_size: int = 64,
    verbose: Any = "auto",
) -> ViewSelection:
    """Chooses the best views of a pool from few queries.

    A few pilot images are shown under every view of the pool, and views are added one by one,
    each the one that lowers the leave-one-out error most (`ViewPool`). The pilot costs
    `pilot_images * pool_size` queries. The model stays as it is: `use_placement` takes the
    result, or a new `ProgramLayer(placement=selection.placement)`.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)`.
        y: integer or one-hot labels. Of rows of probabilities the most probable class counts,
            and a warning says so. For a map of several findings rows `(n, K)` of 0 and 1.
        sample_weight: `(n,)`.
        class_weight: weight for each class, by index.
        pool_size: views to choose from.
        num_views: how many to choose; `None` for as many as the model has.
        pilot_images: images to ask, drawn with the classes' shares. `None` for a quarter of
            `x`, at most 300.
        style: of the pool's views, see `draw_views`. Every style has the plain image first.
        batch_size: images at once.
        verbose: 0 for silence.

    Returns:
        A `ViewSelection`.

    Raises:
        ValueError: for data that do not fit, a pool smaller than the choice, or too few images.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
    )

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                           placement="views", num_views=2)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
    x = np.random.default_rng(0).uniform(0, 255, (80, 8, 8, 1))
    y = np.arange(80) % 3
    selection = model.select_views(x, y, pool_size=6, verbose=0)
    assert selection.queries_used == 20 * 6
    model.use_placement(selection.placement)
    ```
    """
    check_placement(model)
    images = model.data_checks.image_set(x)
    labels = model.data_checks.learned_labels(y, len(images))
    weight = model.data_checks.weights(labels, sample_weight, class_weight)
    if weight is not None and weight.ndim == 2:
        weight = weight.mean(axis=1)
    num_views = num_views or model.queries_per_prediction
    if not 1 <= num_views <= pool_size:
        raise ValueError(
            f"`num_views` must lie between 1 and `pool_size`={pool_size}. "
            f"Received: num_views={num_views}. Draw a larger pool."
        )
    # Images of weight 0 do not contribute to the choice of views.
    counting = np.arange(len(labels)) if weight is None else np.flatnonzero(weight)
    pilot = counting[_draw_pilot(labels[counting], pilot_images, model.seed)]
    pool = draw_pool(model, pool_size, style)
    answers = pool_answers(model, pool, images[pilot], batch_size, verbose)
    weight = None if weight is None else weight[pilot]
    order = view_pool(model, answers, labels[pilot], weight).choose(num_views)
    chosen = Placement([pool.views[view] for view in order.views])
    return ViewSelection(chosen, order, pool, pilot, answers, answers.shape[0] * pool_size)


def draw_pool(model: Any, pool_size: int, style: str) -> Placement:
    """Views for the program's images, drawn with the program's own seed."""
    program = model.program
    return draw_views(program.target_shape, program.source_shape, pool_size, program.seed, style)


def pool_answers(
    model: Any, pool: Placement, images: np.ndarray, batch_size: int = 64, verbose: Any = 0
) -> np.ndarray:
    """Scores `(n, P, S)` of images under every view of a pool, counted as the model's queries."""
    check_placement(model)
    config = {**model.program.get_config(), "placement": pool.get_config()}
    program = type(model.program).from_config(config)
    asker = model.asker.under(program)
    if not model.program.per_view:
        program.set_weights(model.program.get_weights())
    # A pool multiplies each image: as many source images at once as the model asks.
    rows = max(1, batch_size * model.queries_per_prediction // pool.num_views)
    return asker.ask(images, batch_size=rows, verbose=verbose)[0]


def view_pool(
    model: Any, answers: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> ViewPool:
    """A `ViewPool` of answers `(n, P, S)`, on the features that a `DenseMap` reads."""
    source, num_classes = model.source, model.output_map.num_classes
    features = answers
    if source.score_kind in DenseMap.accepted_scores:
        reading = DenseMap(num_classes)
        reading.attach(source.score_kind, source.score_step)
        reading.adapt(answers)
        features = keras.ops.convert_to_numpy(reading.features(answers))
    flat = np.reshape(features, answers.shape)
    spread = np.maximum(flat.std(axis=0), 1e-6)
    features = flat if features is not answers else (flat - flat.mean(axis=0)) / spread
    return ViewPool(features, labels, num_classes, sample_weight)


def check_placement(model: Any) -> None:
    """Refuses a program with fixed views."""
    if not isinstance(model.program.placement, Placement):
        raise ValueError(
            "Choosing views needs a program that places images, such as `ProgramLayer`. "
            f"Received: {type(model.program).__name__}."
        )


def sees_untouched(model: Any) -> bool:
    """Whether the source sees images best as they are: colour pictures, and many labels."""
    if not is_image(model.program.target_shape):
        return False
    channels = model.program.target_shape[2]
    return suggested_style(channels, model.source.num_labels) == "gentle"


def _draw_pilot(labels: np.ndarray, pilot_images: int | None, seed: int) -> np.ndarray:
    wanted = pilot_images or min(int(PILOT_SHARE * len(labels)), _LARGEST_PILOT)
    num_classes = len(np.unique(strata(labels)))
    if wanted < 2 * num_classes:
        raise ValueError(
            "A pilot needs at least two images per class. "
            f"Received: {wanted} pilot images of {num_classes} classes. Give more "
            "images, or pass `pilot_images`."
        )
    return draw_stratified(labels, wanted, seed)
