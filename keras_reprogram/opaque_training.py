"""OpaqueTraining: `fit_opaque`, the whole recipe for sources that only answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reprogram.exact_fit import check_groups, image_weights
from keras_reprogram.image_checks import check_every_class, most_probable_labels
from keras_reprogram.labelled_images import LabelledImages
from keras_reprogram.opaque_log import OpaqueFit
from keras_reprogram.opaque_recipe import OpaqueRecipe
from keras_reprogram.query_bar import QueryBar
from keras_reprogram.training.label_forms import labels_for
from keras_reprogram.training.validation_split import draw_stratified, split_validation
from keras_reprogram.view_choice import ViewChoice


class OpaqueTraining(ViewChoice):
    """The part of `ReprogrammedModel` that learns from queries alone, within a budget."""

    def fit_opaque(
        self,
        x: Any,
        y: Any,
        *,
        query_budget: int,
        validation_data: Any = None,
        validation_split: float = 0.2,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        groups: np.ndarray | None = None,
        choose_views: bool | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        verbose: Any = "auto",
    ) -> OpaqueFit:
        """Learns from queries alone: exact map, then views, then estimated steps while they pay.

        1. If the budget has room, a pilot looks for better views (`select_views`).
        2. Every image is asked once under every view, and the map is fitted exactly. Whether it
           reads all views or the first few of them is chosen on validation.
        3. What is left of the budget goes into epochs of estimated steps for the program. The
           steps' own clean answers refit the map, so that nothing is asked twice. Two epochs
           without a better validation loss end it.

        The budget is never exceeded but by repetitions after a service's failures, which a ledger's
        own budget bounds; validation counts. If it does not pay for all images, a
        stratified part of them is used. What is kept is never worse on validation than the map
        alone. In the end the map is fitted on training and held-out images together, unless
        `validation_data` was given. A model that was not compiled is compiled with Adam and
        cross-entropy if it comes to steps.

        Args:
            x: images `(n, h, w, c)`.
            y: integer or one-hot labels. Of rows of probabilities the most probable class counts,
                and a warning says so.
            query_budget: image queries that may be asked: `n * num_views` for views as they are,
                more to choose views and to train the program.
            validation_data: `(x, y)` of your own; `None` holds out a part of `x`.
            validation_split: that part, in (0, 1).
            sample_weight: `(n,)`. `validation_data` takes its own, `(x, y, sample_weight)`.
            class_weight: weight for each class, by index; of validation images too. Everything that
                is chosen is chosen by weighted validation figures.
            groups: `(n,)`; images with one value (a patient's, a track's) stay on one side of the
                split.
            choose_views: `False` keeps the program's views; `None` chooses others where view 0
                covers the whole canvas (`placement="views"` or `"full"`), not where the image was
                given a place with a frame around it.
            batch_size: images at once.
            progress: called with the number of queries asked so far, instead of the bar.
            verbose: 0 for silence.

        Returns:
            An `OpaqueFit`.

        Raises:
            ValueError: for data that do not fit, or a budget that does not pay for four images of
                every class.

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
        x = np.random.default_rng(0).uniform(0, 255, (60, 8, 8, 1))
        y = np.arange(60) % 3
        fit = model.fit_opaque(x, y, query_budget=200, verbose=0)
        assert fit.queries_used <= 200
        print(fit)
        ```
        """
        everything = self._labelled(x, y, sample_weight, class_weight)
        check_every_class(everything.labels, self.output_map.num_classes, self.class_names)
        everything.groups = check_groups(groups, len(everything))
        train, validation = self._parts(everything, validation_data, validation_split, class_weight)
        train, validation = self._affordable(train, validation, query_budget)
        if choose_views is None:
            choose_views = self._fills_the_canvas()
        if choose_views:
            self._needs_placement()
        bar = QueryBar(self, int(query_budget), verbose)
        fit = OpaqueRecipe(
            self,
            train,
            validation,
            refit_on_all=validation_data is None,
            query_budget=int(query_budget),
            choose_views=choose_views,
            batch_size=batch_size,
            progress=progress or bar.update,
        ).run()
        if progress is None:
            bar.finish()
        return fit

    def _labelled(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
    ) -> LabelledImages:
        images, targets = self.data_checks.arrays(x, y, sample_weight)[:2]
        labels = most_probable_labels(y, len(images), self.output_map.num_classes)
        weight = image_weights(labels, sample_weight, class_weight)
        return LabelledImages(images, labels, self._targets(targets, labels), weight)

    def _targets(self, targets: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The labels as the steps' loss takes them: as they came, if it reads those."""
        if not (self.compiled and self.estimates):
            return labels
        return labels_for(self.loss, targets, labels, self.output_map.num_classes)

    def _parts(
        self,
        everything: LabelledImages,
        validation_data: Any,
        validation_split: float,
        class_weight: dict[int, float] | None,
    ) -> tuple[LabelledImages, LabelledImages]:
        if validation_data is not None:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(validation_data)
            return everything, self._labelled(x, y, weight, class_weight)
        rows = split_validation(
            everything.images,
            everything.labels,
            validation_split,
            self.seed,
            everything.groups,
        )
        remaining = np.unique(everything.labels[rows[0]])
        if len(remaining) < 2:
            raise ValueError(
                "At least two classes must be left to learn from after whole groups were held out. "
                f"Received: `groups` that leave class {remaining.tolist()} only. Pass "
                "`validation_data` of your own, or more groups."
            )
        train, validation = everything.take(rows[0]), everything.take(rows[1])
        for part, said in ((train, "left to learn from"), (validation, "held out")):
            if part.weight is not None and not part.weight.any():
                raise ValueError(
                    "Images that count must be on both sides of the split. "
                    f"Received: weights of which all {len(part)} images {said} have 0. Pass "
                    "`validation_data` of your own, or leave images of weight 0 out."
                )
        return train, validation

    def _affordable(
        self, train: LabelledImages, validation: LabelledImages, query_budget: int
    ) -> tuple[LabelledImages, LabelledImages]:
        """As much of both parts as the budget pays for, in their proportion."""
        total = len(train) + len(validation)
        payable = int(query_budget) // self.queries_per_prediction
        if payable >= total:
            return train, validation
        classes = self.output_map.num_classes
        if payable < 4 * classes:
            needed = 4 * classes * self.queries_per_prediction
            raise ValueError(
                f"`query_budget` must pay for four images of each of {classes} classes under "
                f"{self.queries_per_prediction} views, {needed} queries. "
                f"Received: query_budget={query_budget}. Raise it, or use fewer views."
            )
        held_out = max(classes, round(payable * len(validation) / total))
        held_out = min(held_out, payable - min(len(train), 3 * classes))
        return (
            train.take(draw_stratified(train.labels, payable - held_out, self.seed)),
            validation.take(_some(validation.labels, held_out, self.seed)),
        )

    def _fills_the_canvas(self) -> bool:
        if not hasattr(self.program, "use_placement"):
            return False
        first = self.program.placement.views[0]
        return (first.height, first.width) == tuple(self.program.source_shape[:2])


def _some(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` rows, with the classes' shares."""
    return draw_stratified(labels, min(count, len(labels)), seed)
