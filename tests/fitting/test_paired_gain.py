"""Differences of losses of the same images, and their standard error."""

import numpy as np
import pytest

from keras_reprogram.fitting.validation import paired_gain, validation_score


def test_gain_and_standard_error_are_those_of_the_differences():
    random = np.random.default_rng(0)
    before, after = random.uniform(1, 2, 40), random.uniform(0, 2, 40)
    gain, error = paired_gain(before, after)
    gains = before - after
    assert gain == pytest.approx(gains.mean())
    assert error == pytest.approx(gains.std(ddof=1) / np.sqrt(40))


def test_images_of_weight_zero_do_not_count():
    before, after = np.random.default_rng(0).uniform(size=(2, 30))
    weight = (np.arange(30) < 20).astype(float)
    assert paired_gain(before, after, weight) == pytest.approx(paired_gain(before[:20], after[:20]))


def test_images_of_one_group_count_as_one():
    before, after = np.random.default_rng(0).uniform(size=(2, 10))
    repeated = [np.repeat(each, 4) for each in (before, after)]
    whole = paired_gain(*repeated, groups=np.repeat(np.arange(10), 4))
    assert whole == pytest.approx(paired_gain(before, after))
    assert paired_gain(*repeated)[1] < 0.6 * whole[1]
    assert paired_gain(before, after, groups=np.zeros(10))[1] == np.inf


def test_a_score_clearly_beats_another_by_more_than_the_error():
    labels = np.zeros(50, int)
    own = np.full(50, 0.5)
    plain = validation_score(np.stack([own, 1 - own], axis=1), labels)
    noise = 0.3 * np.random.default_rng(0).choice([-1, 1], 50)
    for shift, clearly in ((0.2, True), (0.06, False)):
        better = np.clip(own + shift + noise, 0.01, 0.99)
        score = validation_score(np.stack([better, 1 - better], axis=1), labels)
        score = type(score)(score.loss, 0.0, score.losses)
        assert score.clearly_beats(plain) == clearly
