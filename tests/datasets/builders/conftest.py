"""Builders of TensorFlow Datasets that prepare what a test wrote, in a folder of the test."""

import importlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def manual_folder(tfds_folder: Path, data_folder: Path) -> Path:
    """Where TFDS expects what a person fetched; there is no prepared copy either."""
    folder = tfds_folder / "downloads" / "manual"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def prepare(tfds_folder: Path) -> Callable[[str], Any]:
    """Prepares the builder of a name."""
    reason = 'pip install "keras-reprogram[datasets]" to run this'
    pytest.importorskip("importlib_resources", reason=reason)
    tfds = pytest.importorskip("tensorflow_datasets", reason=reason)
    importlib.import_module("keras_reprogram.datasets.builders")

    def prepared(name: str) -> Any:
        builder = tfds.builder(name, data_dir=tfds_folder)
        builder.download_and_prepare()
        return builder

    return prepared


@pytest.fixture
def read() -> Callable[[Any], dict[str, list[dict[str, Any]]]]:
    """Reads the rows of every split."""

    def rows(builder: Any) -> dict[str, list[dict[str, Any]]]:
        return {
            split: list(builder.as_dataset(split=split).as_numpy_iterator())
            for split in builder.info.splits
        }

    return rows


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Encodes a picture of one colour."""

    def encoded(red: int, form: str, size: tuple[int, int] = (20, 15)) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.full((size[1], size[0], 3), (red, 0, 0), np.uint8)).save(file, form)
        return file.getvalue()

    return encoded


@pytest.fixture
def write_zip() -> Callable[[Path, dict[str, bytes]], None]:
    """Writes a zip of these contents."""

    def write(path: Path, contents: dict[str, bytes]) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)

    return write
