"""The benchmark script runs, on few images."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmark" / "scoring_throughput.py"


@pytest.mark.slow
def test_the_script_counts_every_image(capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scoring_throughput", "--images", "2000", "--shard-size=50"])
    monkeypatch.syspath_prepend(SCRIPT.parent)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    said = capfd.readouterr().out
    assert "score / bare: " in said
    assert "2,000 images, 0 lost, 0 twice" in said
