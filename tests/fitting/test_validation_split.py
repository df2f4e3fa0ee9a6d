"""Seeded, stratified draws and splits."""

import numpy as np
import pytest

from keras_reprogram.fitting.validation import draw_stratified, split_validation

UNEVEN = np.repeat(np.arange(4), (60, 30, 9, 1))


@pytest.mark.parametrize("count", [4, 5, 20, 99, 100])
def test_draw_has_every_class_with_its_share(count: int) -> None:
    drawn = draw_stratified(UNEVEN, count, seed=3)
    counts = np.bincount(UNEVEN[drawn], minlength=4)
    assert len(np.unique(drawn)) == count
    assert counts.min() >= 1
    assert np.all(np.abs(counts - count * np.bincount(UNEVEN) / 100) <= 2)


def test_draws_with_one_seed_are_nested_and_seeds_differ() -> None:
    small, large = draw_stratified(UNEVEN, 20, seed=1), draw_stratified(UNEVEN, 50, seed=1)
    assert set(small) < set(large)
    assert not np.array_equal(small, draw_stratified(UNEVEN, 20, seed=2))


def test_draw_is_the_same_tomorrow() -> None:
    assert draw_stratified(np.arange(12) % 3, 6, seed=0).tolist() == [0, 2, 4, 5, 7, 9]


@pytest.mark.parametrize(
    ("count", "message"), [(101, "at most the 100 images"), (3, "each of the 4 classes")]
)
def test_impossible_draw_is_refused(count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_stratified(UNEVEN, count)


def test_split_is_a_partition_with_the_fraction_and_balance() -> None:
    labels = np.arange(200) % 5
    train, validation = split_validation(labels, labels, fraction=0.25, seed=4)
    assert sorted([*train, *validation]) == list(range(200))
    assert np.bincount(labels[validation]).tolist() == [10] * 5


def test_single_image_of_a_class_goes_to_training() -> None:
    for seed in range(20):
        train, _ = split_validation(UNEVEN, UNEVEN, fraction=0.5, seed=seed)
        assert 99 in train


@pytest.mark.parametrize("images_a_class", [2, 3, 4])
def test_many_small_classes_keep_a_training_image_each(images_a_class: int) -> None:
    labels = np.repeat(np.arange(43), images_a_class)
    train, validation = split_validation(labels, labels, fraction=0.2)
    assert len(np.unique(labels[train])) == 43
    assert len(validation) == round(0.2 * len(labels))


def test_groups_are_never_divided_and_classes_stay() -> None:
    labels = np.repeat(np.arange(3), 40)
    groups = np.arange(120) // 5
    train, validation = split_validation(labels, labels, groups=groups, seed=2)
    assert not set(groups[train]) & set(groups[validation])
    assert len(set(groups[validation])) == 5
    assert set(labels[train]) == set(labels[validation]) == {0, 1, 2}


def test_large_fraction_leaves_a_training_image_of_every_class() -> None:
    labels = np.array([0, 0, 1, 1])
    train, validation = split_validation(labels, labels, fraction=0.99)
    assert sorted(labels[train]) == sorted(labels[validation]) == [0, 1]


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        (np.arange(5), {}, "at least two images"),
        (np.zeros(4, int), {"fraction": 0.0}, "above 0 and below 1"),
        (np.zeros(4, int), {"fraction": 1}, "above 0 and below 1"),
        (np.zeros(4, int), {"groups": np.zeros(3)}, "3 groups"),
        (np.zeros(4, int), {"groups": np.zeros(4)}, "at least two images .or groups."),
        (np.zeros((4, 2, 1), int), {}, "non-empty integer"),
        (np.zeros(4), {}, "dtype float64"),
        (np.zeros(0, int), {}, "non-empty"),
    ],
)
def test_bad_input_is_refused(labels: np.ndarray, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_validation(np.zeros((len(labels), 2)), labels, **arguments)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="5 images, 4 labels"):
        split_validation(np.zeros((5, 2)), np.zeros(4, int))
