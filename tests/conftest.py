"""What every test starts from: one backend, quiet TensorFlow, no window, a fixed seed."""

import gc
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports Keras, TensorFlow or Matplotlib: they read these once.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from xdist.scheduler import LoadFileScheduling

# Shells start background jobs with Ctrl-C ignored; the tests of Ctrl-C need Python's own handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Start every test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _few_objects_to_collect() -> Iterator[None]:
    """Keep what earlier files left (graphs, compiled models) from every later collection.

    Going through those millions of objects again and again was a sixth of all tests' time.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the rarer cases of a test that takes seconds a case to `make test-slow`."""
    cases: Counter[str] = Counter()
    for item in items:
        if mark := item.get_closest_marker("fast_cases"):
            test = item.nodeid.partition("[")[0]
            cases[test] += 1
            if cases[test] > mark.args[0]:
                item.add_marker(pytest.mark.slow)


class _FoldersThatShare(LoadFileScheduling):
    """One worker runs a folder with a conftest.py, whose exports and servers take seconds to make.

    All other files are handed out one by one.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = Path(super()._split_scope(nodeid))
        folder = file.parent
        is_shared = (
            folder.name != "tests" and (self.config.rootpath / folder / "conftest.py").is_file()
        )
        return (folder if is_shared else file).as_posix()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """What `pytest -n 3` hands to its workers, the largest first."""
    return _FoldersThatShare(config, log)


def _folder_from_environment(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"set {variable} to the folder that holds {what}")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{variable} is set to {value!r}, which is not a folder")
    return folder


@pytest.fixture
def keras_home() -> Path:
    """The folder of pre-trained weights; Keras reads the same variable when it is imported."""
    return _folder_from_environment("KERAS_HOME", "pre-trained weights (models/*.h5)")


@pytest.fixture
def reprogram_data() -> Path:
    """The folder of real data sets."""
    return _folder_from_environment("KERAS_REPROGRAM_DATA", "the real data sets")


@pytest.fixture
def reprogram_models() -> Path:
    """The folder of other people's model files."""
    return _folder_from_environment("KERAS_REPROGRAM_MODELS", "other people's model files")
