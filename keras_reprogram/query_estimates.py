"""QueryEstimates: `estimate_queries`, what a model's training will ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.answer_store import MOST_MEMORY
from keras_reprogram.batch_order import split_counts
from keras_reprogram.exact_fit import check_groups
from keras_reprogram.image_checks import check_labels
from keras_reprogram.opaque_training import OpaqueTraining
from keras_reprogram.program.argument_checks import one_of
from keras_reprogram.query_estimate import QueryEstimate
from keras_reprogram.standing_answers import program_stands
from keras_reprogram.step_check import check_queries

RECIPES = ("fit_output_map", "fit", "fit_opaque")


class QueryEstimates(OpaqueTraining):
    """The part of `ReprogrammedModel` that reckons before it asks."""

    def estimate_queries(
        self,
        num_images: int,
        *,
        recipe: str = "fit_output_map",
        num_validation: int | None = None,
        validation_split: float | None = None,
        y: Any = None,
        groups: Any = None,
        epochs: int = 1,
        query_budget: int | None = None,
        choose_views: bool | None = None,
        cache_features: str | Path | None = "memory",
        price_per_thousand: float | None = None,
        queries_per_second: float | None = None,
    ) -> QueryEstimate:
        """What a training will ask, without asking anything.

        Args:
            num_images: images `x`.
            recipe: `"fit_output_map"`, `"fit"` or `"fit_opaque"`.
            num_validation: images of `validation_data`, or `None` without.
            validation_split: as the recipe takes it; `None` for what it is there: 0 in `fit`, 0.2
                in `fit_opaque`.
            y: labels of `x`, for `groups` or classes of few images; `None` for as many images of
                each class.
            groups: as `fit_opaque` takes them; they decide how many images are held out.
            epochs: of `fit`.
            query_budget: of `fit_opaque`, which asks exactly what is said here, but for steps: they
                end after two epochs without a better validation loss. Only repetitions after
                failures are added, which a ledger's budget bounds.
            choose_views: as `fit_opaque` takes it.
            cache_features: as `fit` takes it. Where its answers stay the same, the source is asked
                once for all epochs; not at all for answers that an earlier `fit` kept.
            price_per_thousand: of 1,000 queries.
            queries_per_second: that the source allows.

        Returns:
            A `QueryEstimate`.

        Raises:
            ValueError: for an unknown recipe, `fit_opaque` without a budget, and for what the
                recipe itself would refuse.

        Example:
        ```python
        from keras_reprogram import (
            DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
        )

        source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
        program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                               placement="views", num_views=4)
        model = ReprogrammedModel(program, source, DenseMap(num_classes=10))
        estimate = model.estimate_queries(1000, price_per_thousand=1.5, queries_per_second=10)
        assert estimate.total == 4000
        print(estimate.to_markdown())
        ```
        """
        one_of("recipe", recipe, RECIPES)
        if recipe == "fit_opaque":
            plan = self.plan_opaque(
                self._labels_like(num_images, y),
                groups=check_groups(groups, num_images),
                weight=None,
                validation_labels=(
                    None if num_validation is None else self._labels_like(num_validation)
                ),
                validation_split=0.2 if validation_split is None else validation_split,
                query_budget=_checked_budget(query_budget),
                choose_views=choose_views,
            )
            found = plan.estimate()
        elif recipe == "fit":
            found = self._of_fit(
                num_images, num_validation, validation_split, epochs, cache_features
            )
        else:
            found = QueryEstimate(num_images * self.queries_per_prediction)
        return replace(
            found,
            per_prediction=self.queries_per_prediction,
            price_per_thousand=price_per_thousand,
            queries_per_second=queries_per_second,
        )

    def _of_fit(
        self,
        num_images: int,
        num_validation: int | None,
        validation_split: float | None,
        epochs: int,
        cache_features: Any,
    ) -> QueryEstimate:
        # The step is checked before images are held out.
        check = check_queries(self, num_images)
        if validation_split and num_validation is None:
            num_images, num_validation = split_counts(num_images, validation_split)
        extra = self.gradient_estimator.queries_per_image if self.estimates else 0
        queries = num_images * self.queries_per_prediction
        held_out = (num_validation or 0) * self.queries_per_prediction
        return QueryEstimate(
            estimates=self._passes(queries, epochs, cache_features) * queries * (1 + extra) + check,
            validation=self._passes(held_out, epochs, cache_features) * held_out,
        )

    def _labels_like(self, count: int, y: Any = None) -> np.ndarray:
        """Labels `(count,)`; without `y` as many of each class: only their number counts then."""
        classes = self.output_map.num_classes
        return np.arange(count) % classes if y is None else check_labels(y, count, classes)

    def _passes(self, queries: int, epochs: int, cache_features: Any) -> int:
        """How often `fit` asks for each image: once where its answers stay and can be kept."""
        size = 4 * queries * self.source.num_labels
        fits = cache_features != "memory" or size <= MOST_MEMORY
        keeps = cache_features is not None and fits and program_stands(self)
        return min(epochs, 1) if keeps else epochs


def _checked_budget(query_budget: int | None) -> int:
    if query_budget is None:
        raise ValueError(
            "`fit_opaque` needs a budget. Received: query_budget=None. Pass the number that "
            "you will pass to it."
        )
    return int(query_budget)
