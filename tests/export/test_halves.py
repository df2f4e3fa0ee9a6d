"""Halves of an export: what comes before an opaque source and what after, which is not asked."""

import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from exported_models import png, signatures
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    head_model,
    images_and_labels,
    opaque_source,
    sign_source,
    small_model,
)

from keras_reprogram import HTTPSource
from keras_reprogram.export import export_halves, halves, read_litert_facts

# The command line has a smaller one; whole exports take seconds each.
pytestmark = pytest.mark.slow

IMAGES, _ = images_and_labels(13)
NAMES = ("dark", "grey", "light")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """With all checks, of an opaque source that counts; model and what was written."""
    model = small_model(sign_source(), num_views=2, class_names=NAMES)
    model.program.program_weights.assign(
        np.random.default_rng(0).normal(0, 1, model.program.program_weights.shape)
    )
    before = model.source.queries_used
    written = export_halves(model, tmp_path_factory.mktemp("new") / "signs", metrics={"top": 0.5})
    assert model.source.queries_used == before
    return model, written


@pytest.fixture
def unchecked(monkeypatch):
    """Without the fresh processes, which take seconds to start."""
    monkeypatch.setattr(halves, "check_reloaded", lambda *arguments: (0.0, 0))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def litert(file):
    return Interpreter(model_path=str(file)).get_signature_runner("serving_default")


def test_the_layout_is_complete(exported) -> None:
    written = exported[1]
    assert sorted(path.name for path in written.base_dir.iterdir()) == [
        "output_map",
        "output_map-1.tflite",
        "program",
        "program-1.tflite",
    ]
    common = ["assets.extra/keras_reprogram.json", "fingerprint.pb", "saved_model.pb"]
    common += ["variables/variables.data-00000-of-00001", "variables/variables.index"]
    assert names(written.program) == sorted(common)
    assert names(written.output_map) == sorted([*common, "assets/labels.txt"])
    assert (written.output_map / "assets/labels.txt").read_text().splitlines() == list(NAMES)
    assert written.program_file.is_file() and written.output_map_file.is_file()
    assert (written.version, str(written)) == (1, str(written.base_dir))
    assert 0 < written.difference < 1e-5
    for text in ("program/1", "output_map-1.tflite", "image_bytes", "not asked"):
        assert text in written.summary


def test_each_half_says_what_the_source_must_be(exported) -> None:
    model, written = exported
    facts = {
        half: json.loads((folder / "assets.extra/keras_reprogram.json").read_text())
        for half, folder in (("program", written.program), ("output_map", written.output_map))
    }
    for half, own in facts.items():
        assert own["half"] == half
        assert own["source"]["fingerprint"] == model.source.fingerprint
        assert own["source"]["source_shape"] == [32, 32, 3]
        assert (own["num_views"], own["class_names"]) == (2, list(NAMES))
        assert (own["target_shape"], own["metrics"]) == ([4, 4, 1], {"top": 0.5})
    assert facts["program"].pop("signatures") == ["serving_default", "image_bytes"]
    assert facts["output_map"].pop("signatures") == ["serving_default"]
    differing = {
        key for key in facts["program"] if facts["program"][key] != facts["output_map"][key]
    }
    assert differing == {"half", "resize_of_files"}


@pytest.mark.parametrize("size", [1, 5, 13])
def test_the_source_in_between_makes_the_model(exported, size) -> None:
    model, written = exported
    expected = model.predict(IMAGES[:size], verbose=0)
    program, output_map = (signatures(path) for path in (written.program, written.output_map))
    images = program["serving_default"](image=tf.constant(IMAGES[:size]))["source_images"]
    assert images.shape == (size, 2, 32, 32, 3)
    scores = tf.constant(np.asarray(model.source(images)))
    found = output_map["serving_default"](source_scores=scores)["scores"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 13])
def test_the_litert_files_do_too(exported, size) -> None:
    model, written = exported
    images = litert(written.program_file)(image=IMAGES[:size])["source_images"]
    scores = np.asarray(model.source(images))
    found = litert(written.output_map_file)(source_scores=scores)["scores"]
    np.testing.assert_allclose(found, model.predict(IMAGES[:size], verbose=0), atol=1e-5)


def test_files_become_source_images(exported) -> None:
    served = signatures(exported[1].program)
    codes = np.round(IMAGES)
    expected = served["serving_default"](image=tf.constant(codes))["source_images"]
    files = tf.constant([png(image) for image in codes])
    found = served["image_bytes"](image_bytes=files)["source_images"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_are_in_the_map_s_file(exported) -> None:
    model, written = exported
    facts = read_litert_facts(written.output_map_file)
    assert facts.class_names == NAMES
    assert facts.source == model.source.fingerprint
    assert facts.agreement.difference < 1e-5
    with zipfile.ZipFile(written.output_map_file) as archive:
        assert archive.read("class_names.txt").decode().splitlines() == list(NAMES)


def never(*arguments):
    raise AssertionError("the source was asked")


def test_a_remote_source_is_not_asked(unchecked, tmp_path) -> None:
    source = HTTPSource(
        "http://127.0.0.1:9/never",
        SOURCE_SHAPE,
        list("abcde"),
        value_range=(0, 255),
        identity="never",
        build_request=never,
        read_answer=never,
    )
    model = small_model(source, fitted=False)
    scores = np.random.default_rng(0).dirichlet(np.ones(5), (20, 1)).astype("float32")
    model.output_map.adapt(scores)
    written = export_halves(model, tmp_path)
    facts = json.loads((written.program / "assets.extra/keras_reprogram.json").read_text())
    assert facts["source"]["fingerprint"] == source.fingerprint
    assert facts["source"]["labels"] == list("abcde")


@pytest.mark.slow
def test_features_have_halves_too(unchecked, tmp_path) -> None:
    model = head_model()
    written = export_halves(model, tmp_path)
    images = model.program(IMAGES)
    scores = np.asarray(model.source(images))
    found = litert(written.output_map_file)(source_scores=scores)["scores"]
    np.testing.assert_allclose(found, model.predict(IMAGES, verbose=0), atol=1e-5)


def test_a_map_without_answers_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"nothing was written.\n- The output map was never"):
        export_halves(small_model(opaque_source(), fitted=False), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("half", ["program", pytest.param("output_map", marks=pytest.mark.slow)])
def test_a_half_that_disagrees_is_not_kept(half, monkeypatch, tmp_path) -> None:
    model = small_model(opaque_source())
    writer = "write_program_half" if half == "program" else "convert_map"
    write = getattr(halves, writer)
    weight = model.program.program_weights if half == "program" else model.output_map.bias

    def other_weights(*arguments, **options):
        written = write(*arguments, **options)
        weight.assign(weight + np.linspace(0, 1, NUM_CLASSES, dtype="float32"))
        return written

    monkeypatch.setattr(halves, writer, other_weights)
    monkeypatch.setattr(halves, "check_reloaded", lambda *arguments: (0.0, 0))
    with pytest.raises(ValueError, match=r"LiteRT file does not agree with the model: s\w+ differ"):
        export_halves(model, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_fresh_processes_are_listened_to(monkeypatch, tmp_path) -> None:
    def fails(*arguments):
        raise ValueError("cannot be run by a fresh process")

    monkeypatch.setattr(halves, "check_reloaded", fails)
    with pytest.raises(ValueError, match="fresh process"):
        export_halves(small_model(opaque_source()), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
