"""The exact fit with NumPy beside the same on a device of TensorFlow's: `exact_fit.py --device`.

Each fit has a process of its own, which has done a small one before: the first products on a GPU
load its libraries. The last columns are of one more solution on the rows of the fit, from zero, at
the C and the power that the fit with NumPy chose: by how much of itself the objective is above that
of NumPy's solution (below it, where negative), taken in float64, how many steps it took, and the
largest difference of a probability.

`TF32` leaves TensorFlow its default on Ampere GPUs and later ones, factors of float32 products
rounded to ten bits; the library turns it off while it fits. `rounded` does that to NumPy's factors
in the solver, so that a machine without such a GPU shows what it would do to the steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
from exact_fit_cases import Case, part_of
from rounds import fresh_process, spread_text

NUMPY, TF32, ROUNDED = "numpy", "TF32", "NumPy, rounded"
COLUMNS = (
    "", "seconds", "NumPy / it", "C", "power", "test accuracy", "objective", "steps", "probability",
)  # fmt: skip
# TF32 keeps ten of the 23 bits of a float32's fraction.
_LOST_BITS = 13


@dataclass(frozen=True, eq=False)
class DeviceFit:
    """One fit, and one more solution at given settings."""

    seconds: float
    regularization: float
    power: float
    test_accuracy: float
    objective: float
    steps: int
    probabilities: np.ndarray


def compare(cases: Sequence[Case], device: str, rounds: int, folder: str) -> None:
    """Prints a Markdown table of all cases, NumPy first."""
    print(f"| {' | '.join(COLUMNS)} |\n| --- |" + " ---: |" * (len(COLUMNS) - 1))
    ways = [NUMPY, device, f"{device}, {TF32}", ROUNDED]
    for case in cases:
        found: dict[str, list[DeviceFit]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                first = found[NUMPY][0] if found[NUMPY] else None
                settings = first and (first.regularization, first.power)
                with fresh_process() as process:
                    found[way].append(process.submit(fitted, case, way, folder, settings).result())
        for way in ways:
            print(_row(case, way, found[way], found[NUMPY]), flush=True)


def _row(case: Case, way: str, fits: Sequence[DeviceFit], beside: Sequence[DeviceFit]) -> str:
    fit, known = fits[-1], beside[-1]
    ratio = np.median([b.seconds / a.seconds for a, b in zip(fits, beside, strict=True)])
    cells = [
        f"{case.rows:,} x {case.features:,}, {case.classes} classes: {way}",
        spread_text([one.seconds for one in fits]),
        f"{ratio:.2f}",
        f"{fit.regularization:g}",
        f"{fit.power:g}",
        f"{fit.test_accuracy:.3f}",
        f"{fit.objective / known.objective - 1:.1e}",
        f"{fit.steps}",
        f"{np.abs(fit.probabilities - known.probabilities).max():.1e}",
    ]
    return "| " + " | ".join(cells) + " |"


def fitted(case: Case, way: str, folder: str, settings: tuple[float, float] | None) -> DeviceFit:
    """A fit in a process of its own; without settings the second solution has the chosen ones."""
    from keras_reprogram import fit_logistic_regression
    from keras_reprogram.fitting.fit_device import FitDevice

    device = NUMPY if way == ROUNDED else way.partition(",")[0]
    with _factors(way):
        x, y, groups = part_of(case, "train", folder)
        how: dict[str, Any] = {"num_classes": int(y.max()) + 1, "device": device}
        fit_logistic_regression(x[:600, :50], y[:600], **how)
        start = time.perf_counter()
        fit = fit_logistic_regression(x, y, groups=groups, **how)
        seconds = time.perf_counter() - start
        settings = settings or (fit.regularization, fit.spread_power)
        objective, steps = FitDevice(device, 0).run(
            lambda products: _solved(x, y, settings, products)
        )
    held, truth, _ = part_of(case, "test", folder)
    logits = held @ fit.kernel + fit.bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return DeviceFit(
        seconds,
        fit.regularization,
        fit.spread_power,
        float(np.mean(logits.argmax(axis=1) == truth)),
        objective,
        steps,
        odds / odds.sum(axis=1, keepdims=True),
    )


def _solved(
    x: np.ndarray, y: np.ndarray, settings: tuple[float, float], products: Any
) -> tuple[float, int]:
    """The objective at a solution from zero, and its number of steps."""
    from keras_reprogram.fitting.fit_settings import axis_penalties
    from keras_reprogram.fitting.logistic_solver import LogisticProblem
    from keras_reprogram.fitting.principal_axes import PrincipalAxes

    # The rows are the same for all ways: what differs is how they are multiplied.
    _, rows = PrincipalAxes.fit(x, np.arange(len(x)))
    spread = np.sqrt(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows))
    regularization, power = settings
    penalty = axis_penalties(spread, power)
    problem = LogisticProblem(rows, y, np.ones(len(y)), products)
    found = problem.solve(regularization, penalty=penalty)
    logits = rows.astype(float) @ found.kernel + found.bias
    largest = logits.max(axis=1)
    norm = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
    own = logits[np.arange(len(y)), np.searchsorted(found.classes, y)]
    ridge = (
        (2 if len(found.classes) == 2 else 1) / 2 * penalty @ np.square(found.kernel).sum(axis=1)
    )
    return float(ridge + regularization * np.sum(norm - own)), found.iterations


@contextmanager
def _factors(way: str) -> Iterator[None]:
    """How the factors of float32 products are kept."""
    from keras_reprogram.fitting import device_products, products

    rounded = mock.patch.object(products, "SoftmaxLosses", _rounded_losses())
    left_on = mock.patch.object(device_products, "full_float32", nullcontext)
    with rounded if way == ROUNDED else left_on if way.endswith(TF32) else nullcontext():
        yield


def _rounded_losses() -> type:
    from keras_reprogram.fitting.row_losses import SoftmaxLosses, softmax

    class RoundedLosses(SoftmaxLosses):
        """Factors of ten bits and sums in float32; in float64 nothing is rounded."""

        def in_precision(self, precision: Any) -> Any:
            same = super().in_precision(precision)
            exact = precision == np.float64
            return same if exact else replace(same, rows=_rounded(same.rows))

        def mean(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
            if self.rows.dtype == np.float64:
                return super().mean(weights)
            kernel, bias = np.split(weights.astype(np.float32), [-1])
            logits = self.rows @ _rounded(kernel) + bias
            errors, log_norm = softmax(logits)
            each = np.arange(len(logits))
            loss = self.share @ (log_norm - logits[each, self.targets].astype(float))
            errors[each, self.targets] -= 1
            errors *= self.share[:, None].astype(np.float32)
            of_bias = errors.sum(axis=0, keepdims=True)
            return loss, np.vstack([self.rows.T @ _rounded(errors), of_bias]).astype(float)

    return RoundedLosses


def _rounded(values: np.ndarray) -> np.ndarray:
    """Float32 numbers, to the nearest with ten bits of fraction."""
    bits = values.view(np.uint32)
    half, last = np.uint32(1 << (_LOST_BITS - 1)), np.uint32(_LOST_BITS)
    return ((bits + half) >> last << last).view(np.float32)
