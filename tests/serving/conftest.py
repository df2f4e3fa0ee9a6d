"""Servers that take seconds to start, for all tests that only ask them."""

import pytest
from served_models import stubs_of, write_brightness, write_half_plus_three

from keras_reprogram.export import saved_model
from keras_reprogram.serving import ModelServer


@pytest.fixture(scope="session")
def half_folder(tmp_path_factory):
    return write_half_plus_three(tmp_path_factory.mktemp("half"))


@pytest.fixture(scope="session")
def half(half_folder):
    with ModelServer(half_folder, poll_seconds=60) as server:
        yield server


@pytest.fixture(scope="session")
def half_stubs(half):
    with stubs_of(half) as stubs:
        yield stubs


@pytest.fixture(scope="session")
def brightness_export(tmp_path_factory):
    """The folder of a small export, and its model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
        return write_brightness(tmp_path_factory.mktemp("brightness"))


@pytest.fixture(scope="session")
def brightness(brightness_export):
    with ModelServer(brightness_export[0], poll_seconds=60) as server:
        yield server


@pytest.fixture(scope="session")
def brightness_stubs(brightness):
    with stubs_of(brightness) as stubs:
        yield stubs
