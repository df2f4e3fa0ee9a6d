"""The picture of coverage shows the rows of none_of_these.csv."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"

pytestmark = pytest.mark.slow


def test_the_picture_shows_the_means_of_the_rows():
    script = runpy.run_path(str(FOLDER / "coverage_plot.py"))
    rows = script["rows_by_target"](FOLDER / "none_of_these.csv")
    sets, answered = script["draw"](rows).axes
    assert [text.get_text() for text in answered.get_legend().get_texts()] == list(rows)
    shown = {bars.get_label(): bars[0].get_ydata() for bars in answered.containers}
    runs = [float(row["accuracy_50"]) for row in rows["cifar10"]]
    assert len(runs) == 3
    assert shown["cifar10"][0] == pytest.approx(sum(runs) / 3)
    assert len(sets.containers) == len(rows)
