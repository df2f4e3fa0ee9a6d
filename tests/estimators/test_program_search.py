"""search_program: a known optimum, an exact budget, Ctrl-C, and bad arguments."""

import sys

import numpy as np
import pytest

from keras_reprogram import search_program

SIZE = 6
SHIFT = np.linspace(-1, 1, SIZE)
ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(SIZE, SIZE)))[0]
SCALES = np.logspace(0, 3, SIZE)


def quadratic(candidates):
    """Shifted, rotated, a thousand times steeper along one axis than along another."""
    return (SCALES * np.square((candidates - SHIFT) @ ROTATION)).sum(axis=1)


def search(objective=quadratic, **options):
    facts = {"max_evaluations": 200, "seed": 0} | options
    return search_program(objective, np.zeros(SIZE), **facts)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_optimum_of_a_rotated_quadratic_is_found(seed):
    found = search(max_evaluations=4000, target=1e-8, seed=seed)
    assert found.stopped == "target"
    assert found.best_loss <= 1e-8
    np.testing.assert_allclose(found.best_value, SHIFT, atol=1e-3)


@pytest.mark.parametrize("limit", [1, 2, 13, 100])
@pytest.mark.parametrize("population", [None, 7])
def test_the_budget_is_spent_and_never_exceeded(limit, population):
    asked = []

    def counted(candidates):
        asked.append(len(candidates))
        return quadratic(candidates)

    seen = []
    found = search(
        counted,
        max_evaluations=limit,
        population=population,
        progress=lambda evaluations, best: seen.append((evaluations, best)),
    )
    assert sum(asked) == found.evaluations == limit
    assert found.stopped == "budget"
    assert tuple(seen) == found.history
    assert [count for count, _ in seen] == np.cumsum(asked).tolist()
    losses = [loss for _, loss in found.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == found.best_loss == pytest.approx(quadratic(found.best_value[None])[0])
    assert losses[0] == quadratic(np.zeros((1, SIZE)))[0]


def test_same_seed_same_search_and_numpys_own_state_stays():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    one, other, another = search(), search(), search(seed=1)
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    np.testing.assert_array_equal(one.best_value, other.best_value)
    assert one.history == other.history != another.history


def test_ctrl_c_keeps_the_best_so_far():
    def interrupted(candidates):
        interrupted.calls += 1
        if interrupted.calls == 5:
            raise KeyboardInterrupt
        return quadratic(candidates)

    interrupted.calls = 0
    found = search(interrupted)
    assert found.stopped == "interrupted"
    assert len(found.history) == 4
    assert found.best_loss == pytest.approx(quadratic(found.best_value[None])[0])


def test_a_loss_that_is_no_number_is_never_the_best():
    def broken(candidates):
        losses = quadratic(candidates)
        losses[::2] = np.nan
        return losses

    found = search(broken)
    assert np.isfinite(found.best_loss)
    assert found.best_loss < quadratic(np.zeros((1, SIZE)))[0]


@pytest.mark.parametrize("value", [0.0, 0.7, np.nan])
def test_a_plateau_is_called_one_and_the_evaluations_end_it(value):
    found = search(lambda candidates: np.full(len(candidates), value), max_evaluations=1000)
    assert found.stopped == "plateau"
    assert found.evaluations == 1000
    assert "on a plateau" in str(found) == found.message


def test_steps_too_small_to_matter_end_it():
    found = search(max_evaluations=100_000)
    assert found.stopped == "converged"
    assert found.evaluations < 100_000 and found.best_loss < 1e-15
    assert "too small to change anything" in found.message


@pytest.mark.parametrize("seed", range(4))
def test_rounded_losses_are_searched_to_the_target(seed):
    """Flat around the start, and in steps beyond."""

    def rounded(candidates):
        return np.maximum(0.0, np.floor(np.linalg.norm(candidates - 4.0, axis=1) / 3) - 1)

    assert len(np.unique(rounded(0.1 * np.random.default_rng(0).normal(size=(500, SIZE))))) == 1
    options = {"max_evaluations": 3000, "step": 0.1, "seed": seed}
    found = search(rounded, target=0.0, **options)
    assert (found.stopped, found.best_loss) == ("target", 0.0)
    everything = search(rounded, **options)
    assert everything.evaluations == 3000 and everything.best_loss == 0.0


def test_a_wide_plateau_is_left():
    """Nothing differs within a hundred first steps."""

    def hole(candidates):
        return np.where(np.linalg.norm(candidates, axis=1) < 10.0, 1.0, 0.5)

    found = search(hole, step=0.05, max_evaluations=2000, target=0.5)
    assert found.stopped == "target"


def test_accuracy_of_few_images_is_no_convergence():
    """The loss of a program: the share of 20 images that it reads wrong."""
    random = np.random.default_rng(0)
    images, truth = random.normal(size=(20, SIZE)), random.normal(size=SIZE)
    right = images @ truth > 0

    def errors(candidates):
        return np.mean((candidates @ images.T > 0) != right, axis=1)

    found = search(errors, target=0.0, max_evaluations=2000)
    assert found.stopped == "target"


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        (np.zeros((2, 2)), {}, r"`start` must be a flat vector.*Received: shape \(2, 2\)"),
        (np.zeros(1), {}, r"at least 2 finite numbers.*Received: shape \(1,\)"),
        (np.full(3, np.nan), {}, "`start` must be a flat vector"),
        (np.zeros(3), {"step": 0.0}, "`step` must be a number greater than 0"),
        (np.zeros(3), {"max_evaluations": 0}, "`max_evaluations` must be a positive integer"),
        (np.zeros(3), {"population": 3}, "`population` must be at least 4. Received: 3"),
    ],
)
def test_wrong_arguments_are_refused(start, options, message):
    with pytest.raises(ValueError, match=message):
        search_program(quadratic, start, **{"max_evaluations": 9, "seed": 0} | options)


def test_losses_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"one loss per candidate, shape \(1,\).*shape \(1, 6\)"):
        search(lambda candidates: candidates)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[search\]'"):
        search()
