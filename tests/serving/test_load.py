"""Load on a real model: what the server adds to it."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "serving" / "load.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("serving_load", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_four_clients_for_a_minute(script, keras_home):
    figures = script.load(60.0, 4, 8)
    print(json.dumps(figures, indent=1))
    for way in ("grpc", "grpc_files", "rest", "rest_files"):
        assert figures[way]["errors"] == 0, figures[way]["first_error"]
    assert figures["grpc"]["requests"] > 0
    assert figures["grpc_share_of_in_process"] >= 0.8
