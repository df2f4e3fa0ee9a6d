"""Temperature, conformal thresholds and sets, on stored answers."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from checks.tiny_models import random_scores
from keras import ops
from scipy.special import log_softmax, softmax

from keras_reprogram.fitting.answer_distance import AnswerDistance
from keras_reprogram.fitting.calibration import (
    conformal_threshold,
    fit_calibration,
    fit_temperature,
    from_plain,
    group_numbers,
    least_count,
    to_plain,
)

NUM_CLASSES = 4


def answers(count=200, seed=0):
    """Source answers, the map's probabilities, and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, NUM_CLASSES))
    scores = softmax(logits, axis=1).astype("float32")
    labels = (scores.cumsum(1) > random.uniform(size=(count, 1))).argmax(1)
    return random_scores(count, views=2, labels=6, seed=seed), scores, labels


def fitted(count=200, seed=0, groups=None, **choices):
    source_scores, scores, labels = answers(count, seed)
    options = {"score_kind": "probabilities", "epsilon": 1e-14, "seed": 0} | choices
    return fit_calibration(source_scores, scores, labels, groups, **options)


def sets_of(calibration, scores, **choices):
    source_scores = random_scores(len(scores), views=2, labels=6, seed=9)
    return ops.convert_to_numpy(calibration.rule(**choices)(source_scores, scores)["set"])


# === Sets ===


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.975])
def test_sets_equal_those_of_mapie(coverage) -> None:
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Scores(ClassifierMixin, BaseEstimator):
        """A classifier whose inputs are its probabilities."""

        classes_ = np.arange(NUM_CLASSES)

        def __sklearn_is_fitted__(self):
            return True

        def fit(self, X, y):  # noqa: N803
            return self

        def predict_proba(self, X):  # noqa: N803
            return X

        def predict(self, X):  # noqa: N803
            return X.argmax(axis=1)

    _, scores, labels = answers(150)
    _, others, _ = answers(300, seed=1)
    mapie = SplitConformalClassifier(Scores(), confidence_level=coverage, prefit=True)
    mapie.conformalize(scores.astype(float), labels)
    _, theirs = mapie.predict_set(others.astype(float))
    ours = sets_of(fitted(150), others, coverage=coverage)
    np.testing.assert_array_equal(ours, theirs[:, :, 0])
    assert 0.1 < ours.mean() < 1


def test_class_wise_sets_are_those_of_each_class_alone() -> None:
    calibration = fitted(class_wise=True, coverage=0.8)
    _, scores, labels = answers()
    thresholds = calibration.rule().thresholds
    for label in range(NUM_CLASSES):
        own = np.sort(scores[labels == label, label])[::-1]
        rank = int(np.ceil((len(own) + 1) * Fraction("0.8")))
        assert thresholds[label] == own[rank - 1]
    _, others, _ = answers(50, seed=3)
    np.testing.assert_array_equal(sets_of(calibration, others), others >= thresholds)


@pytest.mark.parametrize("class_wise", [False, True])
def test_coverage_holds_on_images_drawn_alike(class_wise) -> None:
    held, kinds = [], []
    for seed in range(25):
        calibration = fitted(100, seed, class_wise=class_wise, coverage=0.8)
        _, scores, labels = answers(100, seed + 1000)
        held.append(sets_of(calibration, scores)[np.arange(100), labels])
        kinds.append(labels)
    held, kinds = np.concatenate(held), np.concatenate(kinds)
    parts = [held[kinds == k] for k in range(NUM_CLASSES)] if class_wise else [held]
    for part in parts:
        # Exactly between .8 and .8 + 1 / (n + 1) on average; thresholds vary from draw to draw.
        assert 0.8 - 0.03 < part.mean() < 0.8 + 0.03 + 1 / 20


def test_ranks_are_exact_where_floats_are_not() -> None:
    values, alone = np.arange(99, 0, -1, dtype=np.float32), np.arange(99)
    # 0.29 * 100 is 28.999999999999996 in floats, 0.07 * 100 is 7.000000000000001.
    for percent in (1, 7, 29, 57, 58, 90, 99):
        assert conformal_threshold(values, alone, percent / 100) == 100 - percent
    assert conformal_threshold(values[:9], np.arange(9), 0.9) == values[8]
    with pytest.raises(ValueError, match=r"needs 9 images.*Received: 8"):
        conformal_threshold(values[:8], np.arange(8), 0.9)


@pytest.mark.parametrize(("coverage", "count"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.99, 99)])
def test_as_many_images_as_are_said_to_be_needed_suffice(coverage, count) -> None:
    assert least_count(coverage) == count
    values = np.linspace(0.1, 0.9, count, dtype=np.float32)
    assert conformal_threshold(values, np.arange(count), coverage) == values[0]


def test_ties_are_inside() -> None:
    values = np.array([0.5] * 6 + [0.2] * 4, np.float32)
    assert conformal_threshold(values, np.arange(10), 0.5) == np.float32(0.5)
    assert conformal_threshold(values, np.arange(10), 0.6) == np.float32(0.2)


def test_each_group_counts_once() -> None:
    values = np.array([0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1], np.float32)
    groups = np.array([0, 1, 2, 3, 3, 3, 3])
    # Of four groups three have all their images above .7: 3 of 4 + 1.
    assert conformal_threshold(values, groups, 0.6) == np.float32(0.7)
    assert conformal_threshold(values, groups, 0.61) == np.float32(0.1)
    assert conformal_threshold(values, np.arange(7), 0.6) == np.float32(0.1)
    # Repeating every group's images changes nothing.
    twice = conformal_threshold(np.tile(values, 2), np.tile(groups, 2), 0.6)
    assert twice == np.float32(0.7)


def test_coverage_holds_for_new_groups() -> None:
    """One group with most of the images says little about others."""
    held, ungrouped = [], []
    groups = np.repeat(np.arange(10), [60, *[1] * 9])
    for seed in range(200):
        random = np.random.default_rng(seed)
        own = random.uniform(0, 1, 10).astype("float32")[groups]
        new = random.uniform(0, 1, 50)
        held.append(new >= conformal_threshold(own, groups, 0.8))
        ungrouped.append(new >= conformal_threshold(own, np.arange(69), 0.8))
    # The rank among 10 groups is ceil(.8 * 11) = 9, which covers 9 / 11.
    assert np.mean(held) == pytest.approx(9 / 11, abs=0.02)
    assert np.mean(ungrouped) < 0.7


# === Temperature ===


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found(temperature) -> None:
    _, scores, labels = answers(4000)
    sharpened = softmax(log_softmax(np.log(scores), axis=1) / temperature, axis=1)
    found = fit_temperature(sharpened, labels, np.arange(4000))
    assert found == pytest.approx(1 / temperature, rel=0.08)


def test_temperature_of_perfect_and_of_useless_answers_is_finite() -> None:
    labels = np.arange(20) % 2
    assert fit_temperature(np.eye(2)[labels], labels, np.arange(20)) >= 0.049
    assert fit_temperature(np.eye(2)[1 - labels], labels, np.arange(20)) <= 20.1


def test_shown_probabilities_are_tempered() -> None:
    calibration = replace(fitted(), temperature=2.0)
    _, scores, _ = answers(10, seed=2)
    found = calibration.rule()(random_scores(10, views=2, labels=6), scores)["probabilities"]
    expected = np.sqrt(scores) / np.sqrt(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)
    # Sets read the probabilities as they are.
    np.testing.assert_array_equal(sets_of(calibration, scores), sets_of(fitted(), scores))


# === Foreign images and acceptance ===


def test_the_share_of_own_images_called_foreign_is_as_asked() -> None:
    shares = {0.05: [], 0.2: []}
    for seed in range(20):
        calibration = fitted(200, seed)
        new = random_scores(200, views=2, labels=6, seed=seed + 500)
        scores = answers(200, seed)[1]
        for abstain, found in shares.items():
            found.append(
                ops.convert_to_numpy(calibration.rule(abstain=abstain)(new, scores)["foreign"])
            )
    assert 0.03 < np.mean(shares[0.05]) < 0.06
    assert 0.17 < np.mean(shares[0.2]) < 0.22


def test_accepted_are_single_classes_of_known_images() -> None:
    source_scores, scores, _ = answers(60, seed=4)
    # Answers that no image like these gets: all weight on one label.
    source_scores[:20] = np.eye(6, dtype="float32")[np.zeros((20, 2), int)]
    rule = fitted().rule(coverage=0.8)
    found = {
        name: ops.convert_to_numpy(value) for name, value in rule(source_scores, scores).items()
    }
    assert found["foreign"][:20].all() and not found["foreign"][20:].all()
    single = found["set"].sum(axis=1) == 1
    np.testing.assert_array_equal(found["accepted"], single & ~found["foreign"])
    assert 0 < found["accepted"].sum() < single.sum()
    none = fitted().rule(coverage=0.8, abstain=0)(source_scores, scores)
    assert not ops.convert_to_numpy(none["foreign"]).any()


def test_groups_are_not_on_both_sides_of_the_distance() -> None:
    groups = np.arange(200) // 4
    calibration = fitted(groups=groups, abstain=0.1)
    far = set(calibration.distance_groups.tolist())
    assert len(calibration.distance.references) == 25 * 4 and len(far) == 25
    assert calibration.num_groups == 50 and "200 held-out images of 50 groups" in str(calibration)


# === Bad input ===


@pytest.mark.parametrize(
    ("count", "choices", "message"),
    [
        (60, {"coverage": 0.0}, r"`coverage` must be .* Received: coverage=0.0"),
        (60, {"coverage": 1.0}, r"`coverage` must be .* Received: coverage=1.0"),
        (60, {"abstain": 1.0}, r"`abstain` must be .* Received: abstain=1.0"),
        (60, {"abstain": -0.1}, r"`abstain` must be .* Received: abstain=-0.1"),
        (60, {"coverage": 0.99}, r"0.99 needs at least 99 calibrating images.*Received: 60"),
        (37, {}, r"`abstain=0.05` needs at least 38 calibrating images.*Received: 37"),
        (
            60,
            {"class_wise": True, "coverage": 0.95},
            r"at least 19 .* in every class.*class \d has",
        ),
    ],
)
def test_too_few_images_and_wrong_shares_are_refused(count, choices, message) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(count, **choices)
    if count == 60:
        with pytest.raises(ValueError, match=message):
            fitted(count).rule(**choices)


def test_a_class_without_images_has_no_coverage_of_its_own() -> None:
    source_scores, scores, _ = answers(60)
    labels = np.arange(60) % (NUM_CLASSES - 1)
    options = {"score_kind": "probabilities", "epsilon": 1e-14, "seed": 0}
    calibration = fit_calibration(source_scores, scores, labels, None, **options)
    with pytest.raises(ValueError, match="class 3 has 0"):
        calibration.rule(class_wise=True)


# === Plain values ===


def test_plain_values_give_the_same_calibration() -> None:
    calibration = fitted(groups=np.arange(200) // 2, class_wise=True, coverage=0.75, weights="ab")
    plain, arrays = to_plain(calibration)
    again = from_plain(plain, {name: array.tolist() for name, array in arrays.items()})
    assert str(again) == str(calibration) and again.weights == "ab"
    for name, array in to_plain(again)[1].items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
    with pytest.raises(ValueError, match=r"format 1.*Received: 2"):
        from_plain(plain | {"format": 2}, arrays)


# === Distance ===


@pytest.mark.parametrize("kind", ["probabilities", "independent", "logits", "features"])
def test_distance_is_the_angle_to_the_fifth_nearest(kind) -> None:
    known, new = (random_scores(n, views=2, labels=6, seed=n) for n in (30, 7))
    distance = AnswerDistance.fit(known, kind, 1e-14)
    rows = []
    for scores in (known, new):
        logs = scores.astype(float)
        if kind in ("probabilities", "independent"):
            logs = np.log(logs)
        if kind == "independent":
            logs = logs - np.log(1 - scores.astype(float))
        if kind in ("probabilities", "logits"):
            logs = logs - logs.mean(axis=-1, keepdims=True)
        flat = logs.reshape(len(scores), -1)
        rows.append(flat / np.linalg.norm(flat, axis=1, keepdims=True))
    expected = np.sort(1 - rows[1] @ rows[0].T, axis=1)[:, 4]
    np.testing.assert_allclose(ops.convert_to_numpy(distance(new)), expected, atol=1e-6)


def test_known_answers_take_little_room() -> None:
    assert (
        len(AnswerDistance.fit(random_scores(300, labels=5), "probabilities", 0).references) == 256
    )
    wide = random_scores(40, views=8, labels=5000)
    assert len(AnswerDistance.fit(wide, "probabilities", 1e-14).references) == 26
    few = random_scores(2, labels=5)
    assert AnswerDistance.fit(few, "probabilities", 1e-14)(few).shape == (2,)


def test_groups_become_numbers() -> None:
    assert group_numbers(np.array(["b", "a", "b"]), 3).tolist() == [1, 0, 1]
    assert group_numbers(None, 3).tolist() == [0, 1, 2]
