"""SavedModels: they run without this package, hold each weight once, and appear whole."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from exported_models import keras_signs, scores_of, served_elsewhere
from small_models import (
    NUM_CLASSES,
    frozen_source,
    images_and_labels,
    saved_model_source,
    sign_source,
    small_model,
)
from tensorflow.core.protobuf import saved_model_pb2

from keras_reprogram import NewHead, export_saved_model
from keras_reprogram.export import checks, fresh_process, saved_model
from keras_reprogram.export.checks import ModelAnswers
from keras_reprogram.export.graphs import write_saved_model

IMAGES, _ = images_and_labels(13)


@pytest.mark.slow
@pytest.mark.parametrize("views", ["digits", "digits_one_view"])
def test_a_fresh_process_without_this_package_agrees_on_digits(views, request, tmp_path) -> None:
    model, exported, images = request.getfixturevalue(views)
    scores = served_elsewhere(exported, tmp_path, images)
    # Another batch size adds up in another order, which makes 4e-6.
    expected = model.predict(images, batch_size=200, verbose=0)
    assert len(images) == 200
    assert np.ptp(expected) > 0.9
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.slow
def test_a_moved_version_still_works_and_later_training_does_not_reach_it(
    unchecked, tmp_path
) -> None:
    model = small_model()
    moved = shutil.move(export_saved_model(model, tmp_path / "signs").folder, tmp_path / "12")
    before = scores_of(moved, IMAGES)
    np.testing.assert_allclose(before, model.predict(IMAGES, verbose=0), atol=1e-6)
    model.program.program_weights.assign(model.program.program_weights + 1.0)
    np.testing.assert_array_equal(before, scores_of(moved, IMAGES))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "kind", [pytest.param("scores", marks=pytest.mark.slow), "features", "saved_model"]
)
def test_every_source_in_the_graph_agrees(kind, unchecked, tmp_path) -> None:
    if kind == "saved_model":
        model = small_model(saved_model_source(tmp_path / "network"))
    else:
        source = frozen_source(output=kind)
        output_map = NewHead(NUM_CLASSES) if kind == "features" else None
        model = small_model(source, output_map, num_views=2)
    exported = export_saved_model(model, tmp_path / "exported")
    scores = scores_of(exported, IMAGES)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)


@pytest.mark.slow
def test_each_weight_is_stored_once(digits) -> None:
    model, exported, _ = digits
    size = 4 * sum(int(np.prod(weight.shape)) for weight in model.weights)
    stored = sum(file.stat().st_size for file in (exported.folder / "variables").iterdir())
    assert size > 500_000
    assert size < stored < 1.01 * size
    assert size <= exported.weight_bytes < stored


def weighted_operations(version):
    content = (version / "saved_model.pb").read_bytes()
    (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    operations = [node.op for f in graph.graph_def.library.function for node in f.node_def]
    return [sum(kind in op for op in operations) for kind in ("Conv2", "MatMul", "Einsum")]


def test_all_signatures_share_one_graph(digits, tmp_path) -> None:
    write_saved_model(digits.model, tmp_path / "one")
    alone = weighted_operations(tmp_path / "one")
    assert all(alone)
    assert weighted_operations(digits.exported.folder) == alone


def test_what_is_returned_says_what_was_checked(digits) -> None:
    exported = digits.exported
    assert exported.signatures == ("serving_default", "image_bytes", "classify", "steps")
    assert exported.warmup_requests == 10
    assert 0 < exported.difference < 1e-5
    assert exported.notes == ()
    assert str(exported) == str(exported.folder)
    assert exported.name == "1"
    for text in (str(exported), "10 warm-up", "classify", "docker run"):
        assert text in exported.summary


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, pytest.param(OSError, marks=pytest.mark.slow)]
)
def test_nothing_is_left_when_writing_fails(error, tmp_path, monkeypatch) -> None:
    model = small_model()
    save = tf.saved_model.save

    def interrupted(*arguments, **options):
        save(*arguments, **options)
        raise error("stop")

    monkeypatch.setattr(tf.saved_model, "save", interrupted)
    with pytest.raises(error, match="stop"):
        export_saved_model(model, tmp_path / "new" / "signs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_that_disagrees_is_not_kept(tmp_path, monkeypatch) -> None:
    model = small_model()
    write = saved_model.write_serving_graph

    def other_weights(*arguments, **options):
        signatures = write(*arguments, **options)
        model.output_map.bias.assign(model.output_map.bias + [0.0, 1.0, 0.0])
        return signatures

    monkeypatch.setattr(saved_model, "write_serving_graph", other_weights)
    with pytest.raises(ValueError, match=r"does not agree with the model: scores differ by 0"):
        export_saved_model(model, tmp_path / "signs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["source_images", "source_scores", "scores"])
def test_every_step_is_compared(name, monkeypatch, tmp_path) -> None:
    """Source images reach to 255, and are compared as shares of that."""
    size = {"source_images": 255.0, "source_scores": 1.0, "scores": 1.0}[name]
    values = np.array([[0.0, size]], "float32")
    expected = ModelAnswers(lambda rows: {name: values}, IMAGES[:1])
    found = [(name, np.array([[0.0, size * (1 - 5e-6)]], "float32"))]
    monkeypatch.setattr(checks, "_answers", lambda *arguments: (found, 4))
    difference, replayed = checks.check_reloaded(tmp_path, {}, expected)
    assert (difference, replayed) == (pytest.approx(5e-6, rel=0.1), 4)
    found[0][1][0, 1] = size * (1 - 5e-5)
    with pytest.raises(ValueError, match=f"{name} differ by 5e-05, at most 1e-05 is allowed"):
        checks.check_reloaded(tmp_path, {}, expected)


@pytest.mark.slow
def test_what_a_fresh_process_cannot_run_is_not_kept(tmp_path, monkeypatch) -> None:
    blocked = "sys.modules['keras'] is None is sys.modules['keras_reprogram']"
    script = f"import sys\nassert {blocked}\nraise OSError('not here')"
    monkeypatch.setattr("inspect.getsource", lambda module: script)
    with pytest.raises(ValueError, match=r"cannot be run by a fresh process(.|\n)*not here"):
        export_saved_model(small_model(), tmp_path / "signs")
    assert list(tmp_path.iterdir()) == []


def test_an_output_without_a_row_an_image_is_found() -> None:
    class Tiled:
        structured_input_signature = ((), {"image_bytes": None})

        def __call__(self, image_bytes):
            return {"classes": tf.constant(["a", "b"])}

    with pytest.raises(ValueError, match="classes: expected 3 rows. Received: "):
        fresh_process.ask(Tiled(), tf.constant(["", "", ""]))


@pytest.mark.slow
def test_the_keras_equivalent_of_a_litert_source_is_exported(unchecked, tmp_path) -> None:
    model = small_model(sign_source(), num_views=2)
    equivalent = keras_signs()
    before = model.queries_used
    exported = export_saved_model(model, tmp_path, source=equivalent)
    scores = scores_of(exported, IMAGES)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=2e-4)
    assert model.queries_used == before + 26


@pytest.mark.slow
def test_another_network_is_not_equivalent(unchecked, tmp_path) -> None:
    model = small_model()
    with pytest.raises(ValueError, match=r"not equivalent.*Received: FrozenSource.*twin_tolerance"):
        export_saved_model(model, tmp_path, source=frozen_source(seed=8))
    assert list(tmp_path.iterdir()) == []
    export_saved_model(model, tmp_path, source=frozen_source(seed=8), twin_tolerance=1.0)
