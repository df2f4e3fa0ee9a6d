"""Measures of an owner: what a caller sees of the scores."""

import numpy as np
import pytest

from keras_reprogram.audit import measures_for, noisy, read_measure, rounded, tempered, top_scores
from keras_reprogram.audit.measures import AS_IT_IS, as_probabilities, top_label

SCORES = np.random.default_rng(0).dirichlet(np.ones(8), size=(6, 2)).astype("float32")


def test_scores_without_a_measure_are_the_scores() -> None:
    shown = AS_IT_IS.apply(SCORES, "logits", 0.1)
    assert shown.scores is SCORES
    assert (shown.score_kind, shown.score_step) == ("logits", 0.1)


@pytest.mark.parametrize("text", ["top-label", "top-scores=3", "rounded=0.01", "noise=0.01"])
def test_scores_that_need_not_sum_to_1_are_declared_so(text: str) -> None:
    shown = read_measure(text).apply(SCORES, "probabilities")
    assert shown.scores.shape == SCORES.shape and shown.scores.dtype == np.float32
    assert shown.score_kind == "independent"
    assert shown.scores.min() >= 0 and shown.scores.max() <= 1
    assert not np.array_equal(shown.scores, SCORES)


def test_only_the_largest_scores_are_left() -> None:
    shown = top_scores(3).apply(SCORES, "probabilities").scores
    assert ((shown > 0).sum(axis=-1) == 3).all()
    assert np.allclose(shown.sum(axis=-1), np.sort(SCORES, axis=-1)[..., -3:].sum(axis=-1))
    all_of_them = top_scores(8).apply(SCORES, "probabilities").scores
    assert np.allclose(all_of_them, SCORES)


def test_scores_lie_on_the_step() -> None:
    shown = rounded(0.05).apply(SCORES, "probabilities")
    assert np.allclose(shown.scores / 0.05, np.round(shown.scores / 0.05), atol=1e-4)
    assert np.abs(shown.scores - SCORES).max() <= 0.0251
    assert shown.score_step == 0.05


def test_noise_is_another_one_for_every_answer_and_cannot_be_averaged_out() -> None:
    measure = noisy(0.02)
    first = measure.apply(SCORES, "probabilities").scores
    again = measure.apply(SCORES[2:4], "probabilities").scores
    assert np.array_equal(first[2:4], again)
    noise = (first - SCORES)[SCORES > 0.1]
    assert 0.012 < noise.std() < 0.028
    assert len(np.unique(np.round(noise, 6))) == len(noise)


@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_temperature_divides_logits(temperature: float) -> None:
    logits = np.log(SCORES)
    expected = as_probabilities(logits / temperature, "logits")
    for scores, kind in ((SCORES, "probabilities"), (logits, "logits")):
        shown = tempered(temperature).apply(scores, kind)
        assert shown.score_kind == "probabilities"
        assert np.allclose(shown.scores, expected, atol=1e-6)


def test_temperature_of_independent_scores_is_that_of_each() -> None:
    logits = np.array([[-2.0, 0.0, 3.0]])
    shown = tempered(2.0).apply(logits, "independent_logits")
    assert shown.score_kind == "independent"
    assert np.allclose(shown.scores, 1 / (1 + np.exp(-logits / 2)), atol=1e-6)


def test_a_single_score_has_a_label_on_each_side_of_one_half() -> None:
    shown = top_label().apply(np.array([[0.4], [0.6]]), "independent")
    assert shown.scores.tolist() == [[0.0], [1.0]]


def test_a_list_of_all_scores_is_no_measure() -> None:
    assert "top 5 only" in [measure.name for measure in measures_for(43)]
    assert "top 5 only" not in [measure.name for measure in measures_for(5)]


def test_features_have_no_measures() -> None:
    with pytest.raises(ValueError, match="Measures are for scores. Received: score_kind='feat"):
        top_label().apply(SCORES, "features")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round=0.1", "A measure must be one of top-label"),
        ("top-label=3", "It has another form"),
        ("rounded", "It has another form"),
        ("rounded=0", "`step` must be above 0 and at most 1. Received: 0"),
        ("noise=nan", "`deviation` must be above 0"),
        ("noise=much", "could not convert"),
        ("top-scores=2.5", "`count` must be a whole number"),
        ("temperature=inf", "`temperature` must be above 0. Received: inf"),
    ],
)
def test_a_wrong_measure_names_the_way_out(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_measure(text)
