"""A tiny export, and its images as files, records and rows."""

import pytest
from scored_images import TinyExport, export_tiny, write_images


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyExport:
    return export_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def photos(tmp_path):
    """Ten PNG files in two folders."""
    return write_images(tmp_path / "photos", 10)
