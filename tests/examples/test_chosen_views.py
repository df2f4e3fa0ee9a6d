"""The chosen-against-drawn comparison's own code, run on few digits."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules, with a small pool, one pair and few images."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    names = ("chosen_views", "csv_rows", "targets")
    modules = SimpleNamespace(**{name: __import__(name) for name in names})
    script, draw = modules.chosen_views, modules.targets.draw_target
    monkeypatch.setattr(script, "POOL_SIZE", 6)
    monkeypatch.setattr(script, "NUMBERS", (1, 2))
    monkeypatch.setattr(script, "PAIRS", (("traffic_signs", "digits"),))
    monkeypatch.setattr(script, "draw_target", lambda *a: draw(*a, limit=100))
    yield modules
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


@pytest.mark.slow
def test_rows_count_their_queries_and_resume(parts: SimpleNamespace, tmp_path: Path) -> None:
    app, path = typer.Typer(), tmp_path / "rows.csv"
    app.command()(parts.chosen_views.main)
    ended = CliRunner().invoke(app, ["--seeds", "0", "--csv", str(path)])
    assert ended.exit_code == 0, ended.output
    rows = {row.method: row for row in parts.csv_rows.read_rows(path)}
    assert sorted(rows) == ["chosen_1", "chosen_2", "drawn_1", "drawn_2"]
    # A quarter of the images is asked under the whole pool, the rest under the chosen views.
    assert rows["chosen_2"].queries_training == 25 * 6 + 75 * 2
    assert rows["drawn_2"].queries_training == 100 * 2
    assert rows["drawn_1"].choices.count(";") == 4
    # The greedy order of two begins with the best single one.
    first = rows["chosen_1"].choices.split(":")[0]
    assert rows["chosen_2"].choices.startswith(f"{first}+")
    draws = [float(part.split(":")[1]) for part in rows["drawn_2"].choices.split(";")]
    assert rows["drawn_2"].test_accuracy == pytest.approx(np.mean(draws), abs=2e-3)
    assert "| traffic_signs | digits |" in ended.stdout

    before = path.read_bytes()
    again = CliRunner().invoke(app, ["--table", "--csv", str(path)])
    assert again.stdout.strip() in ended.stdout and path.read_bytes() == before
    CliRunner().invoke(app, ["--seeds", "0", "--csv", str(path)])
    assert path.read_bytes() == before
