"""Where a program's source is found again, and what is refused. MLflow is not needed for it."""

import json
import shutil
import sys

import numpy as np
import pytest
from small_models import frozen_source, opaque_source

from keras_reprogram import LiteRTSource, PixelSource, embedded_path
from keras_reprogram.mlflow import log_model, save_model
from keras_reprogram.mlflow.source_place import check_place, describe_files, source_at

pytestmark = pytest.mark.slow

MODULE = "from keras_reprogram import PixelSource\n"
IMAGES = np.linspace(0, 255, 2 * 32 * 32 * 3, dtype="float32").reshape(2, 32, 32, 3)


@pytest.fixture
def signs(tmp_path):
    """A source of a file that can be moved."""
    file = tmp_path / "signs.tflite"
    shutil.copy(embedded_path("traffic_signs.tflite"), file)
    return LiteRTSource(file, value_range=(0, 255), max_batch=16)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that Python can import."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        (tmp_path / "my_sources.py").write_text(text)
        monkeypatch.delitem(sys.modules, "my_sources", raising=False)

    return write


def as_stored(source):
    return json.loads(json.dumps(describe_files(source)))


def test_a_file_is_found_where_it_was(signs) -> None:
    found = source_at("", as_stored(signs))
    assert found.fingerprint == signs.fingerprint and found.max_batch == 16
    np.testing.assert_array_equal(found(IMAGES), signs(IMAGES))


def test_a_file_that_moved_is_found_by_its_digest(signs, tmp_path) -> None:
    stored, there = as_stored(signs), tmp_path / "there" / "deep"
    there.mkdir(parents=True)
    (there / "aaa.tflite").write_bytes(b"another one")
    signs.model_path.rename(there / "network.tflite")
    with pytest.raises(FileNotFoundError, match="no longer at .*signs.tflite.* sha256 .*PATH is"):
        source_at("", stored)
    for place in (there / "network.tflite", tmp_path / "there"):
        assert source_at(str(place), stored).fingerprint == signs.fingerprint
    with pytest.raises(ValueError, match="trained on another source.*1 files of its kind"):
        source_at(str(there / "aaa.tflite"), stored)
    with pytest.raises(FileNotFoundError, match="There is nothing at"):
        source_at(str(tmp_path / "nowhere"), stored)


def test_a_source_without_a_file_but_with_a_configuration() -> None:
    source = PixelSource((4, 4, 1), target_range=(0, 255))
    assert source_at("", as_stored(source)).fingerprint == source.fingerprint


@pytest.mark.parametrize("make", [frozen_source, opaque_source], ids=["Keras", "Python"])
def test_other_sources_need_code(make) -> None:
    with pytest.raises(ValueError, match='Pass `source="MODULE:NAME"`'):
        describe_files(make())


def test_code_makes_a_source(module) -> None:
    module(f"{MODULE}source = PixelSource((4, 4, 1), target_range=(0, 255))\nmake = lambda: source")
    source = PixelSource((4, 4, 1), target_range=(0, 255))
    for name in ("source", "make"):
        check_place(f"my_sources:{name}", source)
        assert source_at(f"my_sources:{name}", None).fingerprint == source.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signs.keras", "must be `MODULE:NAME`.*Received: 'signs.keras'"),
        ("my_sources:number", "Received: 'my_sources:number', a int"),
        ("my_sources:other", "'my_sources:other'.*has no attribute"),
        ("no_such_module:source", "No module named 'no_such_module'"),
        ("my_sources:source", "must name the source of the model.*fingerprint"),
    ],
)
def test_code_that_makes_none_is_refused(module, text, message) -> None:
    module(f"{MODULE}source = PixelSource((4, 4, 1), target_range=(0, 1))\nnumber = 3")
    with pytest.raises(ValueError, match=message):
        check_place(text, PixelSource((4, 4, 1), target_range=(0, 255)))


def test_a_path_does_not_find_what_is_no_file() -> None:
    with pytest.raises(ValueError, match="whose source is not made from files"):
        source_at("somewhere", None)


def test_without_mlflow_the_command_that_installs_it_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for write in (log_model, save_model):
        with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[mlflow\]'"):
            write(None, "digits", source="my_sources:signs")
