"""One `.tflite` file: builtin operations, any batch, the model's own numbers."""

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


@pytest.mark.parametrize("num_views", [1, 3])
def test_file_agrees_with_the_model_in_any_batch(num_views, tmp_path) -> None:
    model = small_model(num_views=num_views)
    model.program.program_weights.assign(
        np.random.default_rng(0).normal(0, 1, model.program.program_weights.shape)
    )
    path = export_litert(model, str(tmp_path / "new" / "signs.tflite"))
    expected = model.predict(IMAGES, verbose=0)
    for size in (1, 5, 13):
        np.testing.assert_allclose(run(path, IMAGES[:size]), expected[:size], atol=1e-5)
    details = Interpreter(model_path=str(path)).get_input_details()[0]
    assert details["shape_signature"].tolist() == [-1, 4, 4, 1]
    assert details["dtype"] == np.float32


@pytest.mark.parametrize("kind", ["features", "labels", "saved_model"])
def test_other_sources_and_maps_are_converted(kind, tmp_path) -> None:
    if kind == "features":
        model = small_model(frozen_source(output="features"), NewHead(NUM_CLASSES))
    elif kind == "labels":
        model = small_model(output_map=MultiLabelMap(NUM_CLASSES))
    else:
        model = small_model(saved_model_source(tmp_path / "network"))
    path = export_litert(model, tmp_path / "signs.tflite")
    np.testing.assert_allclose(run(path), model.predict(IMAGES, verbose=0), atol=1e-5)


def test_only_builtin_operations_are_inside(tmp_path) -> None:
    path = export_litert(small_model(), tmp_path / "signs.tflite")
    # A file with others names them, and a plain interpreter would not load it.
    assert b"Flex" not in path.read_bytes()
    operations = {op["op_name"] for op in Interpreter(model_path=str(path))._get_ops_details()}
    assert operations
    assert not any(name.startswith("Flex") or name == "CUSTOM" for name in operations)


def test_a_file_is_a_source_again(tmp_path) -> None:
    model = small_model()
    path = export_litert(model, tmp_path / "signs.tflite")
    source = LiteRTSource(path, value_range=(0, 255))
    np.testing.assert_allclose(source(IMAGES), model.predict(IMAGES, verbose=0), atol=1e-5)


def test_the_keras_twin_of_a_litert_source_is_converted(tmp_path) -> None:
    model = small_model(sign_source(), num_views=3)
    twin = FrozenSource(
        keras.models.load_model(embedded_path("traffic_signs.keras")), value_range=(0, 255)
    )
    path = export_litert(model, tmp_path / "signs.tflite", source=twin)
    np.testing.assert_allclose(run(path), model.predict(IMAGES, verbose=0), atol=2e-4)


def test_suffix_and_overwriting_are_checked_first(tmp_path) -> None:
    model = small_model()
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


def test_a_file_that_disagrees_is_not_kept(tmp_path, monkeypatch) -> None:
    model = small_model()
    convert = litert._convert

    def other_weights(model, source):
        content = convert(model, source)
        model.output_map.bias.assign(model.output_map.bias + [0.0, 1.0, 0.0])
        return content

    monkeypatch.setattr(litert, "_convert", other_weights)
    with pytest.raises(ValueError, match="does not agree with the model: scores differ by 0"):
        export_litert(model, tmp_path / "signs.tflite")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_writing_is_interrupted(tmp_path, monkeypatch) -> None:
    model = small_model()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_litert(model, tmp_path / "signs.tflite")
    assert list(tmp_path.iterdir()) == []


def test_the_converter_is_quiet(tmp_path, capfd) -> None:
    export_litert(small_model(), tmp_path / "signs.tflite")
    printed = capfd.readouterr()
    assert printed.out == ""
