"""OpaqueFit: what `fit_opaque` asked, tried and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class OpaqueStage:
    """One candidate of the recipe.

    Args:
        stage: `"map"` or `"steps, epoch k"`.
        queries_used: image queries of this fit so far, validation included, and those that a ledger
            answered.
        validation_accuracy: share of held-out images read right, in [0, 1]; by weight, where images
            or classes have weights. Of several findings an image, the share of pairs of an image
            and a finding.
        validation_loss: their mean cross-entropy, in nats; weighted likewise.
        kept: whether it is better than everything before it.

    Example:
    ```python
    from keras_reprogram import OpaqueStage

    stage = OpaqueStage("map", 1000, validation_accuracy=0.95, validation_loss=0.2, kept=True)
    ```
    """

    stage: str
    queries_used: int
    validation_accuracy: float
    validation_loss: float
    kept: bool


@dataclass
class OpaqueFit:
    """The result of `ReprogrammedModel.fit_opaque`.

    Args:
        query_budget: image queries that were allowed.
        queries_used: image queries that were sent; what a ledger had answers to was not.
        num_images: labelled images that the budget paid for, validation included.
        stages: the candidates in order, see `OpaqueStage`.
        views: what was done about views, in words.
        reading: how the map reads the views: `"each view"` with weights of its own, the `"mean of
            the views"`, or the `"first view"`, unless one of the others is better by more than the
            standard error of the difference.
        ended_by: what else than this budget or validation ended the steps, or nothing.
        choice: the figures that chose the reading, in words, or nothing.
        given_back: why queries of the budget were not asked, in words, or nothing.

    Example:
    ```python
    from keras_reprogram import OpaqueFit, OpaqueStage

    fit = OpaqueFit(query_budget=100, queries_used=90, num_images=90)
    fit.stages.append(OpaqueStage("map", 90, 0.8, 0.5, True))
    print(fit)
    ```
    """

    query_budget: int
    queries_used: int = 0
    num_images: int = 0
    stages: list[OpaqueStage] = field(default_factory=list)
    views: str = ""
    reading: str = "each view"
    ended_by: str = ""
    choice: str = ""
    given_back: str = ""

    @property
    def unused_queries(self) -> int:
        """Queries of the budget that were not asked."""
        return self.query_budget - self.queries_used

    @property
    def kept(self) -> OpaqueStage:
        """The candidate that the model holds now."""
        return [stage for stage in self.stages if stage.kept][-1]

    @property
    def accuracy_over_queries(self) -> list[tuple[int, float]]:
        """`(queries, validation accuracy)` of all candidates, for a plot."""
        return [(stage.queries_used, stage.validation_accuracy) for stage in self.stages]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return {
            "query_budget": self.query_budget,
            "queries_used": self.queries_used,
            "num_images": self.num_images,
            "views": self.views,
            "reading": self.reading,
            "ended_by": self.ended_by,
            "choice": self.choice,
            "given_back": self.given_back,
            "stages": [vars(stage) for stage in self.stages],
        }

    def __str__(self) -> str:
        asked = f"{self.queries_used:,} of {self.query_budget:,} queries"
        lines = [f"{asked}; {self.views}; read: {self.reading}"]
        for stage in self.stages:
            mark = "kept" if stage.kept else "not kept"
            lines.append(
                f"{stage.stage}: validation accuracy {stage.validation_accuracy:.3f}, "
                f"loss {stage.validation_loss:.3f} after {stage.queries_used:,} queries ({mark})"
            )
        if self.choice:
            lines.append(self.choice)
        if self.given_back:
            lines.append(f"{self.unused_queries:,} queries given back: {self.given_back}")
        if self.ended_by:
            lines.append(f"ended by {self.ended_by}; the best until then is kept")
        return "\n".join(lines)
