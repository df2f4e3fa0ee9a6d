"""Choosing views: a pool is shown to a few pilot images, the best of it are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.exact_fit import ExactFit, image_weights
from keras_reprogram.image_checks import most_probable_labels
from keras_reprogram.output_map.dense_map import DenseMap
from keras_reprogram.program.placement import Placement
from keras_reprogram.program.views import draw_views
from keras_reprogram.training.validation_split import draw_stratified
from keras_reprogram.training.view_selection import ViewOrder, ViewPool

# The pilot's share of the images: a quarter of the price of asking the whole pool for all.
_PILOT_SHARE = 0.25
# More pilot images hardly change the choice.
_LARGEST_PILOT = 300


@dataclass(frozen=True)
class ViewSelection:
    """Views that were chosen from a pool, and what each of them adds.

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
    from keras_reprogram.training import ViewPool

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


class ViewChoice(ExactFit):
    """The part of `ReprogrammedModel` that chooses views and changes them."""

    def select_views(
        self,
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
            x: images `(n, h, w, c)`.
            y: integer or one-hot labels. Of rows of probabilities the most probable class counts,
                and a warning says so.
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
        images, labels = self._pilot_data(x, y)
        weight = image_weights(labels, sample_weight, class_weight)
        num_views = num_views or self.queries_per_prediction
        if not 1 <= num_views <= pool_size:
            raise ValueError(
                f"`num_views` must lie between 1 and `pool_size`={pool_size}. "
                f"Received: num_views={num_views}. Draw a larger pool."
            )
        # Images without weight say nothing about views.
        counting = np.arange(len(labels)) if weight is None else np.flatnonzero(weight)
        pilot = counting[self._draw_pilot(labels[counting], pilot_images)]
        pool = self.draw_pool(pool_size, style)
        answers = self.pool_answers(pool, images[pilot], batch_size, verbose)
        weight = None if weight is None else weight[pilot]
        order = self.view_pool(answers, labels[pilot], weight).choose(num_views)
        chosen = Placement([pool.views[view] for view in order.views])
        return ViewSelection(chosen, order, pool, pilot, answers, answers.shape[0] * pool_size)

    def use_placement(self, placement: Placement) -> None:
        """Takes other views, as many as before; the output map has to be fitted again.

        Args:
            placement: as many views as the program has.

        Raises:
            ValueError: for another number of views, or a program without views.
        """
        self._needs_placement()
        self.program.use_placement(placement)
        # Compiled functions hold the old views as constants.
        self.train_function = self.test_function = self.predict_function = None
        self.__dict__.pop("_answer_batch", None)
        self.prepare_live_coordinates()

    def draw_pool(self, pool_size: int, style: str) -> Placement:
        """Views for this program's images, drawn with the program's own seed.

        Args:
            pool_size: how many.
            style: see `draw_views`.
        """
        program = self.program
        return draw_views(
            program.target_shape, program.source_shape, pool_size, program.seed, style
        )

    def pool_answers(
        self, pool: Placement, images: np.ndarray, batch_size: int = 64, verbose: Any = 0
    ) -> np.ndarray:
        """The source's answers to images under every view of a pool, counted as this model's.

        Args:
            pool: P views.
            images: `(n, h, w, c)`.
            batch_size: images at once.
            verbose: 0 for silence.

        Returns:
            Scores `(n, P, S)`.
        """
        self._needs_placement()
        self.check_replicas()
        config = {**self.program.get_config(), "placement": pool.get_config()}
        program = type(self.program).from_config(config)
        if not self.program.per_view:
            program.set_weights(self.program.get_weights())
        asking = type(self)(
            program, self.source, type(self.output_map).from_config(self.output_map.get_config())
        )
        try:
            # A pool multiplies each image: as many source images at once as the model asks.
            rows = max(1, batch_size * self.queries_per_prediction // pool.num_views)
            return asking.collect_scores(images, batch_size=rows, verbose=verbose)
        finally:
            self.add_queries(asking.queries_used, asking.asked_queries)

    def view_pool(
        self, answers: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> ViewPool:
        """What stored answers of a pool tell, on the features that a `DenseMap` reads.

        Args:
            answers: `(n, P, S)`.
            labels: `(n,)`.
            sample_weight: `(n,)` or `None`.
        """
        features = answers
        if self.source.scores in DenseMap.accepted_scores:
            reading = DenseMap(self.output_map.num_classes)
            reading.attach(self.source.scores, self.source.score_step)
            reading.adapt(answers)
            features = keras.ops.convert_to_numpy(reading.features(answers))
        flat = np.reshape(features, answers.shape)
        spread = np.maximum(flat.std(axis=0), 1e-6)
        features = flat if features is not answers else (flat - flat.mean(axis=0)) / spread
        return ViewPool(features, labels, self.output_map.num_classes, sample_weight)

    def _pilot_data(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        self._needs_placement()
        images = self.data_checks.image_set(x)
        return images, most_probable_labels(y, len(images), self.output_map.num_classes)

    def _needs_placement(self) -> None:
        if not hasattr(self.program, "use_placement"):
            raise ValueError(
                "Choosing views needs a program that places images, such as `ProgramLayer`. "
                f"Received: {type(self.program).__name__}."
            )

    def _draw_pilot(self, labels: np.ndarray, pilot_images: int | None) -> np.ndarray:
        wanted = pilot_images or min(int(_PILOT_SHARE * len(labels)), _LARGEST_PILOT)
        if wanted < 2 * len(np.unique(labels)):
            raise ValueError(
                "A pilot needs two images a class or more. "
                f"Received: {wanted} pilot images of {len(np.unique(labels))} classes. Give more "
                "images, or pass `pilot_images`."
            )
        return draw_stratified(labels, wanted, self.seed)
