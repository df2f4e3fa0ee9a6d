"""Exact fits through TensorFlow's CPU device: the same as with NumPy."""

import logging
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram.fitting import (
    device_products,
    fit_device,
    fit_joined_parts,
    fit_logistic_regression,
)
from keras_reprogram.fitting.device_products import DeviceProducts
from keras_reprogram.fitting.fit_device import VARIABLE, FitDevice
from keras_reprogram.fitting.logistic_solver import LogisticProblem
from keras_reprogram.fitting.products import NUMPY
from keras_reprogram.fitting.soft_fit import SoftFits

CPU = "CPU:0"
LARGE = 10**12
GPU = tf.config.LogicalDevice("/device:GPU:0", "GPU")


def rows_with_classes(count=160, width=8, num_classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    centres = random.normal(size=(num_classes, width))
    features = (centres[labels] + random.normal(size=(count, width))) * np.geomspace(1, 0.1, width)
    # Where all labels can be told apart the best C is the largest, and the minimum is flat.
    wrong = random.random(count) < 0.2
    labels = np.where(wrong, random.permutation(labels), labels)
    return features.astype(np.float32), labels, random.uniform(0.5, 2, count)


def softmax_of(fit, features):
    odds = np.exp(features @ fit.kernel.astype(float) + fit.bias)
    return odds / odds.sum(axis=1, keepdims=True)


def assert_same(found, expected, features):
    assert found.regularization == expected.regularization
    assert found.spread_power == expected.spread_power
    assert found.regularizations == expected.regularizations
    here, there = (softmax_of(fit, features) for fit in (found, expected))
    np.testing.assert_allclose(here, there, atol=1e-4)


def objective(problem, solution, regularization):
    """In float64, as `LogisticProblem` documents it."""
    logits = problem.rows.astype(float) @ solution.kernel + solution.bias
    norm = np.log(np.exp(logits).sum(axis=1))
    soft = problem.targets.ndim == 2
    targets = problem.targets if soft else np.eye(len(problem.classes))[problem.targets]
    losses = norm - np.sum(targets * logits, axis=1)
    penalty = (2 if len(problem.classes) == 2 else 1) / 2 * np.sum(solution.kernel**2)
    return penalty + regularization * problem.total * problem.share @ losses


@pytest.mark.slow
@pytest.mark.parametrize("soft", [False, True])
def test_the_minimum_is_that_of_numpy(soft):
    features, labels, weight = rows_with_classes()
    if soft:
        labels = np.random.default_rng(1).dirichlet(np.ones(3), len(labels)).astype(np.float32)
    found, expected = [], []
    for products, kept in ((DeviceProducts(CPU), found), (NUMPY, expected)):
        problem = LogisticProblem(features, labels, weight, products)
        kept.append(problem.solve(10.0))
        kept.append(problem.solve(30.0, start=kept[0]))
    for one, other, regularization in zip(found, expected, (10.0, 30.0), strict=True):
        reached = objective(problem, one, regularization)
        assert reached == pytest.approx(objective(problem, other, regularization), rel=1e-5)
        np.testing.assert_allclose(
            one.probabilities(features), other.probabilities(features), atol=1e-4
        )


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_losses_gradients_and_doubt_are_those_of_numpy(kind, precision):
    features, labels, weight = rows_with_classes()
    targets, share = labels, weight / weight.sum()
    if kind == "sigmoid":
        targets, share = np.eye(3, dtype=np.float32)[labels], np.tile(share[:, None], 3)
    weights = np.random.default_rng(2).normal(size=(9, 3)) * 3
    found = []
    for products in (DeviceProducts(CPU), NUMPY):
        rows = products.hold(features)
        further = (3,) if kind == "softmax" else ()
        with getattr(products, f"{kind}_losses")(rows, targets, share, *further) as losses:
            value, slope = losses.in_precision(precision).mean(weights)
            found.append((value, slope, losses.doubt(weights[:-1], weights[-1])))
    close = 1e-5 if precision == np.float32 else 1e-10
    for one, other, tolerance in zip(*found, (close, close, 1e-6), strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.slow
def test_findings_on_a_device_are_those_of_numpy():
    features, labels, weight = rows_with_classes()
    findings = np.stack([labels == 0, labels == 1], axis=1).astype(int)
    how = {"num_classes": 2, "sample_weight": weight}
    found, expected = (
        fit_logistic_regression(features, findings, device=device, **how)
        for device in (CPU, "numpy")
    )
    assert_same(found, expected, features)
    np.testing.assert_allclose(found.thresholds, expected.thresholds, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "width", "num_classes", "options"),
    [
        (900, 40, 3, {}),
        (700, 30, 2, {}),
        (300, 20, 5, {}),  # in folds
        (60, 1300, 3, {}),  # more columns than rows
        (1500, 2100, 4, {}),  # in blocks
        (600, 20, 5, {"ordinal": True}),
        (600, 20, 5, {"validation_split": 0}),
    ],
)
def test_fits_on_a_device_are_those_of_numpy(count, width, num_classes, options):
    features, labels, weight = rows_with_classes(count, width, num_classes)
    how = {"num_classes": num_classes, "sample_weight": weight, **options}
    found, expected = (
        fit_logistic_regression(features, labels, device=device, **how) for device in (CPU, "numpy")
    )
    assert_same(found, expected, features)
    assert found.ordinal == expected.ordinal


@pytest.mark.slow
def test_parts_and_soft_labels_on_a_device_are_those_of_numpy():
    features, labels, weight = rows_with_classes(700, 30)
    found, expected = (
        fit_joined_parts(features, labels, parts=(10, 20), num_classes=3, device=device)
        for device in (CPU, "numpy")
    )
    np.testing.assert_allclose(found.part_weights, expected.part_weights, atol=1e-4)
    soft = np.random.default_rng(1).dirichlet(np.ones(3), 700).astype(np.float32)
    fits = []
    for device in (CPU, "numpy"):
        one = SoftFits(features, np.arange(500), np.arange(500, 700), num_classes=3, device=device)
        fits.append(one.fit(soft, weight, one.trial(soft, weight)))
    assert_same(*fits, features)


def products_for(name, multiplications=LARGE):
    return FitDevice(name, multiplications).run(lambda products: products)


@pytest.mark.parametrize("listed", ["list_logical_devices", "list_physical_devices"])
def test_a_gpu_that_is_only_listed_is_not_taken(monkeypatch, listed):
    devices = [*tf.config.list_logical_devices(), GPU]
    monkeypatch.setattr(tf.config, listed, lambda kind=None: [GPU] if kind else devices)
    assert products_for("auto") is NUMPY
    with pytest.raises(ValueError, match=r"numpy or one of TensorFlow's: CPU:0. Received: GPU:0"):
        products_for("GPU:0")


def test_a_gpu_takes_large_fits_where_keras_runs_on_tensorflow(monkeypatch):
    # The CPU device stands for a GPU that is there.
    names = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: names)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert isinstance(products_for(None), DeviceProducts)
    assert products_for(None, 10**6) is NUMPY
    assert products_for("numpy") is NUMPY
    monkeypatch.setenv(VARIABLE, "numpy")
    assert products_for(None) is NUMPY
    monkeypatch.setenv(VARIABLE, "cpu:0")
    assert isinstance(products_for(None, 1), DeviceProducts)
    monkeypatch.delitem(sys.modules, "keras")
    assert products_for("auto") is NUMPY


def full_memory(rows):
    return tf.zeros((1 << 22, 1 << 22))


def no_room_for_a_copy(rows):
    message = "Failed copying input tensor: Dst tensor is not initialized."
    raise tf.errors.InternalError(None, None, message)


@pytest.mark.parametrize(
    "hold", [pytest.param(full_memory, marks=pytest.mark.slow), no_room_for_a_copy]
)
def test_a_full_device_leaves_the_fit_to_numpy(monkeypatch, caplog, hold):
    features, labels, _ = rows_with_classes(60)
    expected = fit_logistic_regression(features, labels, num_classes=3, device="numpy")
    monkeypatch.setattr(DeviceProducts, "hold", lambda self, rows: hold(rows))
    with caplog.at_level(logging.WARNING, logger="keras_reprogram"):
        found = fit_logistic_regression(features, labels, num_classes=3, device=CPU)
    assert len(caplog.records) == 1
    assert "runs with NumPy instead. Received: " in caplog.text
    np.testing.assert_array_equal(found.kernel, expected.kernel)


def test_other_errors_of_a_device_are_not_hidden(monkeypatch):
    def broken(self, rows):
        raise tf.errors.InternalError(None, None, "broken")

    monkeypatch.setattr(DeviceProducts, "hold", broken)
    with pytest.raises(tf.errors.InternalError, match="broken"):
        fit_logistic_regression(*rows_with_classes(60)[:2], num_classes=3, device=CPU)
    assert tf.config.experimental.tensor_float_32_execution_enabled()


def test_factors_are_not_rounded_while_a_fit_runs():
    switch = tf.config.experimental
    assert switch.tensor_float_32_execution_enabled()
    on = FitDevice(CPU, 0)
    assert not on.run(lambda _: switch.tensor_float_32_execution_enabled())
    assert switch.tensor_float_32_execution_enabled()
    switch.enable_tensor_float_32_execution(False)
    try:
        on.run(lambda _: None)
        assert not switch.tensor_float_32_execution_enabled()
    finally:
        switch.enable_tensor_float_32_execution(True)


def test_the_names_of_devices_are_those_of_tensorflow():
    assert device_products.device_names("CPU") == [CPU]
    assert device_products.is_there(CPU) and not device_products.is_there("GPU:7")
    with pytest.raises(ValueError, match=f"environment variable {VARIABLE}"):
        fit_device.FitDevice("TPU:0", 0)
