"""The shipped traffic-sign classifier: files, sizes, agreement, and accuracy on real signs."""

import hashlib
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from keras_reprogram.source import embedded
from keras_reprogram.source.embedded import TRAFFIC_SIGN_LABELS, embedded_path

MAX_BYTES = 1_250_000
MAX_PARAMETERS = 300_000


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return keras.saving.load_model(embedded_path("traffic_signs.keras"), safe_mode=True)


def tflite_scores(images: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_path=str(embedded_path("traffic_signs.tflite")))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def facts() -> dict:
    path = Path(embedded.__file__).with_name("traffic_signs.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_labels_are_43_distinct_names() -> None:
    assert len(TRAFFIC_SIGN_LABELS) == len(set(TRAFFIC_SIGN_LABELS)) == 43
    assert TRAFFIC_SIGN_LABELS[14] == "stop"
    assert all(label == label.strip().lower() and label for label in TRAFFIC_SIGN_LABELS)


@pytest.mark.parametrize("name", embedded.MODEL_FILES)
def test_file_is_small(name: str) -> None:
    assert 0 < embedded_path(name).stat().st_size <= MAX_BYTES


def test_unknown_name_lists_the_files() -> None:
    with pytest.raises(ValueError, match=r"Received: name='signs.h5'.*traffic_signs.keras"):
        embedded_path("signs.h5")


def test_model_is_what_the_facts_say(model: keras.Model) -> None:
    assert model.count_params() <= MAX_PARAMETERS
    assert model.count_params() == facts()["figures"]["parameters"]
    assert model.input_shape == (None, *facts()["input_shape"])
    assert model.output_shape == (None, len(TRAFFIC_SIGN_LABELS))
    assert model.layers[1].name == "to_unit_range"
    np.testing.assert_allclose(
        model.layers[1](np.array(facts()["value_range"], "float32")), [-1, 1], atol=1e-6
    )


def test_keras_file_holds_no_optimizer(model: keras.Model) -> None:
    with zipfile.ZipFile(embedded_path("traffic_signs.keras")) as archive:
        config = json.loads(archive.read("config.json"))
    assert not config.get("compile_config")
    assert getattr(model, "optimizer", None) is None
    stored = sum(4 * int(np.prod(weight.shape)) for weight in model.weights)
    # The weights alone; AdamW's two moments would triple the file.
    assert embedded_path("traffic_signs.keras").stat().st_size < 1.25 * stored


def test_both_files_agree(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 255, (7, 32, 32, 3))
    smooth = np.repeat(np.repeat(rng.uniform(0, 255, (7, 4, 4, 3)), 8, axis=1), 8, axis=2)
    for images in (noise.astype("float32"), smooth.astype("float32")):
        expected = keras.ops.convert_to_numpy(model(images, training=False))
        scores = tflite_scores(images)
        assert scores.shape == (7, 43)
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_scores_depend_on_the_image(model: keras.Model) -> None:
    images = np.random.default_rng(1).uniform(0, 255, (7, 32, 32, 3)).astype("float32")
    assert np.ptp(tflite_scores(images), axis=0).max() > 0.01


@pytest.mark.parametrize("name", embedded.MODEL_FILES)
def test_card_and_facts_describe_the_shipped_file(name: str) -> None:
    card = Path(embedded.__file__).with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    digest = hashlib.sha256(embedded_path(name).read_bytes()).hexdigest()
    assert facts()["figures"]["files"][name]["sha256"] == digest
    assert digest in card


@pytest.mark.slow
def test_accuracy_on_the_real_test_images(model: keras.Model, reprogram_data: Path) -> None:
    path = reprogram_data / "gtsrb_32_sub.npz"
    if not path.is_file():
        pytest.skip(f"put gtsrb_32_sub.npz into {reprogram_data} (KERAS_REPROGRAM_DATA)")
    with np.load(path) as data:
        images, labels = data["test_image"].astype("float32"), data["test_label"]
    assert len(labels) == 4210
    reported = facts()["figures"]["test"]
    expected = {
        "keras": model.predict(images, batch_size=256, verbose=0),
        "tflite": tflite_scores(images),
    }
    for name, scores in expected.items():
        accuracy = (scores.argmax(axis=1) == labels).mean()
        assert accuracy >= 0.96
        assert accuracy == pytest.approx(reported[name]["accuracy"], abs=1e-3)
