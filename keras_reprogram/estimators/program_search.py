"""search_program: CMA-ES over the weights of a small program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_reprogram.arguments import positive_integer, positive_number
from keras_reprogram.optional_packages import needs_extra

Objective = Callable[[np.ndarray], Any]
Progress = Callable[[int, float], None]

# Steps grow on a plateau until they leave it, but not for ever (shares of the first step).
_LONGEST_STEP = 1e3
# How the step grows when all candidates of a generation have the same loss (Hansen 2016, B.3,
# without the term that depends on the population).
_WIDER = float(np.exp(0.2))
# Stop conditions of `cma` that are not convergence here: equal or unchanged losses, even at the
# start, are what rounded scores give. The evaluations or the target end the search instead.
_NO_END = {
    "tolfun": 0,
    "tolfunhist": 0,
    "tolfunrel": 0,
    "tolflatfitness": np.inf,
    "tolstagnation": 0,
    "tolxstagnation": False,
    "tolfacupx": np.inf,
    "maxiter": np.inf,
    # A file in the working folder must not steer a search.
    "signals_filename": "",
}
_SENTENCES = {
    "target": "the target was reached",
    "budget": "all evaluations were used",
    "plateau": (
        "all evaluations were used, the last of them on a plateau: in most generations all "
        "candidates had the same loss. Measure the loss more finely (more images, unrounded "
        "scores, mean cross-entropy instead of accuracy), or start with a larger `step`"
    ),
    "converged": "the steps became too small to change anything",
    "interrupted": "it was interrupted",
}


@dataclass(frozen=True)
class ProgramSearch:
    """Result of `search_program`.

    Args:
        best_value: `(size,)`, the best candidate asked.
        best_loss: its loss.
        evaluations: candidates asked in all.
        history: `(evaluations so far, best loss so far)` after every call of the objective.
        stopped: why it ended: `"target"`; `"budget"`, all evaluations used; `"plateau"`, the same,
            but since the best was found the candidates of most generations lost alike, so that the
            losses said nothing; `"converged"`, steps became too small to change anything; or
            `"interrupted"`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import ProgramSearch

    found = ProgramSearch(np.zeros(2), 0.5, 1, ((1, 0.5),), "budget")
    assert found.history[-1] == (found.evaluations, found.best_loss)
    ```
    """

    best_value: np.ndarray
    best_loss: float
    evaluations: int
    history: tuple[tuple[int, float], ...]
    stopped: str

    @property
    def message(self) -> str:
        """One sentence on why the search stopped."""
        return (
            f"Best loss {self.best_loss:g} after {self.evaluations:,} evaluations: "
            f"{_SENTENCES[self.stopped]}."
        )

    def __str__(self) -> str:
        return self.message


def search_program(
    objective: Objective,
    start: Any,
    *,
    step: float = 0.3,
    population: int | None = None,
    max_evaluations: int,
    seed: int,
    target: float | None = None,
    progress: Progress | None = None,
) -> ProgramSearch:
    """Minimises a loss over a small vector by CMA-ES, which asks for values only.

    Covariance matrix adaptation (Hansen 2016) learns which directions matter; it suits programs of
    at most a few hundred weights and losses that are rough or rounded, where differences fail.
    The start is asked first, so the result is never worse. Where all candidates of a generation
    lose alike, as rounded scores make them, the steps grow. `Ctrl-C` ends the search and keeps the
    best so far.

    Args:
        objective: takes candidates `(n, size)`, returns `(n,)` losses. A loss that is no number
            counts as infinite.
        start: `(size,)`, size >= 2.
        step: first standard deviation of a coordinate, > 0.
        population: candidates a generation, >= 4; `None` for `4 + 3 log(size)`.
        max_evaluations: most candidates asked in all, >= 1; never exceeded.
        seed: draws the candidates. NumPy's own random state is left alone.
        target: stop once a loss is at most this.
        progress: called with `(evaluations, best_loss)` after every call of the objective.

    Returns:
        A `ProgramSearch`.

    Raises:
        ImportError: if the package `cma` is missing.
        ValueError: for arguments outside of these, or losses of another shape.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import search_program

    def objective(candidates):
        return np.square(candidates - 1.0).sum(axis=1)

    found = search_program(objective, np.zeros(3), max_evaluations=600, seed=0, target=1e-6)
    assert found.best_loss <= 1e-6 and found.evaluations <= 600
    ```

    References:
        Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772, 2016. Sun et al.,
        "Black-Box Tuning for Language-Model-as-a-Service", ICML 2022.
    """
    first = _checked_start(start)
    positive_number("step", step)
    positive_integer("max_evaluations", max_evaluations)
    if population is not None and population < 4:
        raise ValueError(f"`population` must be at least 4. Received: {population}.")
    strategy = _strategy(first, step, population, seed)
    asked = _Asked(objective, progress, best_value=first)
    try:
        stopped = _search(strategy, asked, first, max_evaluations, target)
    except KeyboardInterrupt:
        # Losses that were paid for are kept; `stopped` states the reason.
        stopped = "interrupted"
    return ProgramSearch(
        asked.best_value, asked.best_loss, asked.evaluations, tuple(asked.history), stopped
    )


def _search(strategy: Any, asked: _Asked, first: np.ndarray, limit: int, target: Any) -> str:
    """Runs generations until a stopping criterion holds, which is returned."""
    asked.losses([first])
    flat: list[bool] = []
    while True:
        if target is not None and asked.best_loss <= target:
            return "target"
        left = limit - asked.evaluations
        if left < 1:
            return "plateau" if 2 * sum(flat) > len(flat) else "budget"
        if strategy.stop():
            return "converged"
        candidates, before = strategy.ask(), asked.best_loss
        losses = asked.losses(candidates[:left])
        # Part of a generation still may hold the best, but the strategy learns from whole ones.
        if len(losses) == len(candidates):
            strategy.tell(candidates, losses)
            flat = [] if asked.best_loss < before else flat
            flat.append(min(losses) == max(losses))
            if flat[-1]:
                strategy.sigma = min(strategy.sigma * _WIDER, _LONGEST_STEP * strategy.sigma0)


class _Asked:
    """Asks the objective, and remembers the best and the count."""

    def __init__(
        self, objective: Objective, progress: Progress | None, best_value: np.ndarray
    ) -> None:
        self.objective, self.progress = objective, progress
        self.best_value, self.best_loss = best_value, float("inf")
        self.evaluations = 0
        self.history: list[tuple[int, float]] = []

    def losses(self, candidates: Sequence[np.ndarray]) -> list[float]:
        """The candidates' losses, in order."""
        stacked = np.stack(candidates)
        losses = np.asarray(self.objective(stacked), float)
        self.evaluations += len(stacked)
        if losses.shape != (len(stacked),):
            raise ValueError(
                f"`objective` must return one loss per candidate, shape {(len(stacked),)}. "
                f"Received: shape {losses.shape}. Take the mean over the images."
            )
        losses = np.where(np.isnan(losses), np.inf, losses)
        best = int(np.argmin(losses))
        if losses[best] < self.best_loss:
            self.best_value, self.best_loss = stacked[best].copy(), float(losses[best])
        self.history.append((self.evaluations, self.best_loss))
        if self.progress is not None:
            self.progress(self.evaluations, self.best_loss)
        return losses.tolist()


def _checked_start(start: Any) -> np.ndarray:
    value = np.asarray(start, float)
    if value.ndim != 1 or len(value) < 2 or not np.isfinite(value).all():
        raise ValueError(
            "`start` must be a flat vector of at least 2 finite numbers. "
            f"Received: shape {value.shape}. Flatten the program's weights."
        )
    return value


def _strategy(start: np.ndarray, step: float, population: int | None, seed: int) -> Any:
    with needs_extra("cma", "search"):
        import cma
    draw = np.random.default_rng(seed)
    options: dict[str, Any] = {
        "randn": lambda *shape: draw.standard_normal(shape),
        # Not a number: leave NumPy's global random state as it is.
        "seed": np.nan,
        "verbose": -9,
        "verb_log": 0,
        "verb_disp": 0,
        **_NO_END,
    }
    if population is not None:
        options["popsize"] = population
    return cma.CMAEvolutionStrategy(start, step, options)
