"""Baselines of several findings: pixels alone and a linear head."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_reprogram.baselines import fit_linear_head_findings, fit_no_source_findings


def tasks(seed=0, count=200):
    random = np.random.default_rng(seed)
    return random.uniform(0, 255, (count, 4, 4, 1))


def test_linear_findings_need_no_kernel():
    images = tasks()
    labels = (images[:, :2, 0, 0] > 128).astype(int)
    baseline = fit_no_source_findings(images, labels)
    assert baseline.name == "logistic regression on pixels"
    new = tasks(1)
    auc = roc_auc_score((new[:, :2, 0, 0] > 128).astype(int), baseline.predict_probabilities(new))
    assert auc > 0.95 and baseline.thresholds.shape == (2,)


def test_findings_of_distances_need_one():
    random = np.random.default_rng(0)
    images = random.normal(128, 40, (300, 2, 1, 1))
    away = np.square(images[:, :, 0, 0] - 128).sum(axis=1)
    labels = np.stack([away > 2000, away > 5000], axis=1).astype(int)
    baseline = fit_no_source_findings(images, labels)
    assert baseline.name == "RBF features of pixels"
    assert roc_auc_score(labels, baseline.predict_probabilities(images)) > 0.95


def test_a_head_reads_features_and_groups():
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 6)) * [1, 10, 0.1, 1, 1, 0]
    labels = np.stack([features[:, 1] > 0, features[:, 2] > 0.1], axis=1).astype(int)
    head = fit_linear_head_findings(
        features, labels, groups=np.arange(120) // 3, sample_weight=np.ones((120, 2))
    )
    assert roc_auc_score(labels, head.predict_probabilities(features)) > 0.97


def test_bad_input():
    images = tasks()
    labels = (images[:, :2, 0, 0] > 128).astype(int)
    with pytest.raises(ValueError, match="finite inputs"):
        fit_no_source_findings(np.full_like(images, np.nan), labels)
    with pytest.raises(ValueError, match="must be 0 or 1"):
        fit_no_source_findings(images, labels * 3)
    baseline = fit_linear_head_findings(images, labels)
    with pytest.raises(ValueError, match="inputs of 16 numbers"):
        baseline.predict_probabilities(images[:, :2])
