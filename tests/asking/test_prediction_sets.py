"""`calibrate` and `predict_sets` on models: what they ask, keep and refuse."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import NUM_CLASSES, images_and_labels, opaque_source, small_model

from keras_reprogram import (
    DenseMap,
    MultiLabelMap,
    Placement,
    ReprogrammedModel,
    load_program,
    save_program,
)

IMAGES, LABELS = images_and_labels(60, seed=5)
NEW, NEW_LABELS = images_and_labels(40, seed=6)


@pytest.fixture(scope="module")
def calibrated():
    model = small_model(opaque_source(), num_views=2)
    model.calibrate(IMAGES, LABELS, verbose=0)
    return model


def assert_same_sets(one, other) -> None:
    for name in ("probabilities", "sets", "accepted", "foreign", "distances"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)


def test_calibration_costs_a_query_an_image_and_view() -> None:
    model = small_model(opaque_source(), num_views=2)
    before = model.queries_used
    calibration = model.calibrate(IMAGES, LABELS, verbose=0)
    assert model.queries_used - before == calibration.queries_used == 2 * 60
    model.predict_sets(NEW, verbose=0)
    assert model.queries_used - before == 2 * 100


def test_stored_answers_cost_nothing(calibrated) -> None:
    scores, others = (calibrated.collect_scores(x, verbose=0) for x in (IMAGES, NEW))
    expected = calibrated.predict_sets(NEW, verbose=0)
    before = calibrated.queries_used
    calibration = calibrated.calibrate(y=LABELS, scores=scores)
    assert calibration.queries_used == calibrated.queries_used - before == 0
    assert_same_sets(calibrated.predict_sets(scores=others), expected)
    assert calibrated.queries_used == before


def test_sets_come_from_the_probabilities_of_predict(calibrated) -> None:
    probabilities = calibrated.predict(NEW, verbose=0)
    own = np.sort(calibrated.predict(IMAGES, verbose=0)[np.arange(60), LABELS])[::-1]
    found = calibrated.predict_sets(NEW, coverage=0.8, abstain=0, verbose=0)
    # ceil(.8 * 61) = 49.
    np.testing.assert_array_equal(found.sets, probabilities >= own[48])
    np.testing.assert_array_equal(found.classes, probabilities.argmax(axis=1))
    np.testing.assert_array_equal(found.accepted, found.sizes == 1)
    assert set(found.answers) <= {-1, *range(NUM_CLASSES)} and len(found) == 40
    tempered = probabilities.astype(float) ** (1 / calibrated.calibration.temperature)
    tempered /= tempered.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, tempered, atol=1e-5)


def test_one_hot_labels_are_read_alike(calibrated) -> None:
    expected = calibrated.calibration.temperature
    scores = calibrated.collect_scores(IMAGES, verbose=0)
    found = calibrated.calibrate(y=np.eye(NUM_CLASSES)[LABELS], scores=scores)
    assert found.temperature == pytest.approx(expected, rel=1e-6)


def test_maps_that_assign_labels_are_calibrated_too() -> None:
    model = small_model(opaque_source(), MultiLabelMap(NUM_CLASSES, labels_per_class=1))
    model.calibrate(IMAGES, LABELS, class_wise=True, verbose=0)
    found = model.predict_sets(NEW, verbose=0)
    assert found.class_wise and found.sets.shape == (40, NUM_CLASSES)
    held = found.sets[np.arange(40), NEW_LABELS]
    assert held.mean() > 0.75


# === It travels ===


def test_a_program_file_keeps_it(calibrated, tmp_path) -> None:
    file = save_program(calibrated, tmp_path / "one.reprogram")
    again = load_program(file, opaque_source())
    assert str(again.calibration) == str(calibrated.calibration)
    expected = calibrated.predict_sets(NEW, verbose=0)
    assert_same_sets(again.predict_sets(NEW, verbose=0), expected)
    again.calibration = replace(again.calibration, coverage=0.5)
    save_program(again, file, overwrite=True)
    assert load_program(file, opaque_source()).calibration.coverage == 0.5


@pytest.mark.slow
def test_a_keras_file_keeps_it(tmp_path) -> None:
    model = small_model()
    model.calibrate(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "one.keras")
    again = keras.saving.load_model(tmp_path / "one.keras")
    assert_same_sets(again.predict_sets(NEW, verbose=0), model.predict_sets(NEW, verbose=0))


def test_models_without_one_are_saved_as_before(tmp_path) -> None:
    assert "calibration" not in small_model(fitted=False).get_config()
    model = small_model(opaque_source())
    assert (
        load_program(save_program(model, tmp_path / "one.reprogram"), opaque_source()).calibration
        is None
    )


# === Bad input, before any query ===


def refused(model, message, *arguments, **options) -> None:
    before = model.queries_used
    with pytest.raises(ValueError, match=message):
        model.calibrate(*arguments, verbose=0, **options)
    assert model.queries_used == before and model.calibration is None


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, "held out from the fit.*Received: no images"),
        ((IMAGES,), {}, "Labels are needed here"),
        ((IMAGES, LABELS[:5]), {}, r"Labels must be \(60,\).*Received: shape \(5,\)"),
        ((IMAGES, LABELS + 1), {}, r"Labels must lie in \[0, 3\)"),
        ((IMAGES[:0], LABELS[:0]), {}, "At least one image is needed"),
        ((IMAGES[:, :2], LABELS), {}, r"Received: shape \(2, 4, 1\)"),
        ((IMAGES, LABELS), {"groups": [1, 2]}, r"`groups` must be \(60,\)"),
        ((IMAGES, LABELS), {"coverage": 1.5}, "`coverage` must be"),
        ((IMAGES, LABELS), {"coverage": 0.99}, "needs at least 99 calibrating images"),
        ((IMAGES, LABELS), {"groups": np.arange(60) // 10}, "at least 9 .* Received: 6"),
        ((IMAGES, LABELS), {"class_wise": True, "coverage": 0.96}, "in every class"),
        ((IMAGES, LABELS), {"abstain": 0.01}, "`abstain=0.01` needs at least 198"),
        ((None, LABELS), {"scores": np.zeros((60, 1, 9))}, r"finite answers \(n, 1, 5\)"),
    ],
)
def test_bad_input_is_refused_before_a_query(arguments, options, message) -> None:
    refused(small_model(opaque_source()), message, *arguments, **options)


def test_calibration_comes_after_the_fit() -> None:
    refused(
        small_model(opaque_source(), fitted=False),
        "must be fitted before `calibrate`",
        IMAGES,
        LABELS,
    )


@pytest.mark.slow
def test_images_that_were_fitted_on_are_refused() -> None:
    in_batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(25)
    fits = {
        "fit_output_map": lambda model: model.fit_output_map(IMAGES, LABELS, verbose=0),
        "of a data set": lambda model: model.fit_output_map(in_batches, verbose=0),
        "fit": lambda model: model.fit(IMAGES, LABELS, verbose=0),
        "fit_opaque": lambda model: model.fit_opaque(IMAGES, LABELS, query_budget=60, verbose=0),
    }
    for fit in fits.values():
        model = small_model(opaque_source())
        fit(model)
        refused(model, "60 images, of which 60 were fitted on", IMAGES, LABELS)
    # Answers that were paid for make them no newer.
    scores = model.collect_scores(IMAGES, verbose=0)
    with pytest.raises(ValueError, match="60 images, of which 60 were fitted on"):
        model.calibrate(IMAGES, LABELS, scores=scores)
    # A data set's own duplicates are no reason.
    mixed = np.concatenate([NEW, IMAGES[:2]])
    model.calibrate(mixed, np.concatenate([NEW_LABELS, LABELS[:2]]), verbose=0)


def test_sets_need_a_calibration() -> None:
    model = small_model(opaque_source())
    before = model.queries_used
    with pytest.raises(ValueError, match=r"a model without one. Call `model.calibrate\(x, y\)`"):
        model.predict_sets(NEW)
    assert model.queries_used == before


def test_sets_of_a_coverage_that_needs_more_images_are_refused(calibrated) -> None:
    before = calibrated.queries_used
    with pytest.raises(ValueError, match="needs at least 99 calibrating images"):
        calibrated.predict_sets(NEW, coverage=0.99)
    with pytest.raises(ValueError, match="images of shape"):
        calibrated.predict_sets(NEW[:, :2])
    assert calibrated.queries_used == before


def test_a_calibration_of_other_weights_is_refused() -> None:
    model = small_model(opaque_source())
    model.calibrate(IMAGES, LABELS, verbose=0)
    model.fit_output_map(NEW, NEW_LABELS, verbose=0)
    with pytest.raises(ValueError, match="weights have changed since"):
        model.predict_sets(NEW)
    model.calibrate(IMAGES, LABELS, verbose=0)
    assert len(model.predict_sets(NEW, verbose=0)) == 40


def test_other_views_need_another_calibration() -> None:
    model = small_model(opaque_source(), num_views=2)
    model.calibrate(IMAGES, LABELS, verbose=0)
    model.use_placement(Placement(model.program.placement.views[::-1]))
    with pytest.raises(ValueError, match="a model without one"):
        model.predict_sets(NEW)


def test_the_public_methods_are_the_models_own() -> None:
    assert {"calibrate", "predict_sets"} <= set(vars(ReprogrammedModel))
    assert DenseMap(2).ready is False
