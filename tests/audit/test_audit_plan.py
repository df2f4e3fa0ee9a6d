"""A budget becomes images, views and seeds, and is kept to."""

import numpy as np
import pytest

from keras_reprogram.audit import plan_audit
from keras_reprogram.audit.plan import NO_LIMIT
from keras_reprogram.datasets import TargetData


def task(name: str, classes: int = 4, images: int = 400, findings: bool = False) -> TargetData:
    pixels = (np.arange(images * 4).reshape(images, 2, 2, 1) % 255).astype("uint8")
    labels = np.arange(images) % classes
    if findings:
        labels = np.eye(classes, dtype=int)[labels]
    names = tuple(f"{name} {number}" for number in range(classes))
    return TargetData(name, pixels, labels, pixels, labels, names, "Made by hand.")


@pytest.mark.parametrize("budget", [150, 300, 999, 2_400, 10_000])
@pytest.mark.parametrize("own_images", [0, 80])
def test_a_plan_keeps_to_its_budget(budget: int, own_images: int) -> None:
    tasks = [task("a"), task("b", classes=2)]
    if budget == 150 and own_images:
        with pytest.raises(ValueError, match="Allow 200 or more"):
            plan_audit(tasks, budget, own_images=own_images)
        budget = 200
    plan = plan_audit(tasks, budget, own_images=own_images)
    assert plan.queries == sum(row[2] for row in plan.rows()[:-1]) <= budget
    assert plan.rows()[-1][2] == plan.queries
    assert {run.task for run in plan.runs} == {"a", "b"}
    for run in plan.runs:
        assert run.train_images >= 10 and run.test_images >= 50


def test_seeds_are_given_up_before_views() -> None:
    tasks = [task("a")]
    enough = plan_audit(tasks, 3 * 8 * 70 + 32)
    assert (enough.seeds, enough.runs[0].num_views) == (3, 8)
    fewer = plan_audit(tasks, 8 * 70 + 30)
    assert (fewer.seeds, fewer.runs[0].num_views) == (1, 8)
    least = plan_audit(tasks, 73)
    assert (least.seeds, least.runs[0].num_views, least.queries) == (1, 1, 70)


def test_a_plan_without_a_limit_takes_the_most_images() -> None:
    plan = plan_audit([task("a")], NO_LIMIT, train_images=300, test_images=200, num_views=2)
    assert plan.queries == 3 * 2 * 500
    assert plan.price_of(1000) is None
    assert plan_audit([task("a")], 73, price_per_thousand=2.0).money == 0.14


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "one foreign task at least"),
        ([task("a"), task("a")], "a more than once"),
        ([task("x-rays", findings=True)], "several findings an image in x-rays"),
        ([task("a"), task("b")], "Received: 100 queries. Allow 148 or more"),
    ],
)
def test_a_wrong_plan_names_the_way_out(tasks: list[TargetData], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_audit(tasks, 100)
