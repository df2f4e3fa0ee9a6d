"""OpaqueTraining: `fit_opaque`, the whole recipe for sources that only answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_reprogram.exact_fit import check_groups, image_weights
from keras_reprogram.image_checks import check_every_class, most_probable_labels
from keras_reprogram.labelled_images import LabelledImages
from keras_reprogram.opaque_log import OpaqueFit
from keras_reprogram.opaque_plan import OpaquePlan, payable_rows, pilot_rows, plan_pilot
from keras_reprogram.opaque_recipe import OpaqueRecipe
from keras_reprogram.query_bar import QueryBar
from keras_reprogram.step_check import check_queries
from keras_reprogram.training.label_forms import labels_for
from keras_reprogram.training.validation_split import split_validation
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

        All of it is reckoned before the first query, as `estimate_queries` says it.
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
        held_out = everything
        if validation_data is not None:
            held_x, held_y, weight = keras.utils.unpack_x_y_sample_weight(validation_data)
            held_out = self._labelled(held_x, held_y, weight, class_weight)
        plan = self.plan_opaque(
            everything.labels,
            groups=everything.groups,
            weight=everything.weight,
            validation_labels=None if validation_data is None else held_out.labels,
            validation_split=validation_split,
            query_budget=int(query_budget),
            choose_views=choose_views,
        )
        train, validation = everything.take(plan.train), held_out.take(plan.validation)
        _check_weights(train, validation)
        bar = QueryBar(self, int(query_budget), verbose)
        fit = OpaqueRecipe(
            self,
            plan,
            train,
            validation,
            refit_on_all=validation_data is None,
            query_budget=int(query_budget),
            batch_size=batch_size,
            progress=progress or bar.update,
        ).run()
        if progress is None:
            bar.finish()
        return fit

    def plan_opaque(
        self,
        labels: np.ndarray,
        *,
        groups: np.ndarray | None,
        weight: np.ndarray | None,
        validation_labels: np.ndarray | None,
        validation_split: float,
        query_budget: int,
        choose_views: bool | None,
    ) -> OpaquePlan:
        """What `fit_opaque` will ask: the one place where it is reckoned.

        Args:
            labels: `(n,)` integers of `x`.
            groups: `(n,)` or `None`.
            weight: `(n,)` or `None`.
            validation_labels: of `validation_data`, or `None` to hold out a part of `x`.
            validation_split: that part.
            query_budget: image queries that may be asked.
            choose_views: as `fit_opaque` takes it.

        Returns:
            An `OpaquePlan`.

        Raises:
            ValueError: for a budget that does not pay for four images of every class, a split that
                leaves one class, or a program without views to choose.
        """
        views, classes = self.queries_per_prediction, self.output_map.num_classes
        if choose_views is None:
            choose_views = self._fills_the_canvas()
        if choose_views:
            self._needs_placement()
        train = np.arange(len(labels))
        if validation_labels is None:
            train, validation = self._split(labels, validation_split, groups)
            validation_labels = labels[validation]
        else:
            validation = np.arange(len(validation_labels))
        self._check_budget(len(train) + len(validation), query_budget)
        rows = payable_rows(
            labels[train], validation_labels, query_budget // views, classes, self.seed
        )
        train, validation = train[rows[0]], validation[rows[1]]
        spare = query_budget - (len(train) + len(validation)) * views
        pilot, pool = np.arange(0), 0
        if choose_views:
            present = len(np.unique(labels[train]))
            size, pool = plan_pilot(spare, len(train), views, present)
        if pool:
            groups, weight = (None if p is None else p[train] for p in (groups, weight))
            pilot = pilot_rows(labels[train], groups, weight, size, self.seed)
        plan = OpaquePlan(train, validation, pilot, pool, choose_views, views)
        return self._with_steps(plan, spare)

    def _with_steps(self, plan: OpaquePlan, spare: int) -> OpaquePlan:
        """The epochs of steps that the rest of the budget pays for."""
        if not self.estimates:
            return plan
        each = plan.num_views * (1 + self.gradient_estimator.queries_per_image)
        plan = replace(plan, queries_a_step=each, check=check_queries(self, len(plan.train)))
        left = max(0, spare - plan.pilot_queries - plan.check)
        return replace(plan, epochs=left // plan.epoch_queries)

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

    def _split(
        self, labels: np.ndarray, validation_split: float, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        train, validation = split_validation(labels, labels, validation_split, self.seed, groups)
        remaining = np.unique(labels[train])
        if len(remaining) < 2:
            raise ValueError(
                "At least two classes must be left to learn from after whole groups were held out. "
                f"Received: `groups` that leave class {remaining.tolist()} only. Pass "
                "`validation_data` of your own, or more groups."
            )
        return train, validation

    def _check_budget(self, num_images: int, query_budget: int) -> None:
        classes, views = self.output_map.num_classes, self.queries_per_prediction
        if query_budget // views < min(num_images, 4 * classes):
            raise ValueError(
                f"`query_budget` must pay for four images of each of {classes} classes under "
                f"{views} views, {4 * classes * views} queries. "
                f"Received: query_budget={query_budget}. Raise it, or use fewer views."
            )

    def _fills_the_canvas(self) -> bool:
        if not hasattr(self.program, "use_placement"):
            return False
        first = self.program.placement.views[0]
        return (first.height, first.width) == tuple(self.program.source_shape[:2])


def _check_weights(train: LabelledImages, validation: LabelledImages) -> None:
    for part, said in ((train, "to learn from"), (validation, "held out")):
        if part.weight is not None and not part.weight.any():
            raise ValueError(
                "Images that count must be on both sides of the split. "
                f"Received: weights of which all {len(part)} images {said} have 0. Pass "
                "`validation_data` of your own, or leave images of weight 0 out."
            )
