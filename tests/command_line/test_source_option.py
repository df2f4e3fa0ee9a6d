"""What `--source` stands for."""

import dataclasses
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_runs import Command
from onnx_files import write_onnx

from keras_reprogram import (
    FrozenSource,
    LiteRTSource,
    ONNXSource,
    SavedModelSource,
    embedded_path,
)
from keras_reprogram.command_line.keras_sources import features_of
from keras_reprogram.command_line.source_settings import (
    SourceSettings,
    parse_value_range,
    read_settings,
)
from keras_reprogram.command_line.sources import resolve_source

BYTES = SourceSettings(value_range=(0.0, 255.0))

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
    assert opaque.equivalent == "traffic-signs"
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(opaque.source(images), transparent.source(images), atol=1e-5)


@pytest.mark.slow
def test_application_takes_options(application: FrozenSource) -> None:
    assert application.source_shape == (128, 128, 3)
    assert application.num_labels == 1000


def test_opaque_keras_source_answers_alike_and_refuses_gradients() -> None:
    path = str(embedded_path("traffic_signs.keras"))
    opaque = resolve_source(path, opaque=True, settings=BYTES)
    transparent = resolve_source(path, settings=BYTES).source
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")

    assert not opaque.source.differentiable
    assert not opaque.source.in_graph
    np.testing.assert_allclose(opaque.source(images), transparent(images), atol=1e-5)
    assert opaque.source.queries_used == 3
    assert opaque.source.identity == f"traffic_signs.keras:{transparent.fingerprint}"
    assert opaque.equivalent == path


@pytest.mark.slow
def test_features_are_what_enters_the_last_layer() -> None:
    transparent = resolve_source("traffic-signs").source
    features = resolve_source("traffic-signs", features=True).source
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    kernel, bias = transparent.model.layers[-1].get_weights()
    scores = keras.ops.softmax(np.asarray(features(images)) @ kernel + bias)

    np.testing.assert_allclose(scores, transparent(images), atol=1e-5)
    assert features_of(transparent).num_labels == features.num_labels


@pytest.mark.slow
def test_saved_model_folder(tmp_path: Path) -> None:
    resolve_source("traffic-signs").source.model.export(tmp_path / "model", verbose=False)
    transparent = resolve_source(str(tmp_path / "model"), settings=BYTES)
    opaque = resolve_source(str(tmp_path / "model"), opaque=True, settings=BYTES)

    assert isinstance(transparent.source, SavedModelSource)
    assert transparent.source.differentiable
    assert not opaque.source.differentiable
    with pytest.raises(ValueError, match=r"Choose one of: .*model"):
        resolve_source(str(tmp_path))


def test_tflite_is_opaque_anyway() -> None:
    resolved = resolve_source(str(embedded_path("traffic_signs.tflite")), settings=BYTES)

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
    assert resolved.equivalent is None


@pytest.mark.slow
def test_python_code_may_make_a_transparent_source(tmp_path: Path) -> None:
    code = (
        "from keras_reprogram.command_line.sources import resolve_source\n"
        "signs = resolve_source('traffic-signs').source\n"
    )
    (tmp_path / "transparent.py").write_text(code)
    text = f"{tmp_path / 'transparent.py'}:signs"
    assert resolve_source(text).source.differentiable
    opaque = resolve_source(text, opaque=True)
    assert not opaque.source.differentiable
    assert opaque.equivalent == text


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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first.keras` takes channels first, `any.keras` any size, `linear.keras` gives logits."""
    folder = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(0)

    def write(name: str, shape: tuple, activation: str, *between: keras.Layer) -> None:
        image = y = keras.Input(shape)
        for layer in (*between, keras.layers.GlobalAveragePooling2D()):
            y = layer(y)
        scores = keras.layers.Dense(5, activation)(y)
        keras.Model(image, scores).save(folder / f"{name}.keras")

    write("first", (3, 16, 12), "softmax", keras.layers.Permute((2, 3, 1)))
    write("any", (None, None, 3), "softmax")
    write("sigmoid", (8, 8, 3), "sigmoid")
    return folder


def test_settings_describe_a_keras_file(files: Path) -> None:
    path = str(files / "first.keras")
    with pytest.raises(ValueError, match="--data-format channels_first"):
        resolve_source(path, settings=BYTES)
    settings = dataclasses.replace(BYTES, data_format="channels_first")
    for features in (False, True):
        source = resolve_source(path, settings=settings, features=features).source
        assert source.source_shape == (16, 12, 3)
    path = str(files / "any.keras")
    with pytest.raises(ValueError, match="--source-size 224"):
        resolve_source(path, settings=BYTES)
    settings = dataclasses.replace(BYTES, source_size=(24, 20))
    assert resolve_source(path, settings=settings).source.source_shape == (24, 20, 3)
    path = str(files / "sigmoid.keras")
    settings = dataclasses.replace(BYTES, scores="logits", sum_tolerance="none")
    source = resolve_source(path, settings=settings).source
    assert (source.score_kind, source.sum_tolerance) == ("logits", None)
    with pytest.raises(ValueError, match="--signature is not for this source"):
        resolve_source(path, settings=dataclasses.replace(BYTES, signature="x"))


@pytest.mark.slow
def test_settings_describe_a_saved_model(tmp_path: Path) -> None:
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.uint8)])
        def answer(self, image):
            mean = tf.reduce_mean(tf.cast(image, tf.float32), axis=(1, 2))
            return {"mean": mean, "share": tf.nn.softmax(mean)}

    module = Two()
    tf.saved_model.save(module, str(tmp_path), signatures={"answer": module.answer})
    with pytest.raises(ValueError, match=r"\['answer'\].*--signature"):
        resolve_source(str(tmp_path), settings=BYTES)
    settings = dataclasses.replace(BYTES, signature="answer")
    with pytest.raises(ValueError, match="--score-output"):
        resolve_source(str(tmp_path), settings=settings)
    settings = dataclasses.replace(settings, score_output="mean", scores="logits", score_step=0.5)
    source = resolve_source(str(tmp_path), settings=settings).source
    assert (source.score_kind, source.score_step, source.num_labels) == ("logits", 0.5, 3)
    images = np.full((3, 8, 8, 3), 7.0, np.float32)
    np.testing.assert_allclose(source(images), np.full((3, 3), 7.0))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("traffic-signs", SourceSettings(value_range=(0.0, 1.0))),
        ("traffic-signs", SourceSettings(scores="logits")),
        (SMALL_APPLICATION, SourceSettings(value_range=(-1.0, 1.0))),
        (SMALL_APPLICATION, SourceSettings(source_size=(32, 32))),
        ("{folder}/signs.py:signs", SourceSettings(value_range=(0.0, 1.0))),
    ],
)
def test_settings_of_a_source_that_knows_itself_are_refused(
    tmp_path: Path, text: str, settings: SourceSettings
) -> None:
    (tmp_path / "signs.py").write_text(SIGNS)
    with pytest.raises(ValueError, match=f"{settings.given[0]} is not for this source"):
        resolve_source(text.format(folder=tmp_path), settings=settings)


def test_a_range_that_is_so_anyway_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(SIGNS)
    for text in ("traffic-signs", f"{tmp_path}/signs.py:signs"):
        assert resolve_source(text, settings=BYTES).source.value_range == (0, 255)


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_a_run_keeps_what_was_said_of_its_source(
    command: Command, files: Path, tmp_path: Path
) -> None:
    trained = command(
        *("train", "--source", files / "first.keras", "--target", "digits", "--epochs", 0),
        *("--value-range", "0,1", "--data-format", "channels_first", "--no-baseline"),
        *("--train-images", 60, "--test-images", 40, "--output", tmp_path, "--name", "run"),
    )
    assert trained.code == 0, trained.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["source"]["value_range"] == [0, 1]
    assert facts["source"]["data_format"] == "channels_first"
    evaluated = command("evaluate", tmp_path / "run", "--json", tmp_path / "figures.json")
    assert evaluated.code == 0, evaluated.err
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["accuracy"] == pytest.approx(facts["results"][0]["mean"])


def test_settings_are_kept_in_run_facts() -> None:
    settings = SourceSettings((0.0, 1.0), "logits", "none", 0.5, "a", "b", "channels_first", (8, 9))
    facts = settings.as_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert SourceSettings.from_facts(facts | {"given": "net.keras"}) == settings
    assert SourceSettings().as_facts() == {}
    # What runs of 2026-11-28 and before hold.
    assert SourceSettings.from_facts({"value_range": [0, 255], "opaque": True}) == BYTES


@pytest.mark.filterwarnings("default:.*answers nearly alike:UserWarning")
def test_onnx_files_take_every_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_onnx(tmp_path / "net.ONNX", normalises=False)
    settings = read_settings(
        value_range="0,255",
        pixel_scale="0.01,0.02,0.03",
        pixel_offset="-1",
        channel_order="bgr",
        score_output="scores",
        data_format="channels_first",
    )
    source = resolve_source(str(path), opaque=True, settings=settings).source
    assert isinstance(source, ONNXSource)
    assert source.preprocessing == ((0.01, 0.02, 0.03), -1.0)
    assert source.channel_order == "bgr"
    assert SourceSettings.from_facts(settings.as_facts()) == settings
    assert capsys.readouterr().err == ""
    too_dark = read_settings(value_range="0,255", pixel_scale="0.00001")
    with pytest.warns(UserWarning, match="answers nearly alike"):
        dark = resolve_source(str(path), settings=too_dark).source
    assert dark.preprocessing == (0.00001, 0.0)
    with pytest.raises(ValueError, match=r"--signature is not for this source: an \.onnx file"):
        resolve_source(str(path), settings=read_settings(signature="serve", value_range="0,1"))
    with pytest.raises(ValueError, match="reads the source's penultimate features"):
        resolve_source(str(path), settings=settings, features=True)


def test_keras_files_take_preprocessing() -> None:
    settings = read_settings(value_range="0,1", pixel_scale="255", channel_order="bgr")
    path = str(embedded_path("traffic_signs.keras"))
    source = resolve_source(path, settings=settings).source
    assert (source.preprocessing, source.channel_order) == ((255.0, 0.0), "bgr")
    tflite = str(embedded_path("traffic_signs.tflite"))
    source = resolve_source(tflite, settings=settings).source
    assert (source.preprocessing, source.channel_order) == ((255.0, 0.0), "bgr")


def test_pixel_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="--pixel-offset must be a number, or one for each"):
        read_settings(pixel_offset="a,b")


@pytest.mark.filterwarnings("default:.*answers nearly alike")
def test_a_file_whose_answers_hardly_move_is_said(command: Command, tmp_path: Path) -> None:
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    network.layers[-1].set_weights([20 * np.eye(3), np.zeros(3)])
    network.save(tmp_path / "a.keras")
    ended = command("inspect", tmp_path / "a.keras", "--value-range", "0,255")
    assert ended.code == 0 and "nearly alike" not in ended.err
    ended = command("inspect", tmp_path / "a.keras", "--value-range", "0,1")
    assert ended.code == 0 and f"Note: {tmp_path / 'a.keras'} answers nearly alike" in ended.err
