from math import sqrt
from statistics import NormalDist

import pytest

from keras_reprogram.report import wilson_interval


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("successes, trials", [(0, 1), (1, 1), (0, 7), (9, 10), (945, 1000)])
def test_is_the_published_formula(successes, trials, confidence):
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    centre = p + z**2 / (2 * trials)
    margin = z * sqrt(p * (1 - p) / trials + (z / (2 * trials)) ** 2)
    ends = ((centre - margin) / (1 + z**2 / trials), (centre + margin) / (1 + z**2 / trials))
    assert wilson_interval(successes, trials, confidence) == pytest.approx(ends, abs=1e-12)


def test_ends_are_exact_at_none_and_all():
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(20, 20)[1] == 1.0


@pytest.mark.parametrize("successes, trials, confidence", [(0, 0, 0.95), (3, 2, 0.95), (1, 2, 95)])
def test_refuses_counts_and_confidence_out_of_range(successes, trials, confidence):
    with pytest.raises(ValueError, match="Received:"):
        wilson_interval(successes, trials, confidence)
