"""Closed-form fit: a linear discriminant with a shrunk covariance, for a few images a class."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from keras_reprogram.fitting.fit_settings import HeldOut, MapFit
from keras_reprogram.fitting.folds import Fold, draw_folds
from keras_reprogram.fitting.map_fitting import ABSENT_LOGIT, check_two_classes
from keras_reprogram.fitting.principal_axes import PrincipalAxes

# How far the covariance within classes is drawn towards a multiple of the identity. Choosing it by
# what folds leave out reads fewer images right.
SHRINKAGE = 0.5
# Of fewer images a class a fit on the rest says little: a class loses half of what is known of it.
_FEWEST_TO_LEAVE_OUT = 3
# A fit takes milliseconds, and of two images a class each is missed.
_NUM_FOLDS = 20
# The temperature is sought in these powers of e.
_LOG_TEMPERATURES = (0.0, 7.0)


def fit_discriminant(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    sample_weight: np.ndarray | None = None,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> MapFit:
    """Linear discriminant analysis with shrinkage: nothing is searched, no image is spared.

    With the mean `m_k` of each class, its share `pi_k` of the images and the pooled covariance `S`
    within classes of the features along their `r` principal axes,

        logit_k(x) = (x' A m_k - m_k' A m_k / 2) / T + log(pi_k)
        A = inverse((1 - s) S + s (trace(S) / r) I),  s = 1/2

    that is the classifier of normal classes with one covariance, whose estimate is drawn halfway to
    a multiple of the identity. `log(pi_k)` is what it knows of class sizes; a class without an
    image gets probability 0. Such discriminants rank classes well and are far too sure. The one
    number T >= 1 mends that: it is found on images that were left out, each once in one of twenty
    folds (it is r with fewer than three images a class), and changes no choice between classes of
    one size. With `s = 1` and classes of one size this is the nearest class mean: SS-Text's
    `w_k = (1/N) (1/lambda_k) sum_{i in k} f_i / tau` with `lambda_k = 1/n_k`, up to its text term
    `t_k`, for which an output map has no text.

    Args:
        features: `(n, d)` finite numbers.
        labels: `(n,)` integers in [0, num_classes).
        num_classes: K.
        sample_weight: `(n,)` non-negative, or `None`: weights in means, covariance and shares.
        seed: draws the folds.
        groups: `(n,)` or `None`; rows of one value stay in one fold.

    Returns:
        A `MapFit`, its `regularization` the temperature T.

    Raises:
        ValueError: if there are fewer than two classes in `labels`.

    References:
        Friedman, "Regularized discriminant analysis", JASA 1989 (shrinkage towards the identity).
        Silva-Rodriguez et al., "Few-shot, now for real: medical VLMs adaptation without balanced
        sets or validation", MICCAI 2025 (SS-Text).
    """
    labels = np.asarray(labels)
    check_two_classes(labels)
    features = np.asarray(features, np.float32).reshape(len(labels), -1)
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    axes, rows = PrincipalAxes.fit(features, np.arange(len(labels)))
    rows = rows.astype(np.float64)
    # Where nothing can be left out: scores sum over the axes, and their mean is about as sure as
    # such a fit may be.
    temperature, held_out = float(rows.shape[1]), None
    folds = []
    if np.count_nonzero(weight) >= _FEWEST_TO_LEAVE_OUT * len(np.unique(labels)):
        few = len(labels) + 1
        folds = draw_folds(labels, weight, 1.0, seed, groups, few=few, num_folds=_NUM_FOLDS)
    if folds:
        temperature, held_out = _left_out(rows, labels, weight, folds, num_classes)
    kernel, bias, shares = _discriminant(rows, labels, weight, num_classes)
    kernel, bias = axes.affine(kernel / temperature, bias / temperature + shares)
    return MapFit(
        kernel.astype(np.float32),
        bias.astype(np.float32),
        regularization=float(temperature),
        spread_power=1.0,
        validation_accuracy=None if held_out is None else held_out.accuracy(),
        method="closed_form",
        held_out=held_out,
    )


def _discriminant(
    rows: np.ndarray, labels: np.ndarray, weight: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernel `(r, K)`, bias `(K,)` at temperature 1, and the logarithms of the class shares."""
    counted = np.flatnonzero(weight)
    rows, labels, weight = rows[counted], labels[counted], weight[counted]
    classes, codes = np.unique(labels, return_inverse=True)
    members = np.eye(len(classes))[codes] * weight[:, None]
    sizes = members.sum(axis=0)
    means = members.T @ rows / sizes[:, None]
    within = np.sqrt(weight)[:, None] * (rows - means[codes])
    # Means take a degree of freedom each: with two images a class half of the spread.
    free = sizes.sum() * max(1, len(rows) - len(classes)) / len(rows)
    covariance = within.T @ within / free
    # One image a class has no spread within it: then what all images vary by gives the scale.
    size = np.trace(covariance) or float(weight @ np.square(rows).sum(axis=1)) / sizes.sum()
    shrunk = (1 - SHRINKAGE) * covariance
    shrunk[np.diag_indices(len(shrunk))] += SHRINKAGE * (size or 1.0) / len(shrunk)
    found = np.linalg.solve(shrunk, means.T)
    kernel, bias = np.zeros((rows.shape[1], num_classes)), np.zeros(num_classes)
    shares = np.full(num_classes, ABSENT_LOGIT)
    kernel[:, classes], bias[classes] = found, -np.einsum("kr,rk->k", means, found) / 2
    shares[classes] = np.log(sizes / sizes.sum())
    return kernel, bias, shares


def _left_out(
    rows: np.ndarray, labels: np.ndarray, weight: np.ndarray, folds: list[Fold], num_classes: int
) -> tuple[float, HeldOut]:
    """The best temperature, and what it says of the rows that folds leave out."""
    scores, shares = [], []
    for train, rest in folds:
        kernel, bias, share = _discriminant(rows[train], labels[train], weight[train], num_classes)
        some = rows[rest] @ kernel + bias
        # A class without a row has no score: its share alone says that it is not there.
        some[:, share == ABSENT_LOGIT] = some.min()
        scores.append(some)
        shares.append(np.broadcast_to(share, some.shape))
    found, prior = np.concatenate(scores), np.concatenate(shares)
    order = np.concatenate([rest for _, rest in folds])
    counted = weight[order] if weight[order].any() else np.ones(len(order))

    def read(power: float) -> np.ndarray:
        return log_softmax(found / np.exp(power) + prior, axis=1)

    def loss(power: float) -> float:
        return -float(counted @ read(power)[np.arange(len(order)), labels[order]])

    power = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x
    return float(np.exp(power)), HeldOut(read(power), labels[order], weight[order], order)
