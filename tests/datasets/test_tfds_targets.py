"""Known data sets that TensorFlow Datasets prepared before, and what is said where none is."""

import gzip
import importlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_reprogram.datasets import cifar, load_target, mnist, tfds
from keras_reprogram.datasets.target_data import Draw
from keras_reprogram.datasets.tfds import load_prepared_tfds

LABELS = np.arange(40) % 10


@pytest.fixture
def prepare(tfds_folder: Path, data_folder: Path) -> Callable[..., None]:
    """Prepares 20 training and 10 test images under the name of a data set."""
    tfds = pytest.importorskip(
        "tensorflow_datasets", reason='pip install "keras-reprogram[datasets]" to run this'
    )

    def prepared(name: str, version: str = "1.0.0", shape: Any = (4, 4, 1), **extra: Any) -> None:
        class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version(version)

            def _info(self) -> Any:
                features = {
                    "image": tfds.features.Image(shape=shape),
                    "label": tfds.features.ClassLabel(num_classes=10),
                    "patient": tfds.features.Text(),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=("image", "label"),
                    metadata=tfds.core.MetadataDict(extra),
                )

            def _split_generators(self, dl_manager: Any) -> Any:
                parts = {"train": self._generate_examples(20)}
                return parts if extra else parts | {"test": self._generate_examples(10)}

            def _generate_examples(self, count: int) -> Iterator[Any]:
                for k in range(count):
                    image = np.full([s or 4 for s in shape], 12 * k, np.uint8)
                    yield k, {"image": image, "label": k // 2 % 5, "patient": f"p{k // 2}"}

        Tiny.name = name
        Tiny(data_dir=tfds_folder).download_and_prepare()

    return prepared


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_prepared_set_is_used_before_a_download(
    name: str, prepare: Any, tfds_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", no_network)
    prepare(name)
    target = load_target(name)
    assert (target.name, len(target.train_labels), len(target.test_labels)) == (name, 20, 10)
    assert str(tfds_folder) in target.origin


def no_network() -> None:
    raise Exception("URL fetch failure")


def test_newest_version_is_used(prepare: Any) -> None:
    prepare("beans", "1.9.0", (4, 4, 1))
    prepare("beans", "1.10.0", (6, 6, 1))
    target = load_prepared_tfds("beans")
    assert target is not None
    assert target.target_shape == (6, 6, 1)


def test_groups_of_the_metadata_keep_rows_together(prepare: Any) -> None:
    prepare("moles", group="patient")
    target = load_prepared_tfds("moles", seed=2)
    assert target is not None
    assert target.train_groups is not None
    assert len(target.train_groups) == len(target.train_labels) == 16
    assert np.bincount(target.train_groups).tolist() == [2] * 8
    test = set(target.test_images[:, 0, 0, 0] // 24)
    assert len(test) == 2
    assert not test & set(target.train_images[:, 0, 0, 0] // 24)
    assert any("80/20 by group, seed 2" in note for note in target.notes)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("extra", [{}, {"group": "patient"}])
@pytest.mark.parametrize("shape", [(4, 4, 1), (None, None, 3)])
def test_a_set_is_drawn_before_it_is_read(
    shape: Any, extra: Any, prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images of a draw are those of the whole set, and no others are decoded."""
    prepare("moles", shape=shape, **extra)
    whole = load_prepared_tfds("moles", seed=2)
    assert whole is not None
    decoded = []

    def resize(levels: Any, size: Any) -> Any:
        decoded.append(levels.max())
        return levels

    monkeypatch.setattr(tfds, "resize_levels", resize)
    drawn = load_prepared_tfds("moles", seed=2, draw=Draw(8, None, seed=1))
    expected = whole.draw(8, None, seed=1)
    assert drawn is not None
    for part in ("train_images", "train_labels", "test_images", "test_labels", "train_groups"):
        np.testing.assert_array_equal(getattr(drawn, part), getattr(expected, part))
    assert drawn.notes == expected.notes
    assert f"8 of {len(whole.train_labels)} training images drawn, seed 1." in drawn.notes
    assert len(decoded) == 8 + len(whole.test_labels)
    with pytest.raises(ValueError, match="Cannot draw 800 test images of 'moles'"):
        load_prepared_tfds("moles", draw=Draw(8, 800, seed=1))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["mnist", "beans", "patch_camelyon"])
def test_mock_data_are_data(name: str, tfds_folder: Path) -> None:
    """What TFDS offers for tests: no files, no splits, random rows."""
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=8):
        target = load_target(f"tfds:{name}", image_size=16, draw=Draw(None, None, 0))
    assert len(target.train_images) == len(target.test_images) == 8
    assert target.train_images.dtype == np.uint8
    assert len(target.class_names) == {"mnist": 10, "beans": 3, "patch_camelyon": 2}[name]
    assert target.train_images.std() > 10


@pytest.mark.parametrize("silent", [False, True])
def test_without_a_network_a_download_fails_in_seconds(
    silent: bool, tfds_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFDS alone tries each file eleven times, for 200 seconds."""
    tfds = pytest.importorskip("tensorflow_datasets")
    requests, ended = importlib.import_module("requests"), threading.Event()

    def unreachable(*arguments: Any, **options: Any) -> None:
        if silent:
            assert ended.wait(60)
        raise requests.exceptions.ConnectionError("name or service not known")

    def download(*arguments: Any, **options: Any) -> None:
        raise AssertionError("TFDS was left to try")

    monkeypatch.setattr(requests, "head", unreachable)
    if silent:
        monkeypatch.setattr("keras_reprogram.datasets.tfds._SECONDS", -2.9)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    expected = "no answer in" if silent else "name or service not known"
    with pytest.raises(ConnectionError, match=f"cannot be reached: .*{expected}.*TFDS_DATA_DIR"):
        load_target("tfds:beans")
    ended.set()


def test_every_name_of_tfds_is_found_in_its_files() -> None:
    package = pytest.importorskip("tensorflow_datasets")
    folders = (Path(package.__file__).parent, Path(tfds.__file__).parent / "builders")
    known = set().union(*map(tfds.names_in_files, folders))
    # Not those that other tests register in this process.
    builders = package.list_builders(with_community_datasets=False)
    names = {
        name.replace("_", "")
        for name in builders
        if package.builder_cls(name).__module__.startswith("tensorflow_datasets.")
    }
    assert len(names) > 100
    assert names <= known
    assert "digit" not in known


def test_missing_training_split_is_named(prepare: Any) -> None:
    prepare("beans")
    with pytest.raises(ValueError, match="'beans' to have a split 'validation'"):
        load_prepared_tfds("beans", train_split="train+validation")


def test_prepared_set_without_tfds_is_passed_over(
    prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("beans")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert load_prepared_tfds("beans") is None


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("fashion_mnist", (28, 28), (28, 28, 1)), ("cifar100", (32, 32, 3), (32, 32, 3))],
)
def test_keras_is_asked_last(
    name: str,
    shape: tuple[int, ...],
    expected: tuple[int, ...],
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = np.zeros((40, *shape), np.uint8), LABELS.reshape(40, *[1] * (len(shape) - 2))
    module = getattr(keras.datasets, name)
    monkeypatch.setattr(module, "load_data", lambda: ((images, labels), (images, labels)))
    target = load_target(name)
    assert target.target_shape == expected
    assert target.train_labels.tolist() == LABELS.tolist()
    assert f"keras.datasets.{name}" in target.origin
    monkeypatch.setattr(module, "load_data", no_network)
    with pytest.raises(ConnectionError, match="URL fetch failure.*TFDS_DATA_DIR") as caught:
        load_target(name)
    assert ("KERAS_REPROGRAM_DATA" in str(caught.value)) == (name == "fashion_mnist")


def write_fashion(folder: Path) -> None:
    folder.mkdir()
    for name in mnist.FILE_NAMES:
        values = LABELS if "labels" in name else np.zeros((40, 28, 28))
        header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def test_fashion_files_have_a_folder_of_their_own(data_folder: Path) -> None:
    write_fashion(data_folder / "fashion_mnist")
    target = load_target("fashion_mnist")
    assert target.test_labels.tolist() == LABELS.tolist()
    assert str(data_folder / "fashion_mnist") in target.origin
    (data_folder / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="Received: no t10k-labels-idx1-ubyte.gz"):
        load_target("fashion_mnist")


def test_class_names_are_those_that_are_published() -> None:
    assert len(set(cifar.CIFAR100_CLASSES)) == 100
    assert list(cifar.CIFAR100_CLASSES) == sorted(cifar.CIFAR100_CLASSES)
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.builder("fashion_mnist").info.features
    assert tuple(features["label"].names) == mnist.FASHION_CLASSES


@pytest.mark.parametrize("name", ["caltech101", "caltech101_thesis"])
def test_download_without_a_network_says_what_to_do(
    name: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("importlib_resources")
    tfds = pytest.importorskip("tensorflow_datasets")

    def unreachable(*_: Any) -> None:
        raise OSError("no route to host")

    # The server is there, and breaks off.
    monkeypatch.setattr("requests.head", lambda *_, **options: None)
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", unreachable)
    with pytest.raises(ConnectionError, match=f"{name}.*no route to host.*TFDS_DATA_DIR"):
        load_target(name)
