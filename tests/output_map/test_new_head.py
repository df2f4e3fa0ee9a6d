"""NewHead: a softmax layer on features as they come."""

import numpy as np
from checks.check_output_map import as_array, fitted, solver

from keras_reprogram import NewHead


def features_of_any_scale():
    """Far from zero, of scales a million apart, one of them constant."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = random.normal(size=(90, 2, 4)) + np.eye(4)[labels][:, None]
    scale = np.array([1e-2, 1.0, 1e4, 0.0])
    return (features * scale + [5.0, -3.0, 1e4, 2.0]).astype("float32"), labels


def test_standardisation_is_folded_into_the_layer():
    features, labels = features_of_any_scale()
    head = NewHead(3)
    flat = features.reshape(90, -1)
    mean, std = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-3)
    solution = solver(3)((flat - mean) / std, labels, None)
    logits = (flat - mean) / std @ solution.kernel + solution.bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fitted(head, features, labels)
    np.testing.assert_allclose(as_array(head(features)), expected, atol=1e-3)
    assert (as_array(head(features)).argmax(axis=1) == labels).mean() > 0.6


def test_ready_and_trainable_from_the_start():
    head = NewHead(3)
    features, _ = features_of_any_scale()
    head(features)
    assert head.ready
    assert [v.shape for v in head.trainable_variables] == [(8, 3), (3,)]
    assert head.non_trainable_variables == []


def test_weights_reach_the_solver():
    features, labels = features_of_any_scale()
    seen = []

    def solve(rows, targets, weight):
        seen.append(weight)
        return solver(3)(rows, targets, weight)

    NewHead(3).fit_answers(features, labels, solver=solve, sample_weight=np.arange(90.0))
    np.testing.assert_array_equal(seen[0], np.arange(90.0))
