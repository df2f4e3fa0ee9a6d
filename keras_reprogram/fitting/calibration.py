"""Calibration: temperature, conformal sets, and a distance to images that were calibrated on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

import numpy as np
from keras import ops
from scipy.optimize import minimize_scalar

from keras_reprogram.fitting.answer_distance import AnswerDistance

# The logarithm of a probability that float32 rounded to zero stays finite.
_SMALLEST_PROBABILITY = 1e-30
# Answers that tell all classes apart have no finite best temperature.
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a model's answers to held-out images say about its answers to others.

    Temperature (Guo et al. 2017, "On calibration of modern neural networks"): the shown
    probabilities are `softmax(log(p) / T)` of the output map's `p`, with the `T` that minimises
    the cross-entropy of the calibrating images.

    Sets (split conformal prediction: Vovk, Gammerman and Shafer 2005; with the score of Sadinle,
    Lei and Wasserman 2019, "least ambiguous set-valued classifiers", LAC): the set of an image is
    `{k: p_k >= t}`, where `t` is the `ceil((n + 1) * coverage)`-th largest of the `n` probabilities
    that the calibrating images' own classes got. For images drawn as these were, the set holds the
    true class with a probability of at least `coverage`, and below `coverage + 1 / (n + 1)` without
    ties, whatever the model is worth. It may be empty. Class-wise ("Mondrian", Vovk et al. 2005,
    ch. 4.5), `t_k` comes from the images of class `k` alone, and the coverage holds within every
    class. Sets read `p` as the map gives it: a temperature fitted on the same images would spoil
    the guarantee.

    With groups (patients), each image counts `1 / (images of its group)` and `n` is the number of
    groups, so that the coverage holds for an image of a new group (Dunn, Wasserman and Ramdas
    2023; Lee, Barber and Willett 2023, "hierarchical conformal prediction").

    An image is foreign if its distance (see `AnswerDistance`) is beyond the same kind of bound for
    `1 - abstain`: of images like those that were calibrated on, at most the share `abstain` is
    called foreign (conformal outlier detection: Bates et al. 2023). Half of the calibrating images
    are what distances are measured to, the other half says how far is far.

    An answer is accepted if the image is not foreign and its set holds exactly one class.

    `ReprogrammedModel.calibrate` makes one. `dataclasses.replace` chooses another `coverage`,
    `class_wise` or `abstain` for exports; nothing is asked for it.

    Args:
        num_classes: K.
        temperature: T, above 0.
        own_probabilities: float32 `(n,)`, what the map gave each calibrating image's own class.
        labels: `(n,)` classes.
        groups: `(n,)` integers, each image's group.
        distance: the distance.
        distances: float32 `(m,)`, of the images that it is not measured to.
        distance_groups: `(m,)` integers, their groups.
        coverage: share of sets that hold the true class, in (0, 1), unless asked otherwise.
        class_wise: whether that holds for every class, unless asked otherwise.
        abstain: share of images like these that may be called foreign, in [0, 1), unless asked
            otherwise; 0 calls none foreign.
        weights: digest of the program's and the map's weights that were calibrated.
        queries_used: image queries that the calibration cost.

    Raises:
        ValueError: if there are too few images for the coverage or for `abstain`.

    Example:
    ```python
    import dataclasses

    import keras
    import numpy as np
    from keras_reprogram import (
        DenseMap, FrozenSource, ProgramLayer, ReprogrammedModel, embedded_path
    )

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
    x = np.random.default_rng(0).uniform(0, 255, (120, 8, 8, 1))
    y = np.arange(120) % 3
    model.fit_output_map(x[:60], y[:60], verbose=0)
    calibration = model.calibrate(x[60:], y[60:], coverage=0.8, verbose=0)
    assert calibration.queries_used == 60
    model.calibration = dataclasses.replace(calibration, coverage=0.9)
    print(model.calibration)
    ```
    """

    num_classes: int
    temperature: float
    own_probabilities: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    distance: AnswerDistance = field(repr=False)
    distances: np.ndarray = field(repr=False)
    distance_groups: np.ndarray = field(repr=False)
    coverage: float = 0.9
    class_wise: bool = False
    abstain: float = 0.05
    weights: str = field(default="", repr=False)
    queries_used: int = 0

    def __post_init__(self) -> None:
        self.rule()

    @property
    def num_images(self) -> int:
        """Calibrating images."""
        return len(self.labels)

    @property
    def num_groups(self) -> int:
        """Groups of them; as many as images without groups."""
        return len(np.unique(self.groups))

    def rule(
        self,
        coverage: float | None = None,
        class_wise: bool | None = None,
        abstain: float | None = None,
    ) -> SetRule:
        """The thresholds for a coverage, as one operation on answers.

        Args:
            coverage: in (0, 1); `None` for the calibration's own.
            class_wise: `None` for the calibration's own.
            abstain: in [0, 1); `None` for the calibration's own.

        Returns:
            A `SetRule`.

        Raises:
            ValueError: for numbers out of range, and for too few images.
        """
        coverage = self.coverage if coverage is None else coverage
        class_wise = self.class_wise if class_wise is None else class_wise
        abstain = self.abstain if abstain is None else abstain
        check_counts(self.labels, self.groups, self.num_classes, coverage, class_wise, abstain)
        return SetRule(
            temperature=self.temperature,
            thresholds=self._thresholds(coverage, class_wise),
            distance=self.distance,
            largest_distance=self._largest_distance(abstain),
            coverage=float(coverage),
            class_wise=bool(class_wise),
            abstain=float(abstain),
        )

    def _thresholds(self, coverage: float, class_wise: bool) -> np.ndarray:
        if not class_wise:
            return np.atleast_1d(conformal_threshold(self.own_probabilities, self.groups, coverage))
        rows = [np.flatnonzero(self.labels == label) for label in range(self.num_classes)]
        return np.array(
            [conformal_threshold(self.own_probabilities[r], self.groups[r], coverage) for r in rows]
        )

    def _largest_distance(self, abstain: float) -> np.float32:
        if not abstain:
            return np.float32(np.inf)
        kept = 1 - _as_fraction(abstain)
        return -conformal_threshold(-self.distances, self.distance_groups, kept)

    def __str__(self) -> str:
        kind = "in every class" if self.class_wise else "on average"
        grouped = "" if self.num_groups == self.num_images else f" of {self.num_groups} groups"
        return (
            f"{self.num_images} held-out images{grouped}: temperature {self.temperature:.3f}; sets "
            f"hold the true class with probability {self.coverage:g} {kind}; {self.abstain:g} of "
            "images like these are called foreign."
        )


@dataclass(frozen=True, eq=False)
class SetRule:
    """The thresholds of a `Calibration` for one coverage; runs eagerly and in any graph.

    Args:
        temperature: T.
        thresholds: float32 `(1,)` or, class-wise, `(K,)`: the least probability in a set.
        distance: the distance.
        largest_distance: beyond it an image is foreign.
        coverage: that was asked for.
        class_wise: whether it holds in every class.
        abstain: share of images that may be called foreign.
    """

    temperature: float
    thresholds: np.ndarray
    distance: AnswerDistance
    largest_distance: np.float32
    coverage: float
    class_wise: bool
    abstain: float

    def __call__(self, source_scores: Any, scores: Any) -> dict[str, Any]:
        """What the calibration says about answers.

        Args:
            source_scores: `(n, V, S)`.
            scores: what the output map makes of them, `(n, K)`.

        Returns:
            `probabilities`, float32 `(n, K)`; `set`, bool `(n, K)`; `distance`, float32 `(n,)`;
            `foreign` and `accepted`, bool `(n,)`.
        """
        logs = ops.log(ops.maximum(scores, _SMALLEST_PROBABILITY))
        members = ops.greater_equal(scores, self.thresholds)
        distance = self.distance(source_scores)
        foreign = ops.greater(distance, self.largest_distance)
        single = ops.equal(ops.sum(ops.cast(members, "float32"), axis=1), 1.0)
        return {
            "probabilities": ops.softmax(logs * np.float32(1 / self.temperature), axis=-1),
            "set": members,
            "distance": distance,
            "foreign": foreign,
            "accepted": ops.logical_and(single, ops.logical_not(foreign)),
        }

    def margins(self, scores: np.ndarray, distance: np.ndarray) -> dict[str, np.ndarray]:
        """How far the numbers behind `set`, `foreign` and `accepted` are from their thresholds."""
        of_set = np.abs(scores - self.thresholds)
        # An image of infinite distance would be as far from it as any.
        of_distance = np.abs(np.minimum(self.largest_distance, 1e9) - distance)
        nearest = np.minimum(of_set.min(axis=1), of_distance)
        return {"set": of_set, "foreign": of_distance, "accepted": nearest}


# === Bounds ===


def conformal_threshold(
    values: np.ndarray, groups: np.ndarray, coverage: float | Fraction
) -> np.float32:
    """The largest `t` with `sum of weights of values >= t` at least `coverage * (groups + 1)`.

    Each value weighs 1 / (values of its group). Without groups it is the
    `ceil((n + 1) * coverage)`-th largest value. Ranks are exact: weights are integers over their
    common denominator, and 0.7 means 7/10.
    """
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    whole = math.lcm(*map(int, sizes))
    order = np.argsort(-values, kind="stable")
    needed = math.ceil(_as_fraction(coverage) * (len(sizes) + 1) * whole)
    reached = 0
    for row in order:
        reached += whole // int(sizes[member[row]])
        if reached >= needed:
            return np.float32(values[row])
    raise ValueError(
        f"A coverage of {float(coverage):g} needs {least_count(coverage)} images, or groups of "
        f"images. Received: {len(sizes)}. Calibrate on more, or ask for less."
    )


def least_count(coverage: float | Fraction) -> int:
    """The least number of images (or groups) for a coverage: `ceil(coverage / (1 - coverage))`."""
    share = _as_fraction(coverage)
    return math.ceil(share / (1 - share))


def _as_fraction(share: float | Fraction) -> Fraction:
    # The number that was written: the float 0.7 is a little less than 7/10.
    return share if isinstance(share, Fraction) else Fraction(str(float(share)))


def check_counts(
    labels: np.ndarray,
    groups: np.ndarray,
    num_classes: int,
    coverage: float,
    class_wise: bool,
    abstain: float,
) -> None:
    """Refuses shares out of range, and images that are too few for them."""
    if not 0 < coverage < 1:
        raise ValueError(
            "`coverage` must be a share of images above 0 and below 1. "
            f"Received: coverage={coverage}. Write 90 % as 0.9."
        )
    if not 0 <= abstain < 1:
        raise ValueError(
            "`abstain` must be a share of images in [0, 1). "
            f"Received: abstain={abstain}. Write 5 % as 0.05, and 0 to call no image foreign."
        )
    needed, of_all = least_count(coverage), len(np.unique(groups))
    if of_all < needed:
        raise ValueError(
            f"A coverage of {coverage:g} needs at least {needed} calibrating images, or groups of "
            f"them. Received: {of_all}. Calibrate on more, or ask for less coverage."
        )
    if class_wise:
        _check_classes(labels, groups, num_classes, coverage, needed)
    if abstain and of_all // 2 < least_count(1 - _as_fraction(abstain)):
        most = 2 * least_count(1 - _as_fraction(abstain))
        raise ValueError(
            f"`abstain={abstain:g}` needs at least {most} calibrating images, or groups of them: "
            "distances are measured to one half of them, and the other half says how far is far. "
            f"Received: {of_all}. Calibrate on more, raise `abstain`, or pass `abstain=0`, which "
            "calls no image foreign."
        )


def _check_classes(
    labels: np.ndarray, groups: np.ndarray, num_classes: int, coverage: float, needed: int
) -> None:
    counts = [len(np.unique(groups[labels == label])) for label in range(num_classes)]
    few = [f"class {label} has {count}" for label, count in enumerate(counts) if count < needed]
    if few:
        raise ValueError(
            f"A class-wise coverage of {coverage:g} needs at least {needed} calibrating images, or "
            f"groups of them, in every class. Received: {', '.join(few[:5])}"
            f"{' ...' if len(few) > 5 else ''}. Calibrate on more of these classes, ask for less "
            "coverage, or leave `class_wise` out."
        )


# === Fits ===


def fit_temperature(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """The T of least cross-entropy of `softmax(log(scores) / T)`; each group counts once."""
    logs = np.log(np.maximum(np.asarray(scores, np.float64), _SMALLEST_PROBABILITY))
    # Relative to the own class, so that the loss of a row is one log-sum-exp.
    margins = logs - logs[np.arange(len(labels)), labels][:, None]
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 1.0 / sizes[member]

    def loss(log_temperature: float) -> float:
        scaled = margins * math.exp(-log_temperature)
        return float(np.average(np.logaddexp.reduce(scaled, axis=1), weights=weight))

    # Convex in 1 / T, so that there is one minimum on the logarithmic scale too.
    bounds = tuple(math.log(limit) for limit in _TEMPERATURES)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)


def fit_calibration(
    source_scores: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    *,
    score_kind: str,
    epsilon: float,
    seed: int,
    **choices: Any,
) -> Calibration:
    """Fits a calibration on the answers to held-out images.

    Args:
        source_scores: `(n, V, S)`.
        scores: what the output map makes of them, `(n, K)`.
        labels: `(n,)` integers.
        groups: `(n,)` or `None`.
        score_kind: of the source.
        epsilon: added to probabilities before a logarithm.
        seed: draws the half that distances are measured to.
        choices: other fields of the `Calibration`.
    """
    groups = group_numbers(groups, len(labels))
    near = _half(groups, seed)
    distance = AnswerDistance.fit(source_scores[near], score_kind, epsilon)
    return Calibration(
        num_classes=scores.shape[1],
        temperature=fit_temperature(scores, labels, groups),
        own_probabilities=scores[np.arange(len(labels)), labels].astype(np.float32),
        labels=labels.astype(np.int64),
        groups=groups,
        distance=distance,
        distances=ops.convert_to_numpy(distance(source_scores[~near])),
        distance_groups=groups[~near],
        **choices,
    )


def group_numbers(groups: np.ndarray | None, count: int) -> np.ndarray:
    """Groups as integers `(n,)`; without groups each image is one."""
    if groups is None:
        return np.arange(count)
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def _half(groups: np.ndarray, seed: int) -> np.ndarray:
    """`(n,)`: whether an image's group is in the first, smaller half of the groups."""
    numbers = np.unique(groups)
    drawn = np.random.default_rng(seed).permutation(numbers)[: len(numbers) // 2]
    return np.isin(groups, drawn)


# === Plain values ===

# Field -> type: a `.keras` file holds lists.
_ARRAYS = {
    "own_probabilities": np.float32,
    "labels": np.int64,
    "groups": np.int64,
    "distances": np.float32,
    "distance_groups": np.int64,
}
_FORMAT = 1


def to_plain(calibration: Calibration) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A calibration as numbers and texts for JSON, and arrays."""
    plain = {
        one.name: getattr(calibration, one.name)
        for one in fields(calibration)
        if one.name not in (*_ARRAYS, "distance")
    }
    arrays = {name: getattr(calibration, name) for name in _ARRAYS}
    settings, distance_arrays = calibration.distance.to_plain()
    arrays |= {f"distance.{name}": array for name, array in distance_arrays.items()}
    return {"format": _FORMAT, **plain, "distance": settings}, arrays


def from_plain(plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Calibration:
    """Rebuilds what `to_plain` gave."""
    values: dict[str, Any] = dict(plain)
    if values.pop("format", None) != _FORMAT:
        raise ValueError(
            f"A calibration must have format {_FORMAT}, which this version reads. Received: "
            f"{plain.get('format')}. Install a version that fits, or calibrate again."
        )
    prefix = "distance."
    inner = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    values["distance"] = AnswerDistance.from_plain(values["distance"], inner)
    values |= {name: np.asarray(arrays[name], kind) for name, kind in _ARRAYS.items()}
    return Calibration(**values)
