"""Every output map through the same checks: a new map is one more row."""

import keras
import numpy as np
import pytest
from checks.check_output_map import check_output_map

from keras_reprogram import DenseMap, MultiLabelMap, NewHead, OutputMap

MATRIX = np.random.default_rng(0).uniform(size=(6, 3))

MAPS = {
    "frequency": lambda: MultiLabelMap(3),
    "frequency two labels": lambda: MultiLabelMap(3, labels_per_class=2),
    "random": lambda: MultiLabelMap(3, labels_per_class=2, assignment="random", seed=4),
    "iterative": lambda: MultiLabelMap(3, labels_per_class=2, assignment="iterative"),
    "bayesian": lambda: MultiLabelMap(3, assignment="bayesian"),
    "bayesian_plus": lambda: MultiLabelMap(3, assignment="bayesian_plus"),
    "bayesian, more classes than labels": lambda: MultiLabelMap(8, assignment="bayesian"),
    "self-defined": lambda: MultiLabelMap(
        3, assignment="self-defined", label_table=[[5], [0, 2], [1]]
    ),
    "weights": lambda: MultiLabelMap(3, weights=MATRIX),
    "dense": lambda: DenseMap(3),
    "dense two classes": lambda: DenseMap(2),
    "head": lambda: NewHead(4),
}
KINDS = {"head": ("features",)}


def rows():
    for name in MAPS:
        for kind in KINDS.get(name, ("probabilities", "logits")):
            for views in (1, 3):
                yield name, kind, views


@pytest.mark.fast_cases(20)
@pytest.mark.parametrize(("name", "kind", "views"), list(rows()))
def test_map_keeps_the_contract(name, kind, views):
    check_output_map(MAPS[name], kind=kind, views=views)


@pytest.mark.parametrize("name", MAPS)
def test_other_scores_are_refused(name):
    wrong = "probabilities" if name == "head" else "features"
    with pytest.raises(ValueError, match=f"reads .*Received: a source with score_kind='{wrong}'"):
        MAPS[name]().attach(wrong, 0.0)


@pytest.mark.parametrize("map_class", [MultiLabelMap, DenseMap, NewHead])
def test_one_class_is_refused(map_class):
    with pytest.raises(ValueError, match="`num_classes` must be at least 2. Received: 1"):
        map_class(1)


@pytest.mark.parametrize("name", MAPS)
def test_unknown_number_of_views_or_labels_is_refused(name):
    for shape in ((None, None, 6), (None, 1, None), (None, 6)):
        with pytest.raises(ValueError, match=r"takes scores \(n, views, S\)"):
            MAPS[name]().build(shape)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["dense", "head"])
def test_map_trains_in_a_plain_keras_model(name):
    """A layer as any other: in a model of the user's own, saved by Keras."""
    scores = np.random.default_rng(0).dirichlet(np.ones(6), size=(64, 2)).astype("float32")
    labels = scores[:, 0, :3].argmax(axis=1)
    layer = MAPS[name]()
    if isinstance(layer, DenseMap):
        layer.adapt(scores)
    model = keras.Sequential([keras.Input((2, 6)), layer])
    model.compile(
        keras.optimizers.Adam(0.3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(scores, labels, epochs=8, verbose=0)
    assert model.evaluate(scores, labels, verbose=0)[1] > 0.9


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("name", ["frequency", "bayesian_plus", "self-defined", "dense", "head"])
def test_map_survives_a_keras_file(name, tmp_path):
    scores = np.random.default_rng(0).dirichlet(np.ones(6), size=(64, 2)).astype("float32")
    layer = MAPS[name]()
    model = keras.Sequential([keras.Input((2, 6)), layer])
    if isinstance(layer, DenseMap):
        layer.adapt(scores)
    model.save(tmp_path / "map.keras")
    again = keras.saving.load_model(tmp_path / "map.keras")
    assert isinstance(again.layers[-1], OutputMap)
    np.testing.assert_array_equal(
        again.predict(scores, verbose=0), model.predict(scores, verbose=0)
    )
