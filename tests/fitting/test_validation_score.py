"""Weighted figures of held-out images, by which everything is chosen."""

import numpy as np
import pytest
from checks.tiny_models import random_scores
from sklearn.metrics import log_loss

from keras_reprogram.fitting.validation import NOTHING_YET, ValidationScore, validation_score

PROBABILITIES = random_scores(30, labels=4)[:, 0]
LABELS = np.arange(30) % 4


def test_images_count_by_their_weights():
    weight = np.random.default_rng(0).integers(0, 4, 30)
    score = validation_score(PROBABILITIES, LABELS, weight)
    repeated = validation_score(np.repeat(PROBABILITIES, weight, 0), np.repeat(LABELS, weight))
    assert (score.loss, score.error) == pytest.approx((repeated.loss, repeated.error))
    assert score.loss == pytest.approx(
        log_loss(LABELS, PROBABILITIES / PROBABILITIES.sum(1, keepdims=True), sample_weight=weight),
        rel=1e-5,
    )
    assert score.loss != pytest.approx(validation_score(PROBABILITIES, LABELS).loss, rel=1e-3)


def test_balanced_weights_give_balanced_accuracy():
    labels = np.r_[np.zeros(27, int), np.ones(3, int)]
    says_zero = np.tile([0.9, 0.1], (30, 1))
    weight = np.where(labels == 0, 30 / 54, 30 / 6)
    assert validation_score(says_zero, labels).accuracy == pytest.approx(0.9)
    assert validation_score(says_zero, labels, weight).accuracy == pytest.approx(0.5)


def test_no_weight_at_all_is_none():
    equal = validation_score(PROBABILITIES, LABELS)
    assert validation_score(PROBABILITIES, LABELS, np.zeros(30)) == equal
    certain = validation_score(np.eye(2)[[0, 0]], np.array([0, 1]))
    assert np.isfinite(certain.loss) and certain.error == 0.5


def test_the_better_one_is_surer_and_wrong_no_more_often():
    best = ValidationScore(0.5, 0.1)
    assert best.beats(NOTHING_YET) and not best.beats(best)
    assert ValidationScore(0.4, 0.1).beats(best)
    assert not ValidationScore(0.4, 0.2).beats(best)
    assert not ValidationScore(0.6, 0.0).beats(best)
