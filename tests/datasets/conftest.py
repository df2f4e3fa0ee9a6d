"""Data folders of the test's own, whatever the environment says."""

from pathlib import Path

import pytest


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that `KERAS_REPROGRAM_DATA` names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("KERAS_REPROGRAM_DATA", str(folder))
    return folder


@pytest.fixture(autouse=True)
def tfds_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `TFDS_DATA_DIR` names: what was prepared on this machine plays no part."""
    folder = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder
