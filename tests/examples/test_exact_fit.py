"""The script that times exact fits: both sides fit the same thing."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.mark.parametrize("classes", [2, 4])
def test_ours_and_scikit_learns_fit_agree(monkeypatch, tmp_path, classes):
    monkeypatch.syspath_prepend(FOLDER)
    script = importlib.import_module("exact_fit")
    monkeypatch.delitem(sys.modules, "exact_fit")
    random = np.random.default_rng(0)
    centres = random.normal(size=(4, 12))
    for part, count in (("train", 400), ("test", 200)):
        labels = random.integers(0, 4, count)
        features = centres[labels] + random.normal(size=(count, 12))
        np.save(tmp_path / f"made_{part}.npy", features.astype(np.float32))
        np.save(tmp_path / f"made_{part}_labels.npy", labels)
    case = script.Case("made", rows=150, features=10, classes=classes)
    ours, theirs = (
        script.timed(case, method, str(tmp_path)) for method in ("ours", "scikit-learn")
    )
    assert ours.test_loss == pytest.approx(theirs.test_loss, rel=0.05)
    assert ours.test_accuracy == pytest.approx(theirs.test_accuracy, abs=0.03)
    assert ours.test_accuracy > 0.6
    assert ours.seconds > 0 and ours.megabytes >= 0
