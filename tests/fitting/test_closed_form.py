"""The closed form of few images a class, the folds, and which fit is taken."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from small_models import images_and_labels, small_model

from keras_reprogram import DenseMap
from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.fitting.closed_form import SHRINKAGE, fit_discriminant
from keras_reprogram.fitting.fit_choice import fit_linear_map
from keras_reprogram.fitting.folds import draw_folds, fold_numbers


def clouds(counts, spread=1.0, dimension=6, seed=0):
    """Normal classes of one covariance, unlike the identity."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = 2 * np.eye(len(counts), dimension)
    noise = random.normal(0, spread, (len(labels), dimension)) * np.linspace(0.5, 2, dimension)
    return (means[labels] + noise).astype(np.float32), labels


def probabilities(fit, features):
    odds = np.exp(features @ fit.kernel + fit.bias)
    return odds / odds.sum(axis=1, keepdims=True)


def test_it_is_the_shrunk_discriminant_at_a_temperature():
    features, labels = clouds([9, 6, 4])
    fit = fit_discriminant(features, labels, num_classes=3)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(features, labels)
    # Theirs divides the scatter within classes by n, ours by its degrees of freedom.
    factor = (len(labels) - 3) / len(labels) / fit.regularization
    ours = fit.kernel - fit.kernel[:, :1]
    np.testing.assert_allclose(ours, factor * (theirs.coef_ - theirs.coef_[0]).T, atol=1e-4)
    shares = np.log(np.bincount(labels) / len(labels))
    offsets = theirs.intercept_ - shares
    expected = factor * (offsets - offsets[0]) + shares - shares[0]
    np.testing.assert_allclose(fit.bias - fit.bias[0], expected, atol=1e-4)


def test_larger_classes_are_likelier_and_absent_ones_are_not_there():
    features, labels = clouds([12, 3, 5], spread=50.0)
    fit = fit_discriminant(features, 2 * labels, num_classes=6)
    read = probabilities(fit, features).mean(axis=0)
    np.testing.assert_allclose(read[::2], [0.6, 0.15, 0.25], atol=0.1)
    assert read[1::2].max() < 1e-9


def test_left_out_images_temper_it():
    loss = {}
    for spread in (1.0, 3.0):
        features, labels = clouds([6, 6, 6], spread)
        others, theirs = clouds([200, 200, 200], spread, seed=1)
        fit = fit_discriminant(features, labels, num_classes=3)
        own = probabilities(fit, others)[np.arange(600), theirs]
        loss[spread] = -np.log(own).mean()
        # What folds said is about what unseen images say.
        assert fit.held_out.losses.mean() == pytest.approx(loss[spread], rel=0.35)
    # Guessing costs 1.1.
    assert loss[1.0] < 0.7 < loss[3.0] < 1.15


def test_images_of_weight_zero_do_not_count():
    features, labels = clouds([5, 4, 6])
    weight = np.random.default_rng(0).integers(0, 3, len(labels)).astype(float)
    weight[[0, 5, 9]] = 1
    some, other = (
        fit_discriminant(*data, num_classes=3, sample_weight=share, groups=groups)
        for data, share, groups in (
            ((features, labels), weight, None),
            ((features[weight > 0], labels[weight > 0]), weight[weight > 0], None),
        )
    )
    np.testing.assert_array_equal(
        (features @ some.kernel + some.bias).argmax(axis=1),
        (features @ other.kernel + other.bias).argmax(axis=1),
    )


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 2, 2], [1, 7, 1]])
def test_one_or_two_images_a_class_are_enough(counts):
    features, labels = clouds(counts, spread=0.3)
    fit = fit_discriminant(features, labels, num_classes=3)
    others, theirs = clouds([50, 50, 50], spread=0.3, seed=1)
    read = probabilities(fit, others)
    assert np.mean(read.argmax(axis=1) == theirs) > 0.8
    assert np.isfinite(read).all() and (fit.held_out is None) == (min(counts) == max(counts))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        fit_discriminant(np.ones((3, 2)), np.zeros(3, int), num_classes=2)


@pytest.mark.parametrize("groups", [None, np.arange(60) // 3])
def test_folds_leave_every_row_out_once_and_keep_groups_together(groups):
    labels = np.arange(60) // 3 % 4
    folds = draw_folds(labels, np.ones(60), 0.2, 0, groups)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(60))
    for train, held in folds:
        assert not set(train) & set(held)
        assert set(labels[held]) == set(range(4))
        if groups is not None:
            assert not set(groups[train]) & set(groups[held])
    assert len(np.unique(fold_numbers(labels, 0, groups))) == len(folds) == 5


def test_many_rows_are_split_once_and_a_share_of_zero_spares_none():
    labels = np.arange(600) % 4
    (fold,) = draw_folds(labels, np.ones(600), 0.2, 0, None)
    assert [len(part) for part in fold] == [480, 120]
    assert draw_folds(labels[:60], np.ones(60), 0.0, 0, None) == []
    assert draw_folds(np.arange(4), np.ones(4), 0.2, 0, None) == []


def test_the_exact_fit_of_few_rows_is_chosen_on_all_of_them():
    features, labels = clouds([30, 30, 30])
    fit = fit_logistic_regression(features, labels, num_classes=3)
    assert sorted(fit.held_out.rows) == list(range(90))
    np.testing.assert_array_equal(fit.held_out.labels, labels[fit.held_out.rows])
    assert fit.held_out.accuracy() == fit.validation_accuracy
    split = fit_logistic_regression(features, labels, num_classes=3, few=0)
    assert len(split.held_out.rows) == 18


def test_the_number_of_images_chooses_the_fit_or_its_name_does():
    features, labels = clouds([9, 9, 9])
    more, theirs = clouds([10, 10, 10])
    assert fit_linear_map(features, labels, num_classes=3, method="auto").method == "closed_form"
    assert fit_linear_map(more, theirs, num_classes=3, method="auto").method == "exact"
    tracks = np.arange(30) // 2
    few = fit_linear_map(more, theirs, num_classes=3, method="auto", groups=tracks)
    assert few.method == "closed_form"
    weight = np.r_[0.0, np.ones(29)]
    assert (
        fit_linear_map(more, theirs, num_classes=3, method="auto", sample_weight=weight).method
        == "closed_form"
    )
    for name in ("exact", "closed_form"):
        for data in ((features, labels), (more, theirs)):
            assert fit_linear_map(*data, num_classes=3, method=name).method == name


@pytest.mark.parametrize("name", ["auto", "exact", "closed_form"])
def test_a_map_keeps_its_fit_and_models_ask_it(name):
    output_map = DenseMap(3, fit=name)
    copy = DenseMap.from_config(output_map.get_config())
    assert copy.fit == name
    assert ("fit" in output_map.get_config()) == (name != "exact")
    model = small_model(output_map=copy, fitted=False)
    fit = model.fit_output_map(*images_and_labels(), verbose=0)
    # 26 images of 3 classes.
    assert fit.method == ("exact" if name == "exact" else "closed_form")


def test_an_unknown_fit_is_refused():
    with pytest.raises(ValueError, match="`fit` must be one of .*closed_form.*Received: fit='lda'"):
        DenseMap(3, fit="lda")


@pytest.mark.parametrize("given", [{"ordinal": True}, {"targets": "multi_label"}])
def test_grades_and_findings_have_the_exact_fit_only(given):
    with pytest.raises(ValueError, match="closed form is for one class an image"):
        DenseMap(3, fit="closed_form", **given)
    assert DenseMap(3, **given).fit == "exact"
    features, labels = clouds([5, 5, 5])
    assert (
        fit_linear_map(features, labels, num_classes=3, method="auto", ordinal=True).method
        == "exact"
    )
    findings = np.eye(3, dtype=int)[labels]
    assert fit_linear_map(features, findings, num_classes=3, method="auto").method == "exact"
