"""What `--source` stands for."""

import sys
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


SIGNS = """
from keras_reprogram import LiteRTSource, embedded_path

NUMBER = 43

def signs():
    return LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))

SOURCE = signs()
"""


@pytest.mark.parametrize("text", ["{file}:signs", "{file}:SOURCE", "sign_sources:signs"])
def test_python_code_makes_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "sign_sources.py").write_text(SIGNS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    resolved = resolve_source(text.format(file=tmp_path / "sign_sources.py"), opaque=True)
    sys.modules.pop("sign_sources", None)

    assert isinstance(resolved.source, LiteRTSource)
    assert resolved.source.num_labels == 43
    assert resolved.twin is None


def test_python_code_may_make_a_transparent_source(tmp_path: Path) -> None:
    code = (
        "from keras_reprogram.command_line.source_option import resolve_source\n"
        "signs = resolve_source('traffic-signs').source\n"
    )
    (tmp_path / "transparent.py").write_text(code)
    text = f"{tmp_path / 'transparent.py'}:signs"
    assert resolve_source(text).source.differentiable
    opaque = resolve_source(text, opaque=True)
    assert not opaque.source.differentiable
    assert opaque.twin == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{folder}/none.py:signs", "There is no .*none.py"),
        ("{folder}/signs.py:other", r"no other. It has .*NUMBER, signs, SOURCE"),
        ("{folder}/signs.py:NUMBER", "Received: int"),
        ("no_such_module_anywhere:signs", "there is no module no_such_module_anywhere"),
    ],
)
def test_python_code_that_makes_no_source(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "signs.py").write_text(SIGNS)
    with pytest.raises(ValueError, match=said):
        resolve_source(text.format(folder=tmp_path))


def test_errors_of_python_code_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def signs():\n    return {}['key']\n")
    with pytest.raises(KeyError, match="key"):
        resolve_source(f"{tmp_path / 'broken.py'}:signs")
    (tmp_path / "missing.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        resolve_source(f"{tmp_path / 'missing.py'}:signs")
