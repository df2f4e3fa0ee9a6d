"""The metadata of a LiteRT file: pixels, class names and words, as our own reader finds them."""

import importlib.util
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_models import frozen_source, images_and_labels, small_model

from keras_reprogram import DenseMap, LiteRTSource, ProgramLayer, export_litert
from keras_reprogram.export import litert_metadata, read_litert_facts
from keras_reprogram.source.litert_metadata import read_litert_metadata

NAMES = ("dark", "grey", "light")
FORM = {"form": "float32"}

needs_schema = pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None, reason="pip install mediapipe"
)


def test_a_missing_schema_is_said_before_anything_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"`mediapipe`: pip install 'keras-reprogram\[mediapipe"):
        export_litert(small_model(fitted=False), tmp_path / "a.tflite", target="mediapipe", **FORM)
    assert list(tmp_path.iterdir()) == []


@needs_schema
@pytest.mark.slow
@pytest.mark.parametrize("target_range", [(0, 255), (-1, 1), (0, 1)])
def test_codes_become_the_programs_pixels(target_range, tmp_path) -> None:
    source = frozen_source()
    program = ProgramLayer(
        (4, 4, 3), source.source_shape, source_range=(0, 255), target_range=target_range
    )
    model = small_model(source, DenseMap(3), program=program, fitted=False, class_names=NAMES)
    images, labels = images_and_labels(40)
    low, high = target_range
    images = np.repeat(low + images.round() / 255 * (high - low), 3, axis=-1).astype("float32")
    model.fit_output_map(images, labels, verbose=0)
    path = export_litert(model, tmp_path / "a.tflite", target="android", licence="CC0", **FORM)
    said = read_litert_metadata(path)
    scale, offset = said.preprocessing
    codes = np.arange(256)
    np.testing.assert_allclose(codes * scale + offset, low + codes / 255 * (high - low), atol=1e-6)
    assert said.class_names == NAMES
    # As a source it takes codes, and is told nothing else.
    again = LiteRTSource(path)
    found = again(((images - low) / (high - low) * 255).round())
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)


@needs_schema
@pytest.mark.slow
def test_words_and_every_output(tmp_path) -> None:
    model = small_model(class_names=NAMES)
    images, labels = images_and_labels(120, seed=3)
    model.calibrate(images, labels, coverage=0.9)
    schema = litert_metadata.schema_of_metadata()

    def metadata(target, **words):
        path = export_litert(
            model, tmp_path / "signs.tflite", target=target, overwrite=True, **FORM, **words
        )
        content = path.read_bytes()
        file = litert_metadata.flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        (entry,) = (one for one in file.metadata if one.name == b"TFLITE_METADATA")
        said = bytes(file.buffers[entry.buffer].data)
        return path, schema.ModelMetadataT.InitFromPackedBuf(said)

    path, said = metadata("android")
    assert said.name == b"signs" and said.minParserVersion == b"1.0.0" and said.license is None
    assert said.description.startswith(b"Tells dark, grey, light: ")
    interpreter = Interpreter(str(path))
    names = [output.name for output in said.subgraphMetadata[0].outputTensorMetadata]
    assert names[0] == b"scores" and len(names) == len(interpreter.get_output_details())
    assert set(interpreter.get_signature_list()) == {"serving_default", "sets"}
    # MediaPipe runs one signature: the scores alone.
    path, said = metadata("mediapipe", description="Mine.", licence="CC0")
    assert (said.description, said.license) == (b"Mine.", b"CC0")
    assert len(said.subgraphMetadata[0].outputTensorMetadata) == 1
    assert list(Interpreter(str(path)).get_signature_list()) == ["serving_default"]
    assert read_litert_facts(path).calibration is None
    with zipfile.ZipFile(path) as archive:
        assert archive.read("class_names.txt").decode().splitlines() == list(NAMES)
