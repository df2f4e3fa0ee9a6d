"""A model of several findings an image: exact fit, gradients, queries, files, bad input."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from small_models import directions, frozen_source, images_and_labels, opaque_source, small_model

from keras_reprogram import (
    DenseMap,
    MultiLabelMap,
    NewHead,
    PixelSource,
    join_sources,
    load_program,
    save_program,
)

IMAGES, _LEVELS = images_and_labels(120, classes=6)
# Half of the levels have no finding; a few labels are wrong, so that probabilities are not 0 or 1.
FINDINGS = np.stack([_LEVELS > 3, _LEVELS > 4, _LEVELS < 1], axis=1).astype(int)
FINDINGS[np.random.default_rng(0).random(FINDINGS.shape) < 0.04] ^= 1
NAMES = ("bright", "glaring", "dark")


def findings_model(source=None, output_map=None, fitted=True, **options):
    output_map = output_map or DenseMap(3, targets="multi_label")
    model = small_model(
        source or frozen_source(), output_map, fitted=False, num_views=2, class_names=NAMES,
        **options,
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    if fitted:
        model.fit_output_map(IMAGES, FINDINGS, verbose=0)
    return model


@pytest.fixture(scope="module")
def fitted():
    return findings_model(opaque_source(), estimator=directions())


def test_exact_fit_finds_findings(fitted):
    probabilities = fitted.predict(IMAGES, verbose=0)
    assert min(roc_auc_score(FINDINGS, probabilities, average=None)) > 0.85
    # Each probability is of its own: rows have any sum, and most images have no finding.
    assert np.ptp(probabilities.sum(axis=1)) > 0.5
    found = fitted.predict_findings(IMAGES, verbose=0)
    thresholds = keras.ops.convert_to_numpy(fitted.output_map.thresholds)
    np.testing.assert_array_equal(found, probabilities >= thresholds)
    assert (found == FINDINGS).mean() > 0.85 and (thresholds != 0.5).all()


def test_stored_answers_cost_nothing(fitted):
    scores = fitted.collect_scores(IMAGES, verbose=0)
    before = fitted.queries_used
    found = fitted.predict_findings(scores=scores)
    chosen = fitted.fit_thresholds(y=FINDINGS, scores=scores)
    assert fitted.queries_used == before and found.dtype == bool
    np.testing.assert_allclose(fitted.output_map.thresholds, chosen, rtol=1e-6)


@pytest.mark.slow
def test_class_weight_is_what_an_image_with_the_finding_counts():
    model = findings_model()
    plain = model.predict(IMAGES, verbose=0)
    model.fit_output_map(IMAGES, FINDINGS, class_weight={1: 20.0}, verbose=0)
    weighted = model.predict(IMAGES, verbose=0)
    assert weighted[:, 1].mean() > 1.1 * plain[:, 1].mean()
    np.testing.assert_allclose(weighted[:, 0], plain[:, 0], atol=0.02)


def test_white_box_fit_lowers_the_loss():
    model = findings_model()
    losses = model.fit(IMAGES, FINDINGS, epochs=2, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="Images that choose thresholds must be held out"):
        model.fit_thresholds(IMAGES, FINDINGS, verbose=0)
    found = model.fit_thresholds(images_and_labels(120, seed=1, classes=6)[0], FINDINGS, verbose=0)
    np.testing.assert_allclose(found, model.output_map.thresholds, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("differences", ["loss", "scores"])
def test_estimated_steps_follow_the_exact_gradient(differences):
    """Many directions of a small program agree with automatic differentiation."""
    exact = findings_model()
    x, y = IMAGES[:16], FINDINGS[:16]
    with tf.GradientTape() as tape:
        loss = exact.compute_loss(x, y, exact(x))
    variables = [v.value for v in exact.program.trainable_variables]
    wanted = np.concatenate([np.ravel(g) for g in tape.gradient(loss, variables)])
    estimator = directions(300, differences=differences)
    model = findings_model(estimator=estimator, fitted=False)
    model.set_weights(exact.get_weights())
    scores = model.asker.scores_of(tf.constant(x))
    parts = model.steps._estimate(
        tf.constant(x), tf.constant(y), None, scores, model.output_map(scores), None
    )
    found = np.concatenate([np.ravel(part) for part in parts])
    cosine = found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted)
    assert cosine > 0.5


@pytest.mark.slow
def test_fit_opaque_asks_what_was_planned_and_keeps_the_best():
    model = findings_model(opaque_source(), fitted=False, estimator=directions())
    plan = {"query_budget": 2000, "choose_views": True}
    said = model.estimate_queries(120, recipe="fit_opaque", y=FINDINGS, **plan)
    fit = model.fit_opaque(IMAGES, FINDINGS, verbose=0, class_weight={2: 3.0}, **plan)
    assert fit.queries_used == model.queries_used == said.total
    assert len(fit.stages) > 1 and fit.views.startswith(("chosen", "own views"))
    assert fit.kept.validation_loss == min(
        stage.validation_loss for stage in fit.stages if stage.kept
    )
    assert roc_auc_score(FINDINGS, model.predict(IMAGES, verbose=0), average="macro") > 0.85


def test_a_small_budget_draws_some_of_every_finding():
    model = findings_model(opaque_source(), fitted=False)
    fit = model.fit_opaque(IMAGES, FINDINGS, query_budget=80, verbose=0)
    assert fit.num_images == 40
    assert roc_auc_score(FINDINGS, model.predict(IMAGES, verbose=0), average="macro") > 0.8


def test_a_joint_source_reads_pixels_beside_the_scores():
    asked = opaque_source()
    source = join_sources([asked, PixelSource((4, 4, 1))], target_shape=(4, 4, 1))
    model = findings_model(source, fitted=False)
    fit = model.fit_output_map(IMAGES, FINDINGS, verbose=0)
    assert len(fit.part_weights) == 2 and len(fit.thresholds) == 3
    assert roc_auc_score(FINDINGS, model.predict(IMAGES, verbose=0), average="macro") > 0.85


@pytest.mark.slow
def test_head_on_features():
    head = NewHead(3, targets="multi_label")
    model = findings_model(frozen_source(output="features"), head)
    assert roc_auc_score(FINDINGS, model.predict(IMAGES, verbose=0), average="macro") > 0.85
    assert (keras.ops.convert_to_numpy(head.thresholds) != 0.5).any()


@pytest.mark.slow
def test_files_keep_findings_and_thresholds(fitted, tmp_path):
    again = load_program(save_program(fitted, tmp_path / "it.reprogram"), opaque_source())
    model = findings_model()
    model.save(tmp_path / "it.keras")
    loaded = keras.models.load_model(tmp_path / "it.keras")
    for one, other in ((fitted, again), (model, loaded)):
        assert other.output_map.multi_label
        np.testing.assert_array_equal(one.output_map.thresholds, other.output_map.thresholds)
        np.testing.assert_array_equal(
            one.predict_findings(IMAGES, verbose=0), other.predict_findings(IMAGES, verbose=0)
        )


def test_files_of_one_class_say_nothing_new():
    assert "targets" not in json.dumps(DenseMap(3).get_config())
    assert "ordinal" not in json.dumps(NewHead(3).get_config())
    assert DenseMap.from_config(DenseMap(3, ordinal=True).get_config()).ordinal


# === Bad input: before the first query ===


@pytest.fixture
def model(fitted):
    before = fitted.queries_used
    yield fitted
    assert fitted.queries_used == before


def changed(value):
    rows = FINDINGS.astype(float)
    rows[7, 1] = value
    return rows


ROWS = r"rows \(n, 3\) of 0 and 1"
LABELS = {
    "classes": (_LEVELS % 3, rf"{ROWS}.*shape \(120,\), one class an image.*np.eye\(3"),
    "a column": (_LEVELS[:, None] % 3, r"shape \(120, 1\), one class an image"),
    "more findings": (np.eye(6, dtype=int)[_LEVELS], r"shape \(120, 6\).*num_classes=6"),
    "fewer findings": (FINDINGS[:, :2], r"shape \(120, 2\).*num_classes=2"),
    "fewer rows": (FINDINGS[:5], r"here 120 rows. Received: shape \(5, 3\)"),
    "lists": ([[0], [1, 2], []] * 40, r"lists of different lengths.*np.isin\(range\(3\)"),
    "scores": (changed(0.3), r"Received: 0.3 in row 7, column 1. Turn scores"),
    "two": (changed(2), r"Received: 2 in row 7, column 1"),
    "negative": (changed(-1), r"Received: -1 in row 7"),
    "nan": (changed(np.nan), r"NaN in 1 rows, first in row 7, column 1.*nobody looked for"),
    "text": (FINDINGS.astype(str), r"Received: dtype <U"),
    "none": (None, r"Labels are needed here"),
}
METHODS = {
    "fit": lambda model, y: model.fit(IMAGES, y, verbose=0),
    "evaluate": lambda model, y: model.evaluate(IMAGES, y, verbose=0),
    "fit_output_map": lambda model, y: model.fit_output_map(IMAGES, y, verbose=0),
    "fit_opaque": lambda model, y: model.fit_opaque(IMAGES, y, query_budget=999, verbose=0),
    "select_views": lambda model, y: model.select_views(IMAGES, y, pool_size=4, verbose=0),
    "fit_thresholds": lambda model, y: model.fit_thresholds(IMAGES, y, verbose=0),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_are_no_findings(kind, model):
    labels, message = LABELS[kind]
    for method in METHODS.values():
        with pytest.raises(ValueError, match=message):
            method(model, labels)


def test_data_sets_are_read_before_they_are_asked(model):
    data = tf.data.Dataset.from_tensor_slices((IMAGES, changed(2))).batch(50)
    with pytest.raises(ValueError, match="Received: 2 in row 7, column 1"):
        model.fit_output_map(data, verbose=0)


@pytest.mark.parametrize(("value", "said"), [(0, "no image has dark"), (1, "every image has dark")])
def test_findings_that_never_vary_are_named(value, said, model):
    labels = FINDINGS.copy()
    labels[:, 2] = value
    for name in ("fit_output_map", "fit_opaque", "fit_thresholds"):
        with pytest.raises(ValueError, match=rf"Received: {said}. Add images, or leave these"):
            METHODS[name](model, labels)


WEIGHTS = {
    "unknown": ({3: 2.0}, r"finding numbers in \[0, 3\).*Received: 3"),
    "named": ({"dark": 2.0}, r"Received: 'dark'. Use the position"),
    "zero": ({0: 0.0}, "finite weights above 0"),
    "nan": ({0: np.nan}, "finite weights above 0"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_class_weights(kind, model):
    weights, message = WEIGHTS[kind]
    with pytest.raises(ValueError, match=message):
        model.fit_opaque(IMAGES, FINDINGS, query_budget=999, class_weight=weights, verbose=0)


def test_class_weights_of_keras(model):
    with pytest.raises(ValueError, match="weighs classes, of which an image has one"):
        model.fit(IMAGES, FINDINGS, class_weight={0: 2.0}, verbose=0)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_losses_of_one_class(loss):
    model = findings_model()
    model.compile(loss=loss)
    before = model.queries_used
    with pytest.raises(ValueError, match=r"reads rows \(n, K\) of 0 and 1.*binary_crossentropy"):
        model.fit(IMAGES, FINDINGS, verbose=0)
    estimated = findings_model(opaque_source(), fitted=False, estimator=directions())
    estimated.compile(loss=loss)
    with pytest.raises(ValueError, match="binary_crossentropy"):
        estimated.fit_opaque(IMAGES, FINDINGS, query_budget=2000, verbose=0)
    assert model.queries_used == before and estimated.queries_used == 0


def test_calibration_is_for_one_class(model):
    with pytest.raises(ValueError, match="of which it has one.*predict_findings"):
        model.calibrate(IMAGES, FINDINGS)


def test_maps_of_one_class_have_no_findings():
    model = small_model(opaque_source())
    before = model.queries_used
    for method in (model.predict_findings, model.fit_thresholds):
        with pytest.raises(ValueError, match='names one class. Build it with `targets="multi_l'):
            method(IMAGES)
    with pytest.raises(ValueError, match=r'DenseMap\(3, targets="multi_label"\)'):
        model.fit_output_map(IMAGES, FINDINGS, verbose=0)
    assert model.queries_used == before


def test_arguments_of_the_map():
    with pytest.raises(ValueError, match="`targets` must be one of.*'many'"):
        DenseMap(3, targets="many")
    with pytest.raises(ValueError, match="Grades are classes of which an image has one"):
        NewHead(3, targets="multi_label", ordinal=True)
    assert not MultiLabelMap(3).multi_label


def test_a_model_that_was_not_fitted():
    model = findings_model(opaque_source(), fitted=False)
    with pytest.raises(ValueError, match="must be fitted before `predict_findings`"):
        model.predict_findings(IMAGES)
    assert model.queries_used == 0
