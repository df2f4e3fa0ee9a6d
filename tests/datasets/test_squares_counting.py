"""The counting task: as many framed squares as the label says."""

import numpy as np
import pytest

from keras_reprogram.datasets import draw_squares, load_squares_counting, load_target


def test_labels_count_the_squares() -> None:
    images, labels = draw_squares(200, seed=3)
    assert images.shape == (200, 36, 36, 3)
    assert np.unique(images).tolist() == [0, 255]
    centres = images[:, 4::9, 4::9]
    assert centres.shape == (200, 4, 4, 3)
    assert np.array_equal((centres[..., 0] == 255).sum(axis=(1, 2)), labels + 1)
    assert np.bincount(labels).tolist() == [20] * 10
    assert np.array_equal(images[..., 0], images[..., 2])


def test_a_square_is_white_in_a_black_frame() -> None:
    images, labels = draw_squares(10, seed=0)
    image = images[labels == 0][0, ..., 0]
    assert (image == 255).sum() == 49
    rows, columns = np.nonzero(image)
    assert rows.min() % 9 == columns.min() % 9 == 1


def test_places_are_drawn_evenly() -> None:
    images, _ = draw_squares(4000, seed=0)
    shares = (images[:, 4::9, 4::9, 0] == 255).mean(axis=0)
    assert np.abs(shares - 5.5 / 16).max() < 0.03


def test_seed_decides() -> None:
    first, again, other = (draw_squares(50, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_target_is_the_same_at_every_call() -> None:
    target = load_target("squares_counting")
    assert (len(target.train_labels), len(target.test_labels)) == (10_000, 2_000)
    assert np.array_equal(target.test_images, load_squares_counting().test_images)
    assert not np.array_equal(target.train_images[:2000], target.test_images)
    assert target.class_names[9] == "10"


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="num_images=0"):
        draw_squares(0, seed=0)
