"""Plans an audit: which images of which tasks are asked, under how many views, for a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keras_reprogram.datasets import TargetData
from keras_reprogram.source.ledger.query_ledger import money_for

# Of a run's images, those that the map is fitted on; the others test it.
_TRAIN_SHARE = 2 / 3
# Fewer say nothing: a map of 5 images a class is hardly one, and 50 answers have an error of .07.
_LEAST_A_CLASS, _LEAST_TEST = 5, 50
# Of the budget, at most, for the source's own task.
_OWN_SHARE = 0.2
_LEAST_OWN = 50
# Images a call, and what is left of a budget for those in flight when an audit is stopped: nobody
# knows whether they were paid for, so they count, and are asked again.
MOST_IN_FLIGHT = 32
_RESERVE_SHARE = 20
# A budget that no plan reaches.
NO_LIMIT = 2**62


@dataclass(frozen=True)
class PlannedRun:
    """One task under one seed, all of whose images are asked under all views.

    Args:
        task: name of the task.
        seed: draws images and views.
        train_images: images that the map is fitted on.
        test_images: images that it is measured on.
        num_views: source images of each.
    """

    task: str
    seed: int
    train_images: int
    test_images: int
    num_views: int

    @property
    def queries(self) -> int:
        """What it asks."""
        return (self.train_images + self.test_images) * self.num_views

    @property
    def training_queries(self) -> int:
        """What a stranger would have paid for the map, without its test."""
        return self.train_images * self.num_views


@dataclass(frozen=True)
class AuditPlan:
    """What an audit asks.

    Args:
        runs: each task under each seed.
        own_images: images of the source's own task.
        price_per_thousand: of 1,000 queries, or `None`.

    Example:
    ```python
    from keras_reprogram.audit import plan_audit
    from keras_reprogram.datasets import load_target

    plan = plan_audit([load_target("digits")], 3000, num_views=4, seeds=3)
    assert plan.queries <= 3000 and len(plan.runs) == 3
    ```
    """

    runs: tuple[PlannedRun, ...]
    own_images: int = 0
    price_per_thousand: float | None = None

    @property
    def queries(self) -> int:
        """All of them."""
        return sum(run.queries for run in self.runs) + self.own_images

    @property
    def money(self) -> float | None:
        """Their price, or `None` without one."""
        return self.price_of(self.queries)

    def price_of(self, queries: int) -> float | None:
        """Price of some queries, or `None` without one."""
        return money_for(queries, self.price_per_thousand)

    @property
    def seeds(self) -> int:
        """How often each task is repeated with other images and views."""
        return len({run.seed for run in self.runs})

    def rows(self) -> list[tuple[str, str, int]]:
        """What is asked, how it comes about, and how many queries it takes."""
        tasks = dict.fromkeys(run.task for run in self.runs)
        rows = [self._row(task) for task in tasks]
        if self.own_images:
            rows.append(("own task", f"{self.own_images:,} images as they are", self.own_images))
        return [*rows, ("total", "", self.queries)]

    def _row(self, task: str) -> tuple[str, str, int]:
        runs = [run for run in self.runs if run.task == task]
        first, seeds = runs[0], f"{len(runs)} seed" + "s" * (len(runs) > 1)
        views = f"{first.num_views} view" + "s" * (first.num_views > 1)
        how = f"({first.train_images:,} + {first.test_images:,}) images, {views}, {seeds}"
        return task, how, sum(run.queries for run in runs)


def plan_audit(
    tasks: Sequence[TargetData],
    budget: int,
    *,
    num_views: int = 8,
    seeds: int = 3,
    train_images: int = 1000,
    test_images: int = 500,
    own_images: int = 0,
    price_per_thousand: float | None = None,
) -> AuditPlan:
    """Shares a budget among tasks and seeds; asks nothing.

    Every task gets the same share; up to 32 queries are left for those that are in flight when an
    audit is stopped. Where the budget is short, seeds are given up first and views
    last, because a stranger's accuracy depends on views and only its spread on seeds.

    Args:
        tasks: foreign tasks of one class an image.
        budget: most queries of the whole audit.
        num_views: most source images that a target image becomes.
        seeds: how often each task is repeated, at most.
        train_images: most training images of a task.
        test_images: most test images of a task.
        own_images: most images of the source's own task, which get a fifth of the budget at most.
        price_per_thousand: of 1,000 queries.

    Returns:
        An `AuditPlan` of at most `budget` queries.

    Raises:
        ValueError: for tasks of several findings, for two tasks of one name, and for a budget that
            pays for no task; the error names the least.

    Example:
    ```python
    from keras_reprogram.audit import plan_audit
    from keras_reprogram.datasets import load_target

    print(plan_audit([load_target("digits")], 500, num_views=8).rows())
    ```
    """
    _check_tasks(tasks)
    spendable = budget - min(MOST_IN_FLIGHT, budget // _RESERVE_SHARE)
    own = _own_images(own_images, spendable)
    for views, repeats in _wishes(num_views, seeds):
        share = (spendable - own) // (len(tasks) * repeats)
        sizes = [_sizes(task, share // views, train_images, test_images) for task in tasks]
        if all(sizes):
            runs = [
                PlannedRun(task.name, seed, *size, views)
                for task, size in zip(tasks, sizes, strict=True)
                if size is not None
                for seed in range(repeats)
            ]
            return AuditPlan(tuple(runs), own, price_per_thousand)
    # The largest share counts for all of them, since each gets the same.
    least = max(sum(_least(task)) for task in tasks) * len(tasks)
    if own_images:
        least = max(least + _LEAST_OWN, math.ceil(least / (1 - _OWN_SHARE)))
    least += min(MOST_IN_FLIGHT, math.ceil(least / (_RESERVE_SHARE - 1)))
    raise ValueError(
        f"The budget pays for too few images of {len(tasks)} tasks. Received: {budget:,} queries. "
        f"Allow {least:,} or more, or leave out a task."
    )


def _check_tasks(tasks: Sequence[TargetData]) -> None:
    if not tasks:
        raise ValueError("An audit needs one foreign task at least. Received: none. Name a target.")
    several = [task.name for task in tasks if task.is_multi_label]
    if several:
        raise ValueError(
            "An audit's tasks have one class an image. Received: several findings an image in "
            f"{', '.join(several)}. Leave them out."
        )
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Tasks must have different names. Received: {', '.join(twice)} more than once. Rename "
            "a folder, or leave one out."
        )


def _own_images(wanted: int, budget: int) -> int:
    if not wanted:
        return 0
    return min(wanted, max(_LEAST_OWN, int(_OWN_SHARE * budget)))


def _wishes(num_views: int, seeds: int) -> list[tuple[int, int]]:
    """Views and seeds, the best first."""
    views = [num_views]
    while views[-1] > 1:
        views.append(views[-1] // 2)
    return [(most, repeats) for most in views for repeats in range(seeds, 0, -1)]


def _least(task: TargetData) -> tuple[int, int]:
    """The fewest training and test images that say something."""
    classes = len(task.class_names)
    train = min(_LEAST_A_CLASS * classes, len(task.train_labels))
    return train, min(max(_LEAST_TEST, classes), len(task.test_labels))


def _sizes(task: TargetData, images: int, train: int, test: int) -> tuple[int, int] | None:
    """Training and test images of a share of the budget, `None` where it is too small."""
    least_train, least_test = _least(task)
    most_test = max(least_test, min(test, len(task.test_labels)))
    most_train = max(least_train, min(train, len(task.train_labels)))
    wanted = min(round(images * (1 - _TRAIN_SHARE)), images - least_train, most_test)
    tested = max(least_test, wanted)
    trained = min(most_train, images - tested)
    return (trained, tested) if trained >= least_train else None
