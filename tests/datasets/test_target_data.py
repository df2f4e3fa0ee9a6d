"""TargetData checks itself and draws stratified parts."""

from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import TargetData


def arguments(**changes: Any) -> dict[str, Any]:
    images = np.arange(30 * 4 * 5 * 3, dtype=np.uint32).reshape(30, 4, 5, 3).astype(np.uint8)
    labels = np.repeat(np.arange(3), (15, 10, 5))
    good = {
        "name": "toy",
        "train_images": images,
        "train_labels": labels,
        "test_images": images[::3],
        "test_labels": labels[::3],
        "class_names": ("a", "b", "c"),
        "origin": "Made by hand.",
    }
    return good | changes


def with_value(value: float) -> np.ndarray:
    images = np.zeros((30, 4, 5, 3), np.float32)
    images[7, 1, 2, 0] = value
    return images


def test_shape_and_repr_are_short() -> None:
    target = TargetData(**arguments())
    assert target.target_shape == (4, 5, 3)
    assert "array" not in repr(target)
    assert "Made by hand." in repr(target)


def test_float_images_are_accepted() -> None:
    assert TargetData(**arguments(train_images=with_value(254.5))).train_images.max() == 254.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((30, 4, 5), np.uint8)}, r"images\[..., None\]"),
        ({"train_images": np.zeros((0, 4, 5, 3), np.uint8)}, "none of them 0"),
        (
            {"train_images": np.linspace(0, 1, 1800, dtype="float32").reshape(30, 4, 5, 3)},
            "one 8-bit step",
        ),
        ({"train_images": np.zeros((30, 4, 5, 3))}, "Received: float64"),
        ({"train_images": [[1]]}, "Received: list"),
        ({"train_images": with_value(np.nan)}, "`train_images` of 'toy' to be finite"),
        ({"train_images": with_value(-1)}, r"in 0\.\.255"),
        ({"train_images": with_value(256)}, r"in 0\.\.255"),
        ({"test_images": np.zeros((10, 4, 4, 3), np.uint8)}, r"\(4, 5, 3\) and \(4, 4, 3\)"),
        ({"test_labels": np.zeros(10)}, "float64 of shape"),
        ({"test_labels": np.eye(10, 3, dtype=int)}, "argmax"),
        ({"test_labels": [0] * 10}, "Received: list"),
        ({"test_labels": np.zeros(9, int)}, "9 labels, 10 images"),
        ({"test_labels": np.full(10, 3)}, r"in 0\.\.2"),
        ({"test_labels": np.full(10, -1)}, "labels from -1"),
        ({"class_names": ["a", "b", "c"]}, "tuple of two or more"),
        ({"class_names": ("a", "a", "b")}, "different strings"),
        ({"class_names": ("a",)}, "two or more"),
        ({"train_groups": np.zeros(29, int)}, "29 groups, 30 images"),
        ({"target_range": (-1.0, 1.0)}, r"in -1\.\.1"),
    ],
)
def test_bad_data_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetData(**arguments(**changes))


def test_draw_is_stratified_seeded_aligned_and_noted() -> None:
    target = TargetData(**arguments(train_groups=np.arange(30), notes=("Old.",)))
    drawn = target.draw(12, 5, seed=1)
    assert np.bincount(drawn.train_labels).tolist() == [6, 4, 2]
    assert np.array_equal(drawn.train_images, target.train_images[drawn.train_groups])
    assert np.array_equal(drawn.train_labels, target.train_labels[drawn.train_groups])
    assert drawn.notes == (
        "Old.",
        "12 of 30 training images drawn, seed 1.",
        "5 of 10 test images drawn, seed 1.",
    )
    assert np.array_equal(target.draw(12, 5, seed=1).train_groups, drawn.train_groups)
    assert not np.array_equal(target.draw(12, 5, seed=2).train_groups, drawn.train_groups)


def test_draw_of_everything_changes_nothing() -> None:
    target = TargetData(**arguments())
    drawn = target.draw(None, None, seed=0)
    assert np.array_equal(drawn.train_images, target.train_images)
    assert np.array_equal(drawn.test_labels, target.test_labels)
    assert drawn.notes == ()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((31, None), "31 training images of 'toy'.*at most the 30"),
        ((None, 11), "11 test images of 'toy'.*at most the 10"),
        ((2, None), "each of the 3 classes"),
        ((0, None), "each of the 3 classes"),
        ((None, 2), "each of the 3 classes"),
    ],
)
def test_impossible_draw_is_refused(counts: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetData(**arguments()).draw(*counts, seed=0)


def test_labels_of_several_findings() -> None:
    images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1)
    rows = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
    target = TargetData("toy", images, rows, images, rows, ("mass", "edema"), "By hand.")
    assert target.is_multi_label
    assert target.draw(3, 4, seed=0).train_labels.shape == (3, 2)
    for labels, message in (
        (rows * 2, r"rows of 0 and 1.*values \[0, 2\]"),
        (rows[:3], r"\(4, 2\): one row an image.*shape \(3, 2\)"),
        (rows[:, :1], r"one column a class name.*shape \(4, 1\)"),
        (np.arange(4) % 2, "to have one form"),
    ):
        with pytest.raises(ValueError, match=message):
            TargetData("toy", images, labels, images, rows, ("mass", "edema"), "By hand.")


def test_attributes_of_signs_follow_from_their_classes() -> None:
    from keras_reprogram.datasets.gtsrb import CLASS_NAMES
    from keras_reprogram.datasets.gtsrb_attributes import ATTRIBUTES, attribute_table

    table = attribute_table(CLASS_NAMES)
    assert table.shape == (43, 14) and table.any(axis=0).all() and not table.all(axis=0).any()
    # Every name in the table is a sign's.
    assert {sign for signs in ATTRIBUTES.values() for sign in signs} <= set(CLASS_NAMES)
    named = dict(zip(CLASS_NAMES, table, strict=True))
    assert not named["no vehicles"][list(ATTRIBUTES).index("truck")]
    assert [k for k, has in zip(ATTRIBUTES, named["stop"], strict=True) if has] == [
        "filled with red",
        "text",
    ]
