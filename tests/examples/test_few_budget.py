"""The budget benchmark's own code: draws, and models that look stored answers up."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_reprogram import DenseMap

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"
NAMES = ("few_budget", "stored_views")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules; digits instead of photographs."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    modules = SimpleNamespace(**{name: __import__(name) for name in NAMES})
    load = modules.few_budget.load_target
    monkeypatch.setattr(modules.few_budget, "load_target", lambda name: load("digits"))
    monkeypatch.setattr(modules.few_budget, "POOL", 400)
    yield modules
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def test_a_look_up_model_is_asked_counted_and_fitted_like_any_other(parts: SimpleNamespace) -> None:
    answers = np.random.default_rng(0).dirichlet(np.ones(6), size=(50, 4)).astype("float32")
    stored = parts.stored_views.StoredViews(answers, 40, "probabilities", "stored")
    model, source = parts.stored_views.look_up_model(stored, 3, DenseMap(2), 0)
    rows = np.arange(40)[::-1]
    asked = model.collect_scores(parts.stored_views.as_images(rows), verbose=0)
    np.testing.assert_array_equal(asked, answers[rows, :3])
    fit = model.fit_opaque(
        parts.stored_views.as_images(rows), rows % 2, query_budget=500, verbose=0
    )
    assert fit.queries_used == 120 and source.queries_used == 240


def test_draws_for_choosing_share_no_image_with_those_of_the_tables(parts: SimpleNamespace) -> None:
    draw = parts.few_budget.Draw
    shown, choosing = (draw("", "cifar10", 5, True, seed, None) for seed in (0, 100))
    assert np.bincount(shown.data.train_labels).tolist() == [5] * 10
    pools = [{image.tobytes() for image in each.pool.train_images} for each in (shown, choosing)]
    assert not pools[0] & pools[1]
    tests = {image.tobytes() for image in choosing.data.test_images}
    assert not tests & {image.tobytes() for image in shown.data.test_images}
    total = draw("", "cifar10", 50, False, 0, None)
    np.testing.assert_array_equal(np.sort(total.rows), np.sort(shown.rows))
