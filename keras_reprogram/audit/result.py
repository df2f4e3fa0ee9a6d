"""What an audit found, as plain figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from keras_reprogram.audit.honest_use import HonestUse
from keras_reprogram.audit.measures import AS_IT_IS
from keras_reprogram.audit.plan import AuditPlan, PlannedRun

_SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class TaskAudit:
    """What strangers reach on one foreign task.

    Args:
        name: of the task.
        class_names: its classes.
        runs: what was asked, a run a seed.
        baseline: test accuracies of the pixels alone, one a seed.
        baseline_names: the kind of classifier that was chosen for it.
        accuracies: measure -> number of views -> test accuracies, one a seed.
        curve: `(training queries, mean accuracy)` without a measure, from few to many.
        notes: where the images come from.
    """

    name: str
    class_names: tuple[str, ...]
    runs: tuple[PlannedRun, ...]
    baseline: tuple[float, ...]
    baseline_names: tuple[str, ...]
    accuracies: dict[str, dict[int, tuple[float, ...]]]
    curve: tuple[tuple[int, float], ...]
    notes: tuple[str, ...] = ()

    @property
    def num_views(self) -> int:
        """Most queries of an image."""
        return self.runs[0].num_views

    @property
    def training_queries(self) -> int:
        """What a stranger pays for the map at most views."""
        return self.runs[0].training_queries

    def gains(self, measure: str = AS_IT_IS.name) -> tuple[float, ...]:
        """Accuracies at most views less those of the pixels alone, one a seed."""
        reached = self.accuracies[measure][self.num_views]
        return tuple(one - other for one, other in zip(reached, self.baseline, strict=True))

    def gain(self, measure: str = AS_IT_IS.name) -> float:
        """Their mean: what the source is worth to a stranger."""
        return fmean(self.gains(measure))


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        plan: what was asked.
        source: facts about the source.
        tasks: what strangers reach.
        uses: measure -> what honest users get.
        own_task: name of the data of the source's own task, or `None`.
        spent: queries that the ledger counts, those of earlier audits in it included.
        queries_per_second: of the rate limit that is reckoned with.
    """

    plan: AuditPlan
    source: dict[str, Any]
    tasks: tuple[TaskAudit, ...]
    uses: dict[str, HonestUse]
    own_task: str | None
    spent: int
    queries_per_second: float

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what was tried; the first is none."""
        return tuple(self.uses)

    def money(self, queries: int) -> float | None:
        """Price of some queries, or `None` without one."""
        return self.plan.price_of(queries)

    def hours(self, queries: int) -> float:
        """Hours of some queries at the rate limit."""
        return queries / self.queries_per_second / _SECONDS_AN_HOUR

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "source": self.source,
            "planned_queries": self.plan.queries,
            "spent": self.spent,
            "price_per_thousand": self.plan.price_per_thousand,
            "money": self.money(self.plan.queries),
            "queries_per_second": self.queries_per_second,
            "own_task": self.own_task,
            "own_images": self.plan.own_images,
            "tasks": [self._task(task) for task in self.tasks],
            "honest_use": {name: asdict(use) for name, use in self.uses.items()},
        }

    def _task(self, task: TaskAudit) -> dict[str, Any]:
        return {
            "task": task.name,
            "classes": len(task.class_names),
            "runs": [asdict(run) for run in task.runs],
            "training_queries": task.training_queries,
            "training_money": self.money(task.training_queries),
            "training_hours": self.hours(task.training_queries),
            "pixels_alone": list(task.baseline),
            "pixels_alone_by": list(task.baseline_names),
            "gains": {name: list(task.gains(name)) for name in task.accuracies},
            "accuracies": {
                name: {str(views): list(found) for views, found in by_views.items()}
                for name, by_views in task.accuracies.items()
            },
            "curve": [list(point) for point in task.curve],
            "notes": list(task.notes),
        }
