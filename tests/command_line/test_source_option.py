"""What `--source` stands for."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_reprogram import FrozenSource, LiteRTSource, SavedModelSource, embedded_path
from keras_reprogram.command_line.keras_sources import features_of
from keras_reprogram.command_line.source_option import parse_value_range, resolve_source

SMALL_APPLICATION = "MobileNet:alpha=0.25,input_shape=128,weights=none"


@pytest.fixture(scope="module")
def application() -> FrozenSource:
    keras.utils.set_random_seed(0)
    return resolve_source(SMALL_APPLICATION).source


def test_embedded_source_is_keras_or_litert() -> None:
    transparent, opaque = (
        resolve_source("traffic-signs"),
        resolve_source("traffic-signs", opaque=True),
    )

    assert isinstance(transparent.source, FrozenSource)
    assert transparent.source.differentiable
    assert isinstance(opaque.source, LiteRTSource)
    assert opaque.twin == "traffic-signs"
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(opaque.source(images), transparent.source(images), atol=1e-5)


def test_application_takes_options(application: FrozenSource) -> None:
    assert application.source_shape == (128, 128, 3)
    assert application.num_labels == 1000


def test_opaque_keras_source_answers_alike_and_refuses_gradients() -> None:
    path = str(embedded_path("traffic_signs.keras"))
    opaque = resolve_source(path, opaque=True)
    transparent = resolve_source(path).source
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")

    assert not opaque.source.differentiable
    assert not opaque.source.in_graph
    np.testing.assert_allclose(opaque.source(images), transparent(images), atol=1e-5)
    assert opaque.source.queries_used == 3
    assert opaque.source.identity == f"traffic_signs.keras:{transparent.fingerprint}"
    assert opaque.twin == path


def test_features_are_what_enters_the_last_layer() -> None:
    transparent = resolve_source("traffic-signs").source
    features = resolve_source("traffic-signs", features=True).source
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    kernel, bias = transparent.model.layers[-1].get_weights()
    scores = keras.ops.softmax(np.asarray(features(images)) @ kernel + bias)

    np.testing.assert_allclose(scores, transparent(images), atol=1e-5)
    assert features_of(transparent).num_labels == features.num_labels


def test_saved_model_folder(tmp_path: Path) -> None:
    resolve_source("traffic-signs").source.model.export(tmp_path / "model", verbose=False)
    transparent = resolve_source(str(tmp_path / "model"))
    opaque = resolve_source(str(tmp_path / "model"), opaque=True)

    assert isinstance(transparent.source, SavedModelSource)
    assert transparent.source.differentiable
    assert not opaque.source.differentiable
    with pytest.raises(ValueError, match=r"Choose one of: .*model"):
        resolve_source(str(tmp_path))


def test_tflite_is_opaque_anyway() -> None:
    resolved = resolve_source(str(embedded_path("traffic_signs.tflite")))

    assert not resolved.source.differentiable
    assert resolved.keras_source is None


@pytest.mark.parametrize(("text", "expected"), [("0,1", (0, 1)), ("-1, 1", (-1, 1))])
def test_value_range(text: str, expected: tuple[float, float]) -> None:
    assert parse_value_range(text) == expected


@pytest.mark.parametrize("text", ["", "1", "1,0", "0,1,2", "a,b", "nan,1"])
def test_value_range_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="Write 0,255"):
        parse_value_range(text)
