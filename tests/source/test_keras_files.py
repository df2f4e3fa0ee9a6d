"""Files of Keras 2, written by Keras 2 (tests/keras2_files/make.py), and endings in any case."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from keras_reprogram import FrozenSource, embedded_path
from keras_reprogram.command_line.source_settings import read_settings
from keras_reprogram.command_line.sources import resolve_source
from keras_reprogram.source.class_names import read_class_names

FILES = Path(__file__).parent.parent / "keras2_files"


@pytest.fixture(scope="module")
def answers():
    return np.load(FILES / "scores.npz")


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
@pytest.mark.parametrize("name", ["teachable_machine.h5", "other.h5", "other.keras"])
def test_files_of_keras_2_answer_as_keras_2_did(name, answers):
    source = FrozenSource.from_file(FILES / name, value_range=(-1, 1))
    expected = answers[name.partition(".")[0]]
    np.testing.assert_allclose(source(answers["images"]), expected, atol=1e-6)
    assert source.score_kind == "probabilities"
    again = FrozenSource.from_config(source.get_config())
    again.model.set_weights(source.model.get_weights())
    assert again.fingerprint == source.fingerprint


def test_teachable_machine_on_the_command_line(tmp_path, answers):
    path = tmp_path / "keras_model.H5"
    shutil.copy(FILES / "teachable_machine.h5", path)
    (tmp_path / "labels.txt").write_text("0 cat\n1 grey dog\n2 bird\n")
    names = str(tmp_path / "labels.txt")
    with pytest.raises(ValueError, match="which range its pixels must have"):
        resolve_source(str(path), settings=read_settings(class_names=names))
    settings = read_settings(value_range="-1,1", class_names=names)
    source = resolve_source(str(path), settings=settings).source
    assert source.class_names == ("cat", "grey dog", "bird")
    np.testing.assert_allclose(source(answers["images"]), answers["teachable_machine"], atol=1e-6)
    features = resolve_source(str(path), settings=settings, features=True).source
    assert features.num_labels == 5


def test_what_cannot_be_loaded_says_what_wrote_it():
    with pytest.raises(
        ValueError, match=r"(?s)Received: Requested .*written by Keras 2\.\d+"
    ) as no:
        FrozenSource.from_file(FILES / "with_lambda.h5", value_range=(0, 1))
    assert "save it there as a SavedModel" in str(no.value)
    assert "--source FOLDER" in str(no.value)


def test_what_keras_3_cannot_mean_is_not_dropped(tmp_path):
    path = tmp_path / "grouped.h5"
    shutil.copy(FILES / "teachable_machine.h5", path)
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        assert config.count('"groups": 1') == 3
        place = config.index('"groups"', config.index("DepthwiseConv2D"))
        changed = config[:place] + config[place:].replace('"groups": 1', '"groups": 2', 1)
        json.loads(changed)
        file.attrs["model_config"] = changed
    with pytest.raises(ValueError, match="written by Keras 2"):
        FrozenSource.from_file(path, value_range=(-1, 1))


def test_a_file_of_keras_3_keeps_its_error(tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes(embedded_path("traffic_signs.keras").read_bytes()[:5000])
    with pytest.raises(ValueError, match="is not a Keras model that Keras 3.* can load"):
        FrozenSource.from_file(path, value_range=(0, 255))
    with pytest.raises(FileNotFoundError, match="no Keras model at .*none.h5"):
        FrozenSource.from_file(tmp_path / "none.h5", value_range=(0, 255))


def test_endings_in_any_case(tmp_path):
    path = tmp_path / "Signs.KERAS"
    shutil.copy(embedded_path("traffic_signs.keras"), path)
    assert FrozenSource.from_file(path, value_range=(0, 255)).num_labels == 43


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("\ufeffcat\r\ndog\r\n\r\n", ("cat", "dog")),
        ("0 cat\n1 dog", ("cat", "dog")),
        # Numbers that are names.
        ("20 kilometres an hour\n30 kilometres an hour", None),
        ("0\n1\n2", ("0", "1", "2")),
    ],
)
def test_class_names_are_lines(tmp_path, text, names):
    (tmp_path / "labels.txt").write_bytes(text.encode())
    assert read_class_names(tmp_path / "labels.txt") == (names or tuple(text.split("\n")))


def test_files_without_class_names_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of class names at"):
        read_class_names(tmp_path / "none.txt")
    (tmp_path / "labels.txt").write_bytes(b"\n\n")
    with pytest.raises(ValueError, match="Received: an empty file"):
        read_class_names(tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_bytes("Katze\nKüken".encode("latin-1"))
    with pytest.raises(ValueError, match="Save it as UTF-8"):
        read_class_names(tmp_path / "labels.txt")
