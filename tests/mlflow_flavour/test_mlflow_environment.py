"""Runs the tests of MLflow in an environment that has it, beside the packages that are here."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
from environments import Environments

import keras_reprogram

TESTS = Path(__file__).with_name("test_mlflow.py")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is here")
def test_what_needs_mlflow_passes_where_it_is(tmp_path) -> None:
    python = Environments.kept_or_in(tmp_path).python("mlflow==3.17.2", seeing=True)
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", "slow"]
    # It sees the packages that are installed here, but not one that is so by a link.
    environment = {**os.environ, "PYTHONPATH": str(Path(keras_reprogram.__file__).parents[1])}
    done = subprocess.run([*command, str(TESTS)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-6000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found and int(found[1]) >= 15 and "skipped" not in done.stdout
