"""What lies beside the graph: labels, facts, and how to start a server."""

import json
import shlex

import keras
import numpy as np
import pytest
import tensorflow as tf
from exported_models import keras_signs
from small_models import frozen_source, sign_source, small_model

import keras_reprogram
from keras_reprogram import export_saved_model

# tests/export/test_saved_model_export.py has what is fast.
pytestmark = pytest.mark.slow


def facts_of(exported):
    return json.loads((exported.folder / "assets.extra" / "keras_reprogram.json").read_text())


def test_labels_are_an_asset(digits) -> None:
    file = digits.exported.folder / "assets" / "labels.txt"
    assert file.read_text().splitlines() == list(digits.model.class_names)
    loaded = tf.saved_model.load(str(digits.exported))
    assert loaded.labels.asset_path.numpy().decode() == str(file)


def test_facts_say_where_the_model_comes_from(digits) -> None:
    model, exported, _ = digits
    facts = facts_of(exported)
    assert facts["versions"] == {
        "keras_reprogram": keras_reprogram.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    assert facts["source"] == {
        "fingerprint": model.source.fingerprint,
        "class": "FrozenSource",
        "source_shape": [32, 32, 3],
        "value_range": [0.0, 255.0],
        "num_labels": 43,
        "scores": "probabilities",
        "differentiable": True,
        "labels": None,
    }
    assert facts["embedded_twin"] is None
    assert (facts["target_shape"], facts["target_range"]) == ([8, 8, 1], [0.0, 255.0])
    assert (facts["num_views"], facts["output_map"]) == (3, "DenseMap")
    assert facts["class_names"] == list(model.class_names)
    assert facts["metrics"] == {"accuracy": 0.5, "confusion": [[1, 0], [0, 1]]}


@pytest.mark.slow
def test_an_embedded_equivalent_is_named_beside_the_source(unchecked, tmp_path) -> None:
    model = small_model(sign_source(), class_names=["Ä", "b c", "d"])
    facts = facts_of(export_saved_model(model, tmp_path, source=keras_signs()))
    assert facts["source"]["class"] == "LiteRTSource"
    assert facts["embedded_twin"]["class"] == "FrozenSource"
    assert facts["source"]["fingerprint"] != facts["embedded_twin"]["fingerprint"]
    assert facts["class_names"] == ["Ä", "b c", "d"]
    assert facts["metrics"] is None


def test_server_files_lie_beside_the_version(digits) -> None:
    base_dir = digits.exported.folder.parent
    assert sorted(path.name for path in base_dir.iterdir()) == [
        "1",
        "batching.config",
        "models.config",
        "serve.sh",
    ]
    assert (
        'name: "digits"\n    base_path: "/models/digits"'
        in (base_dir / "models.config").read_text()
    )
    arguments = shlex.split(digits.exported.serve_command)
    assert arguments[:3] == ["docker", "run", "--rm"]
    assert f"type=bind,source={base_dir},target=/models/digits,readonly" in arguments
    assert "--model_config_file=/models/digits/models.config" in arguments
    assert digits.exported.serve_command in (base_dir / "serve.sh").read_text()


def test_server_files_are_what_the_server_parses(digits) -> None:
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    base_dir = digits.exported.folder.parent
    text = (base_dir / "models.config").read_text()
    (model,) = text_format.Parse(text, config.ModelServerConfig()).model_config_list.config
    assert (model.name, model.model_platform) == ("digits", "tensorflow")
    # BatchingParameters is not among the published stubs.
    assert (base_dir / "batching.config").read_text().splitlines() == [
        "max_batch_size { value: 16 }",
        "batch_timeout_micros { value: 1000 }",
        "max_enqueued_batches { value: 100 }",
        "num_batch_threads { value: 4 }",
        "allowed_batch_sizes: 1",
        "allowed_batch_sizes: 4",
        "allowed_batch_sizes: 16",
    ]


@pytest.mark.slow
def test_server_files_that_are_there_stay_and_facts_are_the_model_s(unchecked, tmp_path) -> None:
    folder = tmp_path / "my signs, 2"
    folder.mkdir()
    (folder / "models.config").write_text("mine")
    labels = ["roads", "signs", "trees", "two words", "Ü"]
    model = small_model(frozen_source(class_names=labels))
    metrics = {"counts": np.arange(3), "nested": {"auc": np.float64(0.25)}}
    exported = export_saved_model(model, folder, batch_sizes=[8, 2], metrics=metrics)
    assert facts_of(exported)["source"]["labels"] == labels
    assert facts_of(exported)["metrics"] == {"counts": [0, 1, 2], "nested": {"auc": 0.25}}
    assert (folder / "models.config").read_text() == "mine"
    assert "max_batch_size { value: 8 }" in (folder / "batching.config").read_text()
    assert "target=/models/my-signs--2," in exported.serve_command
    assert len(shlex.split(exported.serve_command)) == 13


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": {"accuracy": float("nan")}}, "`metrics` must be a dictionary of finite"),
        ({"metrics": {"model": object()}}, "`metrics` .* Received: <object"),
        ({"metrics": [1]}, "`metrics` must be"),
        ({"batch_sizes": []}, "`batch_sizes` must be positive integers"),
        ({"batch_sizes": [0, 1]}, "`batch_sizes` .* Received: "),
        ({"batch_sizes": [1.5]}, "`batch_sizes`"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    options, message, model, tmp_path
) -> None:
    with pytest.raises(ValueError, match=message):
        export_saved_model(model, tmp_path / "signs", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "two\nlines", "two\u2028lines"])
def test_class_names_are_lines(name, tmp_path) -> None:
    model = small_model(class_names=["a", name, "c"])
    with pytest.raises(ValueError, match=r"one line.*Received: "):
        export_saved_model(model, tmp_path / "signs")
    assert list(tmp_path.iterdir()) == []
