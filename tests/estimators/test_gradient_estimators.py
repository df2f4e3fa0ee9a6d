"""Every estimator through the same checks: a new estimator is one more row."""

import itertools

import numpy as np
import pytest
from checks import check_gradient_estimator as checks

from keras_reprogram import SPSA, CoordinateWise, GradientEstimator, RandomDirections


def random_directions(distribution, per_image, two_sided):
    # A direction that all images share is one direction; one for each of two images are two.
    num_directions = {"few": 3, "many": 3000 if per_image else 6000}

    def build(quality):
        return RandomDirections(
            num_directions[quality],
            smoothing=0.002,
            per_image=per_image,
            two_sided=two_sided,
            distribution=distribution,
        )

    return build


ESTIMATORS = {
    f"{distribution} {'per image' if per_image else 'shared'} {1 + two_sided}-sided": (
        random_directions(distribution, per_image, two_sided)
    )
    for distribution, per_image, two_sided in itertools.product(
        ("sphere", "gaussian", "rademacher"), (True, False), (False, True)
    )
}


def coordinates(**options):
    return lambda quality: CoordinateWise(3 if quality == "few" else None, 0.01, **options)


def spsa(number, **options):
    return lambda quality: SPSA(3 if quality == "few" else number, 0.002, **options)


ESTIMATORS |= {
    "sphere per image of scores": lambda quality: RandomDirections(
        3 if quality == "few" else 3000, smoothing=0.002, differences="scores"
    ),
    "coordinates": coordinates(),
    "coordinates 1-sided": coordinates(two_sided=False),
    "coordinates uniform": coordinates(importance=False),
    "coordinates of scores": coordinates(differences="scores"),
    "SPSA": spsa(6000),
    "SPSA per image": spsa(3000, per_image=True),
    "SPSA of scores": spsa(6000, differences="scores"),
}


# Each value of each option is in a fast one; the other combinations share its code.
SELDOM = (
    *("sphere per image 2-sided", "sphere shared 2-sided"),
    *("gaussian per image 1-sided", "gaussian per image 2-sided", "gaussian shared 1-sided"),
    *("rademacher per image 1-sided", "rademacher shared 1-sided", "rademacher shared 2-sided"),
    *("coordinates uniform", "SPSA of scores"),
)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SELDOM)) for n in ESTIMATORS]
)
def test_estimator_keeps_the_contract(name):
    checks.check_gradient_estimator(ESTIMATORS[name])


@pytest.mark.parametrize("distribution", ["sphere", "gaussian", "rademacher"])
def test_smoothing_is_the_rms_step_of_an_active_coordinate(distribution):
    steps = []

    def losses(candidates):
        steps.append(np.asarray(candidates - checks.point())[..., checks.LIVE])
        return checks.smooth_losses(candidates)

    checks.estimate(RandomDirections(2000, 0.01, distribution=distribution), losses)
    assert np.sqrt(np.mean(np.square(steps[0]))) == pytest.approx(0.01, rel=0.02)
    lengths = np.linalg.norm(steps[0], axis=-1) / 0.01
    if distribution == "gaussian":
        assert np.ptp(lengths) > 1
    else:
        np.testing.assert_allclose(lengths, np.sqrt(checks.LIVE.sum()), rtol=0.02)


def test_shared_direction_on_the_sphere_is_the_formula_of_bar():
    """`g = b (f(W + eps u) - f(W)) / eps u`, b = d, |u| = 1, mean over q, in plain NumPy."""
    size, number, smoothing = 6, 4, 0.01
    value = np.linspace(-1, 1, size).astype("float32")
    centres = np.random.default_rng(0).normal(size=(3, size)).astype("float32")
    asked = []

    def losses(candidates):
        asked.append(np.asarray(candidates))
        return np.square(np.asarray(candidates) - centres).sum(axis=-1)

    clean = np.square(value - centres).sum(axis=-1)
    estimator = RandomDirections(number, smoothing, per_image=False)
    generator = checks.keras.random.SeedGenerator(0)
    found = estimator.estimate(losses, value, clean, np.ones(size, bool), generator)
    d, length = size, smoothing * np.sqrt(size)
    units = (asked[0][:, 0].astype("float64") - value) / length
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-4)
    gradients = []
    for u in units:
        ahead = np.square(value + length * u - centres).sum(axis=-1).mean()
        gradients.append(d * (ahead - clean.mean()) / length * u)
    np.testing.assert_allclose(found, np.mean(gradients, axis=0), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("build", [RandomDirections, SPSA])
def test_clip_scales_a_long_estimate_down_and_leaves_a_short_one(build):
    free = checks.estimate(build(5, 0.01))
    length = np.linalg.norm(free)
    np.testing.assert_allclose(
        checks.estimate(build(5, 0.01, clip=length / 2)), free / 2, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(checks.estimate(build(5, 0.01, clip=2 * length)), free)

    def steep(candidates):
        return 1e4 * checks.smooth_losses(candidates)

    clipped = checks.estimate(build(5, 0.01, clip="sqrt"), steep)
    assert np.linalg.norm(clipped) == pytest.approx(np.sqrt(checks.LIVE.sum()), rel=1e-4)


def test_two_sided_takes_the_point_as_the_middle():
    """At the bottom of a bowl both sides are equally high: the slope is 0, whatever the step."""
    value = np.zeros(3, "float32")

    def losses(candidates):
        return np.square(candidates).sum(axis=-1)

    facts = (losses, value, np.zeros(1, "float32"), np.ones(3, bool))
    for two_sided in (False, True):
        estimator = RandomDirections(3, smoothing=1.0, two_sided=two_sided)
        found = estimator.estimate(*facts, checks.keras.random.SeedGenerator(0))
        assert np.allclose(found, 0, atol=1e-6) is two_sided


@pytest.mark.parametrize("per_image", [True, False])
def test_images_have_directions_of_their_own_or_share_them(per_image):
    seen = []

    def losses(candidates):
        seen.append(np.asarray(candidates))
        return checks.smooth_losses(candidates)

    checks.estimate(RandomDirections(5, per_image=per_image), losses)
    assert seen[0].shape == (5, checks.BATCH if per_image else 1, checks.SIZE)
    rows = seen[0].reshape(-1, checks.SIZE)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_nothing_active_gives_nothing():
    value = np.zeros(3, "float32")
    estimator = RandomDirections(2)
    found = estimator.estimate(
        lambda candidates: np.asarray(candidates).sum(axis=-1),
        value,
        np.zeros(1, "float32"),
        np.zeros(3, bool),
        checks.keras.random.SeedGenerator(0),
    )
    np.testing.assert_array_equal(found, value)


WRONG = [
    ({"num_directions": 0}, "`num_directions` must be a positive integer"),
    ({"smoothing": 0.0}, "`smoothing` must be a number greater than 0"),
    ({"smoothing": float("nan")}, "`smoothing` must be a number greater than 0"),
    ({"clip": 0.0}, '`clip` must be None, "sqrt" or a number.*Received: 0.0'),
    ({"clip": "root"}, "`clip` must be .*Received: 'root'"),
    ({"clip": True}, "`clip` must be .*Received: True"),
    ({"differences": "labels"}, "`differences` must be one of.*Received: differences='labels'"),
    ({"distribution": "cauchy"}, "`distribution` must be one of.*Received: distribution='cauchy'"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RandomDirections(**options)


class TwiceTooLong(RandomDirections):
    def estimate(self, *arguments):
        return 2 * super().estimate(*arguments)


class Understated(RandomDirections):
    @property
    def queries_per_image(self):
        return self.num_directions - 1


class Everywhere(RandomDirections):
    def estimate(self, losses, value, clean_losses, active, seed):
        return super().estimate(losses, value, clean_losses, np.ones_like(active), seed)


class Forgetful(RandomDirections):
    def estimate(self, *arguments):
        return super().estimate(*arguments[:-1], None)


BROKEN = {
    TwiceTooLong: "slope (1.9|2.0)",
    Understated: "declared 2 queries an image, asked 3",
    Everywhere: "reaches no pixel",
    Forgetful: "not equal",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_checks_find_a_broken_estimator(broken):
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        checks.check_gradient_estimator(lambda quality: broken({"few": 3, "many": 4000}[quality]))


@pytest.mark.parametrize("missing", ["queries_per_image", "get_config", "estimate"])
def test_an_unfinished_estimator_says_what_is_missing(missing):
    with pytest.raises(NotImplementedError, match=f"GradientEstimator must .*`{missing}`"):
        member = getattr(GradientEstimator(), missing)
        member(*[None] * 5) if missing == "estimate" else member()
