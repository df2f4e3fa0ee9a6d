"""Each method trains, reloads and refuses; what a method is made of is what its paper says."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    NUM_LABELS,
    SOURCE_SHAPE,
    TARGET_SHAPE,
    assert_equal_values,
    frozen_source,
    images_and_labels,
    network,
    opaque_source,
    source_values,
    trained_values,
    values,
)

from keras_reprogram import (
    FrozenSource,
    export_litert,
    export_saved_model,
    load_program,
    save_program,
)
from keras_reprogram.methods import build_method, method_names

IMAGES, LABELS = images_and_labels(26)
# Of series: `test_voice2series.py`.
NAMES = tuple(name for name in method_names() if name != "voice2series_2021")
# Beyond what every test reloads: a loss, a constraint and a network of the project's own.
RELOADED = ("bar_2020_white_box", "autovp_2024", "smm_2024", "lor_vp_2025")
IN_GRAPH = ("smm_2024",)
# Between them and `elsayed_2019` little differs.
SELDOM = ("kloberdanz_2020_small_target", "kloberdanz_2020_unmasked", "kloberdanz_2020_subtract")
SELDOM += ("bar_2020_white_box", "blm_2024", "smm_2024")
NEEDS_LABELS = ("elsayed_2019", "bar_2020_white_box", "kloberdanz_2020_unmasked", "bahng_2022")
NEEDS_LABELS += ("ilm_vp_2023", "smm_2024")


READS_FEATURES = ("kloberdanz_2020", "lor_vp_2025")


def method_for(name, num_classes=NUM_CLASSES, **options):
    source = frozen_source(output="features" if name in READS_FEATURES else "scores")
    return build_method(name, source, TARGET_SHAPE, num_classes, **options)


@pytest.fixture(scope="module")
def trained():
    """Methods after two epochs, by name; the losses of both epochs and the source's weights."""
    made = {}

    def train(name):
        if name not in made:
            keras.utils.set_random_seed(0)
            method = method_for(name)
            # A few steps take less time than tracing one.
            method.model.run_eagerly = name not in IN_GRAPH
            before = source_values(method.model.source)
            history = method.fit(IMAGES, LABELS, epochs=2, batch_size=4, verbose=0)
            made[name] = (method, history.history["loss"], before)
        return made[name]

    return train


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SELDOM)) for n in NAMES]
)
def test_two_epochs_lower_the_loss_and_leave_the_source_alone(name, trained):
    method, losses, before = trained(name)
    assert method.name == name
    assert losses[1] < losses[0]
    assert_equal_values(source_values(method.model.source), before)
    probabilities = method.model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", RELOADED)
def test_keras_file_goes_on_with_loss_and_optimizer(name, trained, tmp_path):
    model = trained(name)[0].model
    model.save(tmp_path / "method.keras")
    again = keras.models.load_model(tmp_path / "method.keras")
    again.run_eagerly = model.run_eagerly
    assert_equal_values(trained_values(again), trained_values(model))
    one, other = (each.evaluate(IMAGES, LABELS, verbose=0) for each in (model, again))
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", RELOADED)
def test_program_file_round_trip(name, trained, tmp_path):
    model = trained(name)[0].model
    save_program(model, tmp_path / "method.reprogram")
    again = load_program(tmp_path / "method.reprogram", model.source)
    np.testing.assert_array_equal(again.program(IMAGES), model.program(IMAGES))
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bahng_2022", "autovp_2024", "smm_2024", "lor_vp_2025"])
def test_exports(name, trained, tmp_path):
    model = trained(name)[0].model
    folder = export_saved_model(model, tmp_path / "served").folder
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(served(tf.constant(IMAGES))["scores"], expected, atol=1e-5)
    export_litert(model, tmp_path / "method.tflite")


@pytest.mark.slow
def test_map_is_fitted_once():
    method = method_for("ilm_vp_2023")
    for expected in (2 * len(IMAGES), 3 * len(IMAGES)):
        method.fit(IMAGES, LABELS, epochs=1, verbose=0)
        assert method.model.queries_used == expected


@pytest.mark.slow
def test_data_in_batches():
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(13)
    method = method_for("blm_2024")
    method.fit(data, epochs=1, verbose=0)
    assert method.model.output_map.ready


@pytest.mark.parametrize("name", ["bar_2020_white_box", "autovp_2024"])
def test_opaque_source_is_estimated(name):
    """With an opaque source the white-box counterpart of BAR is BAR."""
    method = build_method(name, opaque_source(), TARGET_SHAPE, NUM_CLASSES)
    before = values(method.model.program.trainable_variables)
    method.fit(IMAGES[:8], LABELS[:8], epochs=1, batch_size=4, verbose=0)
    estimator = method.model.gradient_estimator
    assert method.model.queries_used == 8 + 8 * (1 + estimator.queries_per_image)
    after = values(method.model.program.trainable_variables)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("name", NEEDS_LABELS)
def test_too_many_classes_are_refused(name):
    message = f"{NUM_LABELS + 1} classes with 1 source labels each need {NUM_LABELS + 1} source"
    with pytest.raises(ValueError, match=message):
        method_for(name, NUM_LABELS + 1)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(NEEDS_LABELS))[:2] + ["blmp_2024"])
def test_other_maps_take_any_number_of_classes(name):
    assert method_for(name, NUM_LABELS + 2).model.output_shape == (None, NUM_LABELS + 2)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="must be one of elsayed_2019, .*name='vp'"):
        method_for("vp")
    with pytest.raises(ValueError, match="a source with score_kind='probabilities'"):
        build_method("kloberdanz_2020", frozen_source(), TARGET_SHAPE, NUM_CLASSES)
    with pytest.raises(ValueError, match="`variant` must be one of"):
        from keras_reprogram.methods import kloberdanz_2020_variant

        kloberdanz_2020_variant(frozen_source(), TARGET_SHAPE, NUM_CLASSES, variant="divide")
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(13)
    with pytest.raises(ValueError, match="Pass `class_weight=`, or arrays"):
        method_for("bar_2020_white_box").fit(data)


def test_options_reach_the_parts():
    names = ("dark", "grey", "light")
    method = method_for(
        "elsayed_2019", class_names=names, seed=5, target_range=(0, 1), image_size=6, grid=4
    )
    program = method.model.program
    assert (method.model.class_names, method.model.seed) == (names, 5)
    assert (program.target_range, program.image_size, program.grid) == ((0, 1), (6, 6), 4)
    assert method_for("bar_2020_white_box", labels_per_class=1).model.output_map.labels_per_class


def test_classes_are_the_first_source_labels():
    """Elsayed et al. map nothing: the answer is that of the first K labels."""
    model = method_for("elsayed_2019").model
    first = model.collect_scores(IMAGES, verbose=0)[:, 0, :NUM_CLASSES]
    expected = first / first.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, rtol=1e-4)


def test_penalty_is_the_papers():
    model = method_for("elsayed_2019", penalty=0.25).model
    weights = model.program.program_weights
    weights.assign(np.full(weights.shape, 0.1))
    expected = 0.25 * np.sum(np.square(values([weights])[0]))
    np.testing.assert_allclose(model.losses[0], expected, rtol=1e-5)


def test_kloberdanz_trains_her_head_alone():
    model = method_for("kloberdanz_2020").model
    assert [v.name for v in model.trainable_variables] == ["kernel", "bias"]
    assert model.count_params() == sum(int(np.prod(v.shape)) for v in model.weights)


def test_small_target_is_a_seventh():
    source = FrozenSource(network(), value_range=(0, 255))
    method = build_method("kloberdanz_2020_small_target", source, (28, 28, 1), NUM_CLASSES)
    assert method.model.program.image_size == (4, 4)


@pytest.mark.parametrize(
    ("target_shape", "expected"),
    [((4, 4, 1), (4, 4)), (SOURCE_SHAPE, (5, 5)), ((40, 20, 3), (5, 2))],
)
def test_images_that_fill_the_canvas_leave_a_frame(target_shape, expected):
    """128 of 224 pixels (Chen et al. 2023), here 5 of 8; no warning."""
    method = build_method("ilm_vp_2023", frozen_source(), target_shape, NUM_CLASSES)
    assert method.model.program.image_size == expected
    assert method.model.program.live_coordinates().any()


def test_autovp_starts_at_its_share_of_the_canvas_however_small_the_image():
    for shape in ((4, 4, 1), (2, 2, 1), SOURCE_SHAPE):
        method = build_method("autovp_2024", frozen_source(), shape, NUM_CLASSES)
        assert method.model.program.image_size == (5, 5)


def test_lor_vp_adds_a_low_rank_prompt_to_the_whole_image():
    """B zero and A normal at first, as released; the prompt is in units of the whole range."""
    program = method_for("lor_vp_2025", rank=2).model.program
    factors = values([program.program_weights])[0]
    assert factors.shape == (1, 3, 2, 16)
    assert not factors[..., :8].any() and 0.005 < factors[..., 8:].std() < 0.015
    plain = np.asarray(program(IMAGES))
    factors[..., :8], factors[..., 8:] = 0.1, 0.2
    program.program_weights.assign(factors)
    expected = np.clip(plain + 255 * 2 * 0.1 * 0.2, 0, 255)
    np.testing.assert_allclose(program(IMAGES), expected, atol=1e-3)


@pytest.mark.parametrize("mapping", ["dense", "iterative", "frequency"])
def test_lor_vp_reads_scores_too(mapping):
    method = build_method(
        "lor_vp_2025", frozen_source(), TARGET_SHAPE, NUM_CLASSES, mapping=mapping
    )
    assert type(method.model.output_map).__name__ == (
        "DenseMap" if mapping == "dense" else "MultiLabelMap"
    )


def test_lor_vp_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="a source with score_kind='probabilities'"):
        build_method("lor_vp_2025", frozen_source(), TARGET_SHAPE, NUM_CLASSES)
    with pytest.raises(ValueError, match="`mapping` must be one of.*Received: mapping='head'"):
        method_for("lor_vp_2025", mapping="head")
    with pytest.raises(ValueError, match="`rank` must be at most 8.*Received: rank=9"):
        method_for("lor_vp_2025", rank=9)


def test_lor_vp_with_an_opaque_source_is_estimated():
    source = opaque_source()
    method = build_method(
        "lor_vp_2025", source, TARGET_SHAPE, NUM_CLASSES, mapping="dense", rank_spread=1.0
    )
    before = values([method.model.program.program_weights])[0]
    method.fit(IMAGES[:8], LABELS[:8], epochs=1, batch_size=4, verbose=0)
    assert method.model.queries_used == 8 + 8 * 2
    assert (values([method.model.program.program_weights])[0] != before).all()
