"""Exact fits of several findings against scikit-learn, one binary regression a finding."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from keras_reprogram import fit_logistic_regression
from keras_reprogram.fitting import ViewPool, fit_joined_parts, solve_views
from keras_reprogram.fitting.findings_fit import best_thresholds
from keras_reprogram.fitting.findings_solver import FindingsProblem
from keras_reprogram.fitting.row_losses import SigmoidLosses
from keras_reprogram.fitting.validation import split_validation, strata, validation_score


def rows_with_findings(count=160, width=8, rates=(0.5, 0.2, 0.05), seed=0):
    """Features, and findings of these rates that a linear score of them decides, with noise."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, width)) * np.geomspace(1, 0.2, width)
    scores = features @ random.normal(size=(width, len(rates)))
    scores += 0.3 * random.normal(size=scores.shape)
    limits = [np.quantile(column, 1 - rate) for column, rate in zip(scores.T, rates, strict=True)]
    return features, (scores > limits).astype(int)


def probabilities(fit, features):
    return 1 / (1 + np.exp(-(features @ fit.kernel.astype(float) + fit.bias)))


def direct(features, labels, regularization, weight=None):
    """scikit-learn on features of mean squared norm 1, which the regularisation refers to."""
    centred = features - features.mean(axis=0)
    scaled = centred / np.sqrt(np.mean(np.sum(centred**2, axis=1)))
    model = LogisticRegression(C=regularization, max_iter=5000, tol=1e-9)
    return model.fit(scaled, labels, sample_weight=weight).predict_proba(scaled)[:, 1]


@pytest.mark.parametrize(("count", "width"), [(160, 8), (60, 150)])
def test_each_finding_is_scikit_learns_binary_regression(count, width, monkeypatch):
    monkeypatch.setattr("keras_reprogram.fitting.findings_fit.SPREAD_POWERS", (1.0,))
    features, labels = rows_with_findings(count, width)
    fit = fit_logistic_regression(features, labels, num_classes=3)
    assert fit.kernel.shape == (width, 3)
    for k, regularization in enumerate(fit.regularizations):
        expected = direct(features, labels[:, k], regularization)
        np.testing.assert_allclose(probabilities(fit, features)[:, k], expected, atol=2e-3)


def test_weights_of_findings_are_those_of_their_own_fits(monkeypatch):
    monkeypatch.setattr("keras_reprogram.fitting.findings_fit.SPREAD_POWERS", (1.0,))
    features, labels = rows_with_findings()
    weight = np.random.default_rng(1).uniform(0.2, 3, labels.shape)
    fit = fit_logistic_regression(features, labels, num_classes=3, sample_weight=weight)
    for k, regularization in enumerate(fit.regularizations):
        expected = direct(features, labels[:, k], regularization, weight[:, k])
        np.testing.assert_allclose(probabilities(fit, features)[:, k], expected, atol=2e-3)


def test_a_finding_is_fitted_as_it_would_be_alone():
    """The search of one finding's C and power does not see the others."""
    features, labels = rows_with_findings(rates=(0.5, 0.4, 0.3))
    together = fit_logistic_regression(features, labels, num_classes=3, validation_split=0)
    for k in range(3):
        alone = fit_logistic_regression(features, labels[:, k], num_classes=2, validation_split=0)
        logits = features @ alone.kernel.astype(float) + alone.bias
        expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        np.testing.assert_allclose(probabilities(together, features)[:, k], expected, atol=2e-3)


def excess(rows, labels, solution, regularization):
    """Of the objective of each finding, over scikit-learn's minimum, as a share of that."""

    def objective(signs, kernel, bias):
        losses = np.logaddexp(0, -signs * (rows @ kernel + bias))
        return kernel @ kernel / 2 + regularization * losses.sum()

    found = []
    for k, signs in enumerate((2 * labels - 1).T):
        model = LogisticRegression(C=regularization, solver="newton-cholesky", tol=1e-12)
        least = objective(signs, model.fit(rows, signs).coef_[0], model.intercept_[0])
        found.append(objective(signs, solution.kernel[:, k], solution.bias[k]) / least - 1)
    return np.array(found)


def test_findings_that_are_nearly_sure_reach_their_minima():
    """Where the mean loss is small, an absolute tolerance ends the search far above it."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 60)) * np.geomspace(1, 0.01, 60)
    rows = (rows / np.sqrt(np.square(rows).sum() / len(rows))).astype(np.float32).astype(float)
    scores = rows @ random.normal(size=(60, 5))
    scores += np.array([0, 0, 0, 0.1, 1]) * scores.std(axis=0) * random.normal(size=scores.shape)
    labels = (scores > np.quantile(scores, 0.8, axis=0)).astype(int)
    problem = FindingsProblem(rows, labels, np.ones(labels.shape))
    solution = problem.solve(np.full(5, 1e4), penalty=np.ones((60, 5)))
    apart = excess(rows, labels, solution, 1e4)
    assert (apart > -1e-9).all() and (apart < 1e-5).all()


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_losses_and_slopes_of_sure_labels_keep_their_digits(precision):
    """Of one row with the logit 20, a finding that it has and one that it has not."""
    rows, labels = np.ones((1, 1), precision), np.array([[1, 0]], precision)
    losses = SigmoidLosses(rows, labels, np.array([[1.0, 0.0]]), [slice(0, 1)], map)
    value, slope = losses.mean(np.array([[20.0, -20.0], [0.0, 0.0]]))
    assert value == pytest.approx(np.log1p(np.exp(-20)), rel=1e-6)
    assert slope[0, 0] == pytest.approx(-np.exp(-20) / (1 + np.exp(-20)), rel=1e-6)


def test_settings_are_the_best_on_validation():
    """No C on the grid, at either power, has a clearly lower loss there than the chosen one."""
    features, labels = rows_with_findings(300, 20, rates=(0.4, 0.1))
    fit = fit_logistic_regression(features, labels, num_classes=2)
    train, validation = split_validation(labels, labels, 0.2)
    centred = features - features.mean(axis=0)
    scaled = centred / np.sqrt(np.mean(np.sum(centred**2, axis=1)))

    def loss(k, c):
        model = LogisticRegression(C=c, max_iter=5000).fit(scaled[train], labels[train, k])
        p = model.predict_proba(scaled[validation])
        return -np.log(p[np.arange(len(validation)), labels[validation, k]]).mean()

    for k, chosen in enumerate(fit.regularizations):
        plain = min(loss(k, c) for c in (1, 3, 10, 30, 100, 300, 1000))
        # A power of .75 may have won: then it was at least as good as the best plain ridge.
        assert loss(k, chosen) <= 1.1 * plain or fit.spread_power < 1


@pytest.mark.parametrize("value", [0, 1])
def test_a_finding_that_never_varies_is_a_constant(value):
    features, labels = rows_with_findings()
    labels[:, 1] = value
    fit = fit_logistic_regression(features, labels, num_classes=3)
    assert not fit.kernel[:, 1].any() and fit.kernel[:, 0].any()
    expected = (value * len(labels) + 1) / (len(labels) + 2)
    np.testing.assert_allclose(probabilities(fit, features)[:, 1], expected, rtol=1e-4)
    assert fit.thresholds[1] == 0.5


def test_findings_that_are_not_zero_or_one_are_refused():
    features, labels = rows_with_findings()
    with pytest.raises(ValueError, match="must be 0 or 1. Received: 2"):
        fit_logistic_regression(features, labels * 2, num_classes=3)


@pytest.mark.parametrize("weighted", [False, True])
def test_thresholds_have_the_highest_f1(weighted):
    random = np.random.default_rng(0)
    labels = (random.random((80, 3)) < [0.5, 0.2, 0.1]).astype(int)
    guesses = np.clip(0.4 * labels + random.random(labels.shape) * 0.6, 0, 1).round(2)
    weight = random.uniform(0.1, 2, 80) if weighted else None
    found = best_thresholds(guesses, labels, weight)
    for k in range(3):

        def f1(threshold, k=k):
            return f1_score(labels[:, k], guesses[:, k] >= threshold, sample_weight=weight)

        assert f1(found[k]) == pytest.approx(max(map(f1, np.unique(guesses[:, k]))))


def test_a_finding_without_a_choice_keeps_the_middle():
    assert best_thresholds(np.full((4, 2), 0.2), np.array([[0, 1]] * 4)).tolist() == [0.5, 0.5]


def test_strata_are_the_rarest_findings():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 0]])
    assert strata(labels).tolist() == [1, 0, 3, 2, 1]
    assert strata(np.array([2, 0])).tolist() == [2, 0]


def test_a_split_leaves_every_finding_on_both_sides():
    _, labels = rows_with_findings(400, rates=(0.3, 0.1, 0.02))
    train, validation = split_validation(labels, labels, 0.25)
    assert labels[train].any(axis=0).all() and labels[validation].any(axis=0).all()


def test_validation_score_is_the_mean_over_pairs():
    guesses, labels = np.array([[0.9, 0.4], [0.2, 0.6]]), np.array([[1, 1], [0, 1]])
    score = validation_score(guesses, labels)
    assert score.loss == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.6]).mean())
    assert score.error == 0.25
    weighted = validation_score(guesses, labels, np.array([[0, 1], [0, 0]]))
    assert weighted.loss == pytest.approx(-np.log(0.4)) and weighted.error == 1


def test_parts_of_a_joint_source_are_weighed_on_validation():
    """The second part is noise: the first alone is hardly better, and thresholds are of both."""
    features, labels = rows_with_findings(300)
    noise = np.random.default_rng(5).normal(size=(300, 4))
    fit = fit_joined_parts(
        np.concatenate([features, noise], axis=1), labels, parts=(8, 4), num_classes=3
    )
    assert fit.part_weights[0] > 3 * fit.part_weights[1]
    assert len(fit.thresholds) == 3 and fit.kernel.shape == (12, 3)
    guesses = probabilities(fit, np.concatenate([features, noise], axis=1))
    found = guesses >= fit.thresholds
    assert f1_score(labels, found, average="macro") > 0.8


def test_views_are_chosen_for_findings():
    random = np.random.default_rng(0)
    labels = (random.random((90, 3)) < 0.3).astype(int)
    features = random.normal(size=(90, 5, 3))
    features[:, 3] += 2 * labels  # only view 3 knows the findings
    order = ViewPool(features, labels, num_classes=3).choose(2)
    assert order.views[0] == 3 and order.accuracies[0] > 0.75
    fit = solve_views(5, "mean of the views", features.reshape(90, -1), labels, None, num_classes=3)
    assert np.allclose(fit.kernel[:3], fit.kernel[3:6]) and len(fit.thresholds) == 3
