"""The script that times exact fits: both sides fit the same thing."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("exact_fit")
    monkeypatch.delitem(sys.modules, "exact_fit")
    return module


@pytest.mark.parametrize("classes", [2, 4])
def test_ours_and_scikit_learns_fit_agree(script, tmp_path, classes):
    random = np.random.default_rng(0)
    centres = random.normal(size=(4, 12))
    for part, count in (("train", 1600), ("test", 200)):
        labels = random.integers(0, 4, count)
        features = centres[labels] + random.normal(size=(count, 12))
        np.save(tmp_path / f"answers_made_{part}.npy", features.astype(np.float32))
        np.save(tmp_path / f"answers_made_{part}_labels.npy", labels)
    case = script.Case("made", rows=600, features=10, classes=classes, source="answers")
    ours, theirs = (
        script.timed(case, method, str(tmp_path)) for method in ("this version", "scikit-learn")
    )
    assert ours.test_loss == pytest.approx(theirs.test_loss, rel=0.05)
    assert ours.test_accuracy == pytest.approx(theirs.test_accuracy, abs=0.03)
    assert ours.test_accuracy > 0.6
    assert ours.seconds > 0 and ours.megabytes >= 0


@pytest.mark.slow
def test_numpy_and_a_device_fit_the_same(script, tmp_path, capsys):
    device = importlib.import_module("exact_fit_device")
    random = np.random.default_rng(0)
    centres = random.normal(size=(4, 12))
    for part, count in (("train", 1200), ("test", 200)):
        labels = random.integers(0, 4, count)
        features = centres[labels] + random.normal(size=(count, 12))
        np.save(tmp_path / f"answers_made_{part}.npy", features.astype(np.float32))
        np.save(tmp_path / f"answers_made_{part}_labels.npy", labels)
    case = script.Case("made", rows=800, features=12, classes=4, source="answers")
    device.compare([case], "CPU:0", 1, str(tmp_path))
    _, _, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[0].partition(": ")[2] for row in cells] == [
        "numpy", "CPU:0", "CPU:0, TF32", "NumPy, rounded",
    ]  # fmt: skip
    assert len({(row[3], row[4]) for row in cells}) == 1
    assert all(abs(float(row[6])) < 1e-5 for row in cells[:3])
    assert all(float(row[8]) < 1e-4 for row in cells[:3])


def test_groups_follow_the_rows_that_are_drawn(script, tmp_path):
    labels = np.arange(40) % 4
    for part in ("train", "test"):
        np.save(tmp_path / f"answers_made_{part}.npy", np.arange(80.0).reshape(40, 2))
        np.save(tmp_path / f"answers_made_{part}_labels.npy", labels)
    case = script.Case("made", rows=9, features=2, classes=2, source="answers")
    assert script.part_of(case, "train", str(tmp_path))[2] is None
    np.save(tmp_path / "answers_made_train_groups.npy", np.arange(40) * 10)
    rows, _, groups = script.part_of(case, "train", str(tmp_path))
    np.testing.assert_array_equal(groups, rows[:, 0] * 5)


def test_only_the_generated_section_of_a_page_is_replaced(script, tmp_path):
    page = tmp_path / "page.md"
    first, last = script.SECTION
    page.write_text(f"before\n{first}old\n{last}\nafter\n", encoding="utf-8")
    script.write_section(page, ["", "| new |"])
    assert page.read_text("utf-8") == f"before\n{first}\n| new |\n\n{last}\nafter\n"


def test_an_earlier_version_must_be_a_checkout(script, tmp_path):
    case = script.Case("made", 10, 10, 2)
    with pytest.raises(ValueError, match="Expected --beside to name a checkout"):
        script.timed(case, "earlier", str(tmp_path), tmp_path)


def test_times_are_drawn_against_what_grows(script, tmp_path):
    times = {"this version": [{"seconds": 1.0}], "scikit-learn": [{"seconds": 9.0}]}
    found = [
        {"section": section, section: size} | times
        for section in script.GROWING
        for size in (10, 100)
    ]
    script.draw(found, tmp_path / "pictures" / "times.png")
    assert (tmp_path / "pictures" / "times.png").stat().st_size > 1000
