"""How a name becomes a target, TensorFlow Datasets included."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_reprogram.datasets import load_target, load_tfds, tfds


def write_folder(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for copy in range(5):
            Image.new("L", (3, 3)).save(root / name / f"{copy}.png")


def without(package: str) -> Any:
    def import_module(name: str) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return importlib.__import__(name)

    return import_module


@pytest.fixture(scope="module")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three prepared data sets: 12 images of two sizes and 6 texts."""
    tfds = pytest.importorskip(
        "tensorflow_datasets", reason='pip install "keras-reprogram[datasets]" to run this'
    )

    class TinySigns(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        SPLITS = ("train",)

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["go", "stop"]),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            return {split: self._generate_examples() for split in self.SPLITS}

        def _generate_examples(self) -> Iterator[Any]:
            for i in range(12):
                yield i, {"image": np.full((8 + i % 2, 6, 3), 21 * i, np.uint8), "label": i % 2}

    class TinyParts(TinySigns):
        VERSION = tfds.core.Version("1.0.0")
        SPLITS = ("train", "validation")

    class TinyTexts(TinySigns):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            features = {"text": tfds.features.Text()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _generate_examples(self) -> Iterator[Any]:
            yield from ((i, {"text": "x"}) for i in range(6))

    folder = tmp_path_factory.mktemp("tfds")
    for builder in (TinySigns, TinyParts, TinyTexts):
        builder(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def tiny_tfds(prepared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorFlow Datasets that looks for data sets in that folder."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared_folder))
    return importlib.import_module("tensorflow_datasets")


def test_known_name_comes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert "load_digits" in load_target("digits").origin
    assert load_target("./digits").class_names == ("cat", "dog")


def test_folder_comes_before_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfds.importlib, "import_module", without("tensorflow_datasets"))
    assert load_target("pets").name == "pets"


@pytest.mark.parametrize("name", ["tiny_signs", "tfds:tiny_signs", "tiny_signs:1.0.0"])
def test_tfds_name_is_loaded_and_split(name: str, tiny_tfds: Any) -> None:
    target = load_target(name, image_size=5, seed=1, fit="crop")
    assert target.class_names == ("go", "stop")
    assert target.train_images.shape == (10, 5, 5, 3)
    assert np.array_equal(target.train_images[:, 0, 0, 0] % 2, target.train_labels)
    everything = np.concatenate([target.train_images, target.test_images])[:, 2, 2, 1]
    assert sorted(everything) == list(range(0, 252, 21))
    assert "tiny_signs/1.0.0" in target.origin
    assert any("heights 8 to 9" in note for note in target.notes)
    assert any("80/20" in note for note in target.notes)


def test_tfds_validation_split_is_the_test_part(tiny_tfds: Any) -> None:
    target = load_tfds("tiny_parts", fit="pad")
    assert (len(target.train_images), len(target.test_images)) == (12, 12)
    assert any("'validation' is the test part" in note for note in target.notes)


def test_tfds_without_images_is_refused(tiny_tfds: Any) -> None:
    with pytest.raises(ValueError, match=r"8-bit images and class labels.*\['text'\]"):
        load_target("tiny_texts")


@pytest.mark.parametrize("name", ["no_such_data_set", "tiny_signs:9.9.9", "tiny_signs/large"])
def test_unknown_name_lists_what_is_possible(name: str, tiny_tfds: Any) -> None:
    with pytest.raises(
        ValueError, match="one of digits, mnist, fashion_mnist.*TFDS does not"
    ) as caught:
        load_target(name)
    assert repr(name) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_unknown_tfds_name_asked_for_outright(tiny_tfds: Any) -> None:
    with pytest.raises(ValueError, match="'no_such_data_set'. Dataset no_such_data_set not found"):
        load_target("tfds:no_such_data_set")


def test_failed_tfds_download_says_what_to_do(
    tiny_tfds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(tiny_tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(ConnectionError, match="no route to host.*TFDS_DATA_DIR"):
        load_tfds("tiny_signs")


def test_missing_package_of_tfds_is_named(tiny_tfds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_installed(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'importlib_resources'")

    monkeypatch.setattr(tiny_tfds.core.DatasetBuilder, "download_and_prepare", half_installed)
    with pytest.raises(ImportError, match=r"importlib_resources.*keras-reprogram\[datasets\]"):
        load_tfds("tiny_signs")


def test_missing_tfds_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfds.importlib, "import_module", without("tensorflow_datasets"))
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[datasets\]'"):
        load_target("tfds:mnist")
    with pytest.raises(ValueError, match=r"one of digits.*could not be asked.*No module named"):
        load_target("beans")


@pytest.mark.parametrize("name", ["", "./nowhere", "/no/such/folder", "~/nowhere_at_all"])
def test_missing_folder_is_not_looked_for_in_tfds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfds.importlib, "import_module", without("tensorflow_datasets"))
    with pytest.raises(ValueError, match="there is no such folder"):
        load_target(name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("photos.zip", "Unpack it, and pass the folder."),
        ("photos.TAR", "Unpack it, and pass the folder."),
        ("photos.tar.gz", "Unpack it, and pass the folder."),
        ("photos.pdf", "Pass a folder with one subfolder of images per class"),
    ],
)
def test_packed_files_are_refused(tmp_path: Path, name: str, advice: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="which is not a folder") as caught:
        load_target(str(path))
    assert str(path) in str(caught.value)
    assert advice in str(caught.value)
