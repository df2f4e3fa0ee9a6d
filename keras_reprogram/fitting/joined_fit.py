"""Exact fit of several parts: each by itself, then weights of the parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from keras_reprogram.fitting.findings_fit import thresholds_of
from keras_reprogram.fitting.fit_choice import fit_linear_map
from keras_reprogram.fitting.fit_settings import HeldOut, MapFit
from keras_reprogram.fitting.validation import ValidationScore, validation_score

# Pulls the weights towards equal ones, in nats of the whole validation part: few held-out images
# say little about them, and equal weights are a good guess.
_PULL = 1.0


def fit_joined_parts(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    parts: Sequence[int],
    num_classes: int,
    sample_weight: np.ndarray | None = None,
    validation_split: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    ordinal: bool = False,
    **options: Any,
) -> MapFit:
    """A weighted geometric mean of the exact fits of several parts, as one linear classifier.

    `softmax(sum_i w_i (features_i @ kernel_i + bias_i))`: each part has an exact fit with a
    regularisation of its own (`fit_logistic_regression`), all on one validation part. The weights
    `w_i >= 0` minimise the cross-entropy there, pulled a little towards `1 / parts`. If that is
    worse there than the best part alone, the best part is taken alone: on the validation part the
    result is never worse than any of the parts. In the end each part is fitted on all rows. Of
    several findings, labels `(n, K)`, it is a sigmoid of the weighted sum of log-odds; the weights
    are shared by all findings.

    Args:
        features: `(n, d)`, the columns of all parts, in order.
        labels: `(n,)` integers in [0, num_classes), or `(n, num_classes)` of 0 and 1.
        parts: the number of columns of each part; they sum to d.
        num_classes: K.
        sample_weight: `(n,)` non-negative, or `None`.
        validation_split: share held out, in [0, 1); 0 takes equal weights.
        seed: draws the validation part.
        groups: `(n,)` or `None`; rows of one value stay on one side.
        ordinal: whether the classes are grades, see `fit_logistic_regression`.
        **options: of each part's fit, as `fit_linear_map` takes them.

    Returns:
        A `MapFit` of all columns; `part_weights` holds the weights.

    Raises:
        ValueError: if the widths do not sum to the number of columns.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.fitting import fit_joined_parts

    features = np.random.default_rng(0).normal(size=(90, 4 + 3))
    labels = (features[:, 0] + features[:, 5] > 0).astype(int)
    fit = fit_joined_parts(features, labels, parts=(4, 3), num_classes=2)
    assert fit.kernel.shape == (7, 2) and len(fit.part_weights) == 2
    ```

    References:
        Wolpert, "Stacked generalization", Neural Networks 1992. Genest, Zidek, "Combining
        probability distributions", Statistical Science 1986 (logarithmic opinion pools).
    """
    features = np.reshape(features, (len(labels), -1))
    if sum(parts) != features.shape[1]:
        raise ValueError(
            f"The widths of `parts` must sum to the {features.shape[1]} columns of `features`. "
            f"Received: parts={parts}."
        )
    fits = [
        fit_linear_map(
            columns,
            labels,
            num_classes=num_classes,
            sample_weight=sample_weight,
            validation_split=validation_split,
            seed=seed,
            groups=groups,
            ordinal=ordinal,
            **options,
        )
        for columns in np.split(features, np.cumsum(parts)[:-1], axis=1)
    ]
    held_out = [fit.held_out for fit in fits]
    weights, together = _weights(held_out)
    kernel = [share * fit.kernel for fit, share in zip(fits, weights, strict=True)]
    bias = [share * fit.bias for fit, share in zip(fits, weights, strict=True)]
    best = fits[int(np.argmax(weights))]
    return replace(
        best,
        kernel=np.concatenate(kernel).astype(np.float32),
        bias=np.sum(bias, axis=0).astype(np.float32),
        validation_accuracy=None if together is None else together.accuracy(),
        part_weights=tuple(float(share) for share in weights),
        thresholds=_thresholds(held_out, weights, num_classes) if best.thresholds else (),
        held_out=together,
    )


def _thresholds(
    parts: list[HeldOut | None], weights: np.ndarray, num_findings: int
) -> tuple[float, ...]:
    """Thresholds of several findings, by what all parts together say of the validation part."""
    one = parts[0]
    if one is None:
        return thresholds_of(None, num_findings)
    logits = np.stack([part.log_probabilities for part in parts if part is not None])
    mixed = np.tensordot(weights, logits, axes=1)
    mixed -= logsumexp(mixed, axis=1, keepdims=True)
    return thresholds_of(replace(one, log_probabilities=mixed), num_findings)


def _score(held_out: HeldOut, logits: np.ndarray) -> ValidationScore:
    probabilities = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    return validation_score(probabilities, held_out.labels, held_out.weight)


def _weights(parts: list[HeldOut | None]) -> tuple[np.ndarray, HeldOut | None]:
    """Weights of the parts, and what they say together of the held-out images."""
    equal = np.full(len(parts), 1.0 / len(parts))
    one = parts[0]
    if one is None:
        return equal, None
    logits = np.stack([part.log_probabilities for part in parts if part is not None])
    total = float(one.weight.sum())
    own = np.take_along_axis(logits, one.labels[None, :, None], axis=2)[..., 0]

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.tensordot(weights, logits, axes=1)
        norm = logsumexp(mixed, axis=1)
        expected = np.einsum("nk,pnk->pn", np.exp(mixed - norm[:, None]), logits)
        value = one.weight @ (norm - weights @ own)
        slope = (expected - own) @ one.weight
        pull = _PULL * len(parts) * (weights - equal)
        return float(value + pull @ (weights - equal)), slope + 2 * pull

    found = minimize(
        objective, equal, jac=True, bounds=[(0, None)] * len(parts), method="L-BFGS-B"
    ).x
    alone = np.eye(len(parts))
    candidates = [found, *alone] if total else [equal]
    scores = [_score(one, np.tensordot(some, logits, axes=1)) for some in candidates]
    best = candidates[int(np.argmin([score.loss for score in scores]))]
    logits = np.tensordot(best, logits, axes=1)
    return best, replace(one, log_probabilities=log_softmax(logits, axis=1))
