"""One `.tflite` file: builtin operations, any batch, the model's own numbers."""

import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    frozen_source,
    images_and_labels,
    saved_model_source,
    sign_source,
    small_model,
)

from keras_reprogram import (
    FrozenSource,
    LiteRTSource,
    MultiLabelMap,
    NewHead,
    embedded_path,
    export_litert,
)
from keras_reprogram.export import litert

IMAGES, _ = images_and_labels(13)


def run(path, images=IMAGES):
    interpreter = Interpreter(model_path=str(path))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner("serving_default")(image=images)["scores"]


def programmed_model(num_views):
    model = small_model(num_views=num_views)
    model.program.program_weights.assign(
        np.random.default_rng(0).normal(0, 1, model.program.program_weights.shape)
    )
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One conversion, which takes seconds, for all that only look at it."""
    model = programmed_model(num_views=1)
    return model, export_litert(model, tmp_path_factory.mktemp("new") / "a" / "signs.tflite")


def check_any_batch(model, path):
    expected = model.predict(IMAGES, verbose=0)
    for size in (1, 5, 13):
        np.testing.assert_allclose(run(path, IMAGES[:size]), expected[:size], atol=1e-5)
    details = Interpreter(model_path=str(path)).get_input_details()[0]
    assert details["shape_signature"].tolist() == [-1, 4, 4, 1]
    assert details["dtype"] == np.float32


def test_file_agrees_with_the_model_in_any_batch(exported) -> None:
    check_any_batch(*exported)


@pytest.mark.slow
def test_all_views_are_inside_and_the_converter_is_quiet(tmp_path, capfd) -> None:
    model = programmed_model(num_views=3)
    path = export_litert(model, str(tmp_path / "signs.tflite"))
    assert capfd.readouterr().out == ""
    check_any_batch(model, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["saved_model", *(pytest.param(k, marks=pytest.mark.slow) for k in ("features", "labels"))],
)
def test_other_sources_and_maps_are_converted(kind, tmp_path) -> None:
    if kind == "features":
        model = small_model(frozen_source(output="features"), NewHead(NUM_CLASSES))
    elif kind == "labels":
        model = small_model(output_map=MultiLabelMap(NUM_CLASSES))
    else:
        model = small_model(saved_model_source(tmp_path / "network"))
    path = export_litert(model, tmp_path / "signs.tflite")
    np.testing.assert_allclose(run(path), model.predict(IMAGES, verbose=0), atol=1e-5)


def test_only_builtin_operations_are_inside(exported) -> None:
    path = exported[1]
    # A file with others names them, and a plain interpreter would not load it.
    assert b"Flex" not in path.read_bytes()
    operations = {op["op_name"] for op in Interpreter(model_path=str(path))._get_ops_details()}
    assert operations
    assert not any(name.startswith("Flex") or name == "CUSTOM" for name in operations)


def test_a_file_is_a_source_again(exported) -> None:
    model, path = exported
    source = LiteRTSource(path, value_range=(0, 255))
    np.testing.assert_allclose(source(IMAGES), model.predict(IMAGES, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_the_keras_equivalent_of_a_litert_source_is_converted(tmp_path) -> None:
    model = small_model(sign_source(), num_views=3)
    equivalent = FrozenSource(
        keras.models.load_model(embedded_path("traffic_signs.keras")), value_range=(0, 255)
    )
    path = export_litert(model, tmp_path / "signs.tflite", source=equivalent)
    np.testing.assert_allclose(run(path), model.predict(IMAGES, verbose=0), atol=2e-4)


@pytest.fixture
def converted(exported, monkeypatch):
    """The model, whose conversion is the one that there is."""
    model, path = exported
    with zipfile.ZipFile(path) as facts:
        content = path.read_bytes()[: facts.infolist()[0].header_offset]
    monkeypatch.setattr(litert, "convert", lambda *arguments: content)
    return model


def test_suffix_and_overwriting_are_checked_first(converted, tmp_path) -> None:
    model = converted
    with pytest.raises(ValueError, match=r"must end in `.tflite`. Received: signs.lite"):
        export_litert(model, tmp_path / "signs.lite")
    path = tmp_path / "signs.tflite"
    path.write_bytes(b"older")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_litert(model, path)
    assert path.read_bytes() == b"older"
    export_litert(model, path, overwrite=True)
    assert path.read_bytes() != b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["signs.tflite"]


@keras.saving.register_keras_serializable(package="tests")
class WithoutBuiltin(keras.layers.Layer):
    def call(self, images):
        return keras.ops.image.gaussian_blur(images) + keras.ops.erfinv(images / 1000)


def test_what_cannot_be_converted_says_so(tmp_path) -> None:
    network = keras.Sequential(
        [
            keras.Input(SOURCE_SHAPE),
            WithoutBuiltin(),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    model = small_model(FrozenSource(network, value_range=(0, 255)))
    with pytest.raises(ValueError, match=r"LiteRT's builtin operations.*Received: ") as caught:
        export_litert(model, tmp_path / "signs.tflite")
    assert len(str(caught.value)) < 2_000
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disagrees_is_not_kept(converted, tmp_path) -> None:
    bias = converted.output_map.bias
    bias.assign(bias + [0.0, 1.0, 0.0])
    with pytest.raises(
        ValueError, match=r"scores that differ by at most 1e-05.*differ by at most 0\."
    ):
        export_litert(converted, tmp_path / "signs.tflite")
    bias.assign(bias - [0.0, 1.0, 0.0])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_writing_is_interrupted(converted, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_litert(converted, tmp_path / "signs.tflite")
    assert list(tmp_path.iterdir()) == []
