"""Exports that take seconds to write, for all tests that only look at them."""

import pytest
from environments import Environments
from exported_models import export_digits

from keras_reprogram.export import saved_model


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Three views, with all checks of the export."""
    return export_digits(3, tmp_path_factory.mktemp("three_views"))


@pytest.fixture(scope="session")
def digits_one_view(tmp_path_factory):
    return export_digits(1, tmp_path_factory.mktemp("one_view"))


@pytest.fixture
def unchecked(monkeypatch):
    """Exports without the fresh process, which takes seconds to start."""
    monkeypatch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """Environments for other people's runtimes and servers."""
    return Environments.kept_or_in(tmp_path_factory.mktemp("runtimes"))
