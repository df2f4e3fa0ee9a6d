"""Parts that are fitted each by itself, and weighed on the validation part."""

import numpy as np
import pytest

from keras_reprogram.fitting import fit_joined_parts, fit_logistic_regression
from keras_reprogram.fitting.validation import validation_score


def data(count=120, noise=(1.0, 1.0, 1.0), seed=0):
    """Three parts that know the class, each through noise of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    parts = [np.eye(3)[labels] + random.normal(0, scale, (count, 3)) for scale in noise]
    return np.concatenate(parts, axis=1).astype(np.float32), labels


PARTS = (3, 3, 3)


def held_out(features, labels, **options):
    how = {"num_classes": 3, "sample_weight": None, "validation_split": 0.2, "seed": 0}
    return fit_logistic_regression(features, labels, **how | options).held_out


def test_the_result_is_the_weighted_sum_of_the_parts_own_fits():
    features, labels = data()
    fit = fit_joined_parts(features, labels, parts=PARTS, num_classes=3)
    for number, share in enumerate(fit.part_weights):
        columns = slice(3 * number, 3 * number + 3)
        alone = fit_logistic_regression(features[:, columns], labels, num_classes=3)
        np.testing.assert_allclose(fit.kernel[columns], share * alone.kernel, atol=1e-6)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("noise", [(0.5, 0.5, 0.5), (0.3, 2.0, 9.0), (0.6, 0.6, 30.0)])
def test_it_is_never_worse_on_validation_than_a_part(noise, seed):
    features, labels = data(60, noise, seed)
    fit = fit_joined_parts(features, labels, parts=PARTS, num_classes=3)
    columns = [features[:, 3 * number : 3 * number + 3] for number in range(3)]
    parts = [held_out(some, labels) for some in columns]
    joined = sum(
        share * part.log_probabilities for share, part in zip(fit.part_weights, parts, strict=True)
    )
    odds = np.exp(joined)
    score = validation_score(odds / odds.sum(axis=1, keepdims=True), parts[0].labels)
    assert fit.validation_accuracy == pytest.approx(score.accuracy)
    alone = [validation_score(np.exp(part.log_probabilities), part.labels) for part in parts]
    assert score.loss <= min(one.loss for one in alone) + 1e-6


def test_parts_that_know_different_things_make_a_better_map():
    features, labels = data(600, (1.0, 1.0, 1.0))
    train, test = np.arange(300), np.arange(300, 600)
    fit = fit_joined_parts(features[train], labels[train], parts=PARTS, num_classes=3)
    read = (features[test] @ fit.kernel + fit.bias).argmax(axis=1)
    alone = fit_logistic_regression(features[train, :3], labels[train], num_classes=3)
    by_one = (features[test, :3] @ alone.kernel + alone.bias).argmax(axis=1)
    assert np.mean(read == labels[test]) > np.mean(by_one == labels[test]) + 0.1


def test_noise_gets_little_weight():
    features, labels = data(300, (0.4, 50.0, 50.0))
    weights = fit_joined_parts(features, labels, parts=PARTS, num_classes=3).part_weights
    assert weights[0] > 0.7


def test_where_nothing_can_be_held_out_the_parts_count_alike():
    features, labels = data(3)
    fit = fit_joined_parts(features, labels, parts=PARTS, num_classes=3)
    assert fit.part_weights == pytest.approx((1 / 3,) * 3) and fit.validation_accuracy is None


def test_weights_and_groups_reach_every_part():
    features, labels = data(90, (0.8, 0.8, 0.8))
    weight, groups = 1.0 + (labels == 1), np.arange(90) // 3
    fit = fit_joined_parts(
        features, labels, parts=PARTS, num_classes=3, sample_weight=weight, groups=groups
    )
    alone = fit_logistic_regression(
        features[:, :3], labels, num_classes=3, sample_weight=weight, groups=groups
    )
    np.testing.assert_allclose(fit.kernel[:3], fit.part_weights[0] * alone.kernel, atol=1e-6)


def test_widths_that_do_not_sum_are_named():
    features, labels = data()
    with pytest.raises(ValueError, match=r"9 columns.*\(3, 3\)"):
        fit_joined_parts(features, labels, parts=(3, 3), num_classes=3)
