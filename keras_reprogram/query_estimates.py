"""QueryEstimates: `estimate_queries`, what a model's training will ask."""

from __future__ import annotations

from keras_reprogram.opaque_plan import plan_pilot
from keras_reprogram.opaque_training import OpaqueTraining
from keras_reprogram.program.argument_checks import one_of
from keras_reprogram.query_estimate import QueryEstimate
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
        epochs: int = 1,
        query_budget: int | None = None,
        choose_views: bool | None = None,
        price_per_thousand: float | None = None,
        queries_per_second: float | None = None,
    ) -> QueryEstimate:
        """What a training will ask, without asking anything.

        Args:
            num_images: images `x`.
            recipe: `"fit_output_map"`, `"fit"` or `"fit_opaque"`.
            num_validation: images of `validation_data`; `None` for none with `fit`, and for a
                fifth of `x` with `fit_opaque`.
            epochs: of `fit`.
            query_budget: of `fit_opaque`. It is never exceeded but by repetitions after failures,
                which a ledger's budget bounds; steps may end before it is spent.
            choose_views: as `fit_opaque` takes it.
            price_per_thousand: of 1,000 queries.
            queries_per_second: that the source allows.

        Returns:
            A `QueryEstimate`.

        Raises:
            ValueError: for an unknown recipe, or `fit_opaque` without a budget.

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
        views = self.queries_per_prediction
        facts = {
            "per_prediction": views,
            "price_per_thousand": price_per_thousand,
            "queries_per_second": queries_per_second,
        }
        if recipe == "fit_output_map":
            return QueryEstimate(num_images * views, **facts)
        if recipe == "fit":
            return QueryEstimate(
                estimates=epochs * num_images * self._queries_a_step()
                + check_queries(self, num_images),
                validation=epochs * (num_validation or 0) * views,
                **facts,
            )
        if query_budget is None:
            raise ValueError(
                "`fit_opaque` needs a budget. Received: query_budget=None. Pass the number that "
                "you will pass to it."
            )
        if num_validation is None:
            num_validation = max(1, round(0.2 * num_images))
            num_images -= num_validation
        return QueryEstimate(
            **self._shares(num_images, num_validation, query_budget, choose_views), **facts
        )

    def _queries_a_step(self) -> int:
        """For one training image in one step."""
        extra = self.gradient_estimator.queries_per_image if self.estimates else 0
        return self.queries_per_prediction * (1 + extra)

    def _shares(
        self, num_train: int, num_validation: int, budget: int, choose_views: bool | None
    ) -> dict[str, int]:
        views = self.queries_per_prediction
        payable = min(num_train + num_validation, budget // views)
        num_validation = round(payable * num_validation / (num_train + num_validation))
        num_train = payable - num_validation
        base = payable * views
        pilot = 0
        if self._fills_the_canvas() if choose_views is None else choose_views:
            classes = self.output_map.num_classes
            images, pool = plan_pilot(budget - base, num_train, views, classes)
            pilot = images * pool
        price = num_train * self._queries_a_step() + num_validation * views
        check = check_queries(self, num_train)
        epochs = max(0, budget - base - pilot - check) // price if self.estimates else 0
        check = check if epochs else 0
        return {
            "output_map": num_train * views,
            "views": pilot,
            "estimates": epochs * num_train * self._queries_a_step() + check,
            "validation": (1 + epochs) * num_validation * views,
        }
