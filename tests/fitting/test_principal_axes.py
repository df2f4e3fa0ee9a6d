"""PrincipalAxes: fewer columns that say the same."""

import numpy as np
import pytest

from keras_reprogram.fitting import principal_axes
from keras_reprogram.fitting.principal_axes import PrincipalAxes


def low_rank(count, width, rank, seed=0):
    random = np.random.default_rng(seed)
    strength = np.geomspace(1, 0.02, rank)
    hidden = random.normal(size=(count, rank)) * strength
    return (hidden @ random.normal(size=(rank, width)) + 3.0).astype(np.float32)


CASES = [
    # count, width, width of a block, axes expected
    (60, 20, 1024, 5),
    (12, 40, 1024, 5),
    (60, 40, 8, 5),
    (30, 40, 8, 5),
]


@pytest.mark.parametrize(("count", "width", "block", "rank"), CASES)
def test_rows_keep_all_distances_in_fewer_columns(monkeypatch, count, width, block, rank):
    monkeypatch.setattr(principal_axes, "_BLOCK_WIDTH", block)
    features = low_rank(count, width, rank)
    order = np.random.default_rng(1).permutation(count)
    axes, rows = PrincipalAxes.fit(features, order)
    # Rounding may look like one more axis.
    assert len(rows) == count and rank <= rows.shape[1] <= rank + 1
    assert rows.dtype == np.float32
    centred = (features - features.mean(axis=0, dtype=float))[order]
    assert np.mean(np.sum(rows.astype(float) ** 2, axis=1)) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(
        rows @ rows.T * axes.scale**2, centred @ centred.T, atol=2e-5 * axes.scale**2
    )
    # Columns are uncorrelated.
    rows = rows[:, -rank:].astype(float)
    products = rows.T @ rows / count
    assert np.abs(products - np.diag(np.diag(products))).max() < 1e-5


@pytest.mark.parametrize("rank", [5, 40])
@pytest.mark.parametrize(("count", "width", "block", "_"), CASES)
def test_an_affine_map_of_rows_is_one_of_features(monkeypatch, count, width, block, _, rank):
    monkeypatch.setattr(principal_axes, "_BLOCK_WIDTH", block)
    features = low_rank(count, width, rank)
    axes, rows = PrincipalAxes.fit(features, np.arange(count))
    random = np.random.default_rng(2)
    kernel, bias = random.normal(size=(rows.shape[1], 3)), random.normal(size=3)
    for_features = axes.affine(kernel, bias)
    assert for_features[0].shape == (width, 3)
    np.testing.assert_allclose(
        features @ for_features[0] + for_features[1], rows @ kernel + bias, atol=2e-3
    )


def test_alike_rows_keep_one_axis():
    axes, rows = PrincipalAxes.fit(np.ones((7, 3), np.float32), np.arange(7))
    np.testing.assert_array_equal(rows, np.zeros((7, 1)))
    kernel, bias = axes.affine(np.ones((1, 2)), np.zeros(2))
    assert np.isfinite(kernel).all() and np.isfinite(bias).all()


@pytest.mark.parametrize("rank", [3, 16])
def test_a_view_of_full_rank_is_not_rotated_twice(monkeypatch, rank):
    """Finding axes is what takes the time."""
    found, axes = [], principal_axes._axes

    def noted(products):
        found.append(products.shape[0])
        return axes(products)

    monkeypatch.setattr(principal_axes, "_axes", noted)
    monkeypatch.setattr(principal_axes, "_BLOCK_WIDTH", 16)
    random = np.random.default_rng(0)
    views = [random.normal(size=(40, rank)) @ random.normal(size=(rank, 16)) for _ in range(4)]
    PrincipalAxes.fit(np.concatenate(views, axis=1).astype(np.float32), np.arange(40))
    # Rounding may look like one more axis of a view.
    assert found == [40] if rank == 16 else found[:4] == [16] * 4 and 12 <= found[4] <= 16
