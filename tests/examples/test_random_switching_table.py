"""The script of random switching: all of its runs on tiny networks, its rows and its table."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_reprogram.datasets import TargetData

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("random_switching")
    sys.path.remove(str(FOLDER))


def bars(name, shape):
    """Ten classes: where a bright bar lies."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 10
    images = random.integers(0, 60, (400, *shape), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 3] += 180
    names = tuple(map(str, range(10)))
    return TargetData(
        name, images[:300], labels[:300], images[300:], labels[300:], names, "Drawn by the test."
    )


def row(script, source, method, seed, accuracy):
    return script.Row(source, method, seed, "full", None, 10, None, accuracy, 1.0)


def test_table_has_both_networks_beside_each_other(script):
    rows = [row(script, "none", script.PIXELS, 0, 0.9)]
    for seed, accuracy in ((0, 0.5), (1, 0.7)):
        rows.append(row(script, "bare", "exact map, 8 views", seed, accuracy))
        rows.append(row(script, "switching", "exact map, 8 views", seed, accuracy - 0.2))
    lines = script.markdown(rows).splitlines()
    assert "| exact map, 8 views | 2 | 0.600 ± 0.141 | 0.400 ± 0.141 |" in lines
    assert "Without a source, pixels alone: 0.900." in lines


def test_every_method_is_planned_for_both_networks(script):
    runs = script.plan([0, 3], "quick")
    assert len(runs) == len(set(runs)) == 2 * (1 + 2 * 5)
    assert {one[0] for one in runs if one[1] == script.CONNECTED} == {"bare", "switching"}


def test_the_papers_program_has_30720_weights(script):
    program = script.connected_program(bars("mnist", (28, 28, 1)))
    program.build((None, 28, 28, 1))
    assert program.count_params() == 30_720


@pytest.mark.slow
def test_quick_run_is_not_done_again(script, monkeypatch, tmp_path):
    sets = {"cifar10": bars("cifar10", (32, 32, 3)), "mnist": bars("mnist", (28, 28, 1))}
    monkeypatch.setattr(script, "load_target", sets.get)
    output = tmp_path / "rows.csv"
    script.main("0", True, tmp_path / "networks", None, output)
    rows = script.read_rows(output, script.Row)
    assert [one.key for one in rows] == script.plan([0], "quick")
    found = {(one.source, one.method): one for one in rows}
    # Bars are what pixels are enough for, and scores of an untrained network nearly.
    assert found["none", script.PIXELS].test_accuracy > 0.9
    assert found["bare", "exact map, 8 views"].test_accuracy > 0.3
    assert found["bare", "exact map, 8 views"].queries == 8 * 80
    for kind in ("bare", "switching"):
        chosen = found[kind, script.CONNECTED]
        assert chosen.rate in script.RATES[script.CONNECTED]
        # Both step sizes: 140 images learned from, 20 held out.
        assert chosen.queries == 2 * 160
    before = output.read_bytes()
    script.main("0", True, tmp_path / "networks", None, output)
    assert output.read_bytes() == before
    assert "| own accuracy | 1 |" in output.with_suffix(".md").read_text()
