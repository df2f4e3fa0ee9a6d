import io
import json

import numpy as np
import pytest
from rich.console import Console

from keras_reprogram.report import ResultRow, results_json, results_markdown, results_table
from keras_reprogram.report.tables import table_cells

ROWS = [
    ResultRow("SVM on pixels", (0.9704,), seconds=0.04),
    ResultRow("8 views", (0.939, 0.945, 0.951), 8000, 8, 1234.5, note="map only"),
]


def shown(rows, title="digits"):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(results_table(rows, title))
    return console.export_text()


def test_mean_and_spread_are_those_of_the_seeds():
    assert ROWS[1].mean == pytest.approx(0.945)
    assert ROWS[1].spread == pytest.approx(np.std([0.939, 0.945, 0.951], ddof=1))
    assert ROWS[0].spread is None


def test_terminal_table_formats_figures():
    text = shown(ROWS)
    assert "digits" in text
    for cell in (".945 ± .006", "8,000", "1,234", "map only", ".970", "0.04"):
        assert cell in text
    baseline = next(line for line in text.splitlines() if "SVM" in line)
    assert baseline.count(" - ") == 2
    assert "standard deviation" in text


def test_perfect_accuracy_keeps_its_one_and_single_seeds_need_no_explanation():
    text = shown([ResultRow("lucky", (1.0,))])
    assert "1.000" in text
    assert "±" not in text
    assert "note" not in text


def test_names_are_never_read_as_markup():
    text = shown([ResultRow("[bold]x[/bold]", (0.5,), note="[/red]")], title="[b]t[/b]")
    assert "[bold]x[/bold]" in text
    assert "[/red]" in text
    assert "[b]t[/b]" in text


def test_markdown_has_one_row_a_method_and_escapes_bars():
    text = results_markdown([*ROWS, ResultRow("a|b\nc", (0.5,))])
    lines = text.splitlines()
    assert lines[0].startswith("| method | accuracy | training queries |")
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | --- |"
    assert lines[2] == "| SVM on pixels | .970 | - | - | 0.04 |  |"
    assert lines[3] == "| 8 views | .945 ± .006 | 8,000 | 8 | 1,234 | map only |"
    assert lines[4].startswith(r"| a\|b c |")


def test_json_is_plain_and_unrounded():
    row = ResultRow("x", (np.float32(0.25), 0.75), np.int64(7), np.int32(1), np.float32(2.5))
    data = json.loads(json.dumps(results_json([row])))
    assert data == [
        {
            "method": "x",
            "accuracies": [0.25, 0.75],
            "mean": 0.5,
            "spread": pytest.approx(0.5**1.5),
            "training_queries": 7,
            "queries_per_prediction": 1,
            "seconds": 2.5,
            "note": "",
        }
    ]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"accuracies": ()}, "at least one"),
        ({"accuracies": (94.5,)}, "Divide percentages by 100"),
        ({"accuracies": (float("nan"),)}, "nan"),
        ({"accuracies": (0.5,), "training_queries": -1}, "training_queries=-1"),
        ({"accuracies": (0.5,), "seconds": float("nan")}, "seconds=nan"),
    ],
)
def test_impossible_rows_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ResultRow("broken", **fields)


def test_balanced_accuracy_stands_beside_accuracy_where_a_row_has_it():
    rows = [
        ResultRow("says nevus", (0.9, 0.8), balanced_accuracies=(0.5, 0.5)),
        ResultRow("older", (0.7,)),
    ]
    heads, body = table_cells(rows)
    assert heads[1:3] == ["accuracy", "balanced accuracy"]
    assert [cells[2] for cells in body] == [".500 ± .000", "-"]
    assert "| method | accuracy | balanced accuracy |" in results_markdown(rows)
    assert "| --- | ---: | ---: | ---: |" in results_markdown(rows)
    plain = results_json(rows)
    assert plain[0]["balanced_accuracies"] == [0.5, 0.5] and "balanced_accuracies" not in plain[1]
    with pytest.raises(ValueError, match="one accuracy .* for each seed.*balanced_accuracies"):
        ResultRow("broken", (0.9, 0.8), balanced_accuracies=(0.5,))
