"""The benchmark's own code, run on few digits: rows, resuming, budgets, table and plot."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"
NAMES = ("accuracy_per_query", "adversarial", "bar", "csv_rows", "harsh_sources", "plot", "runs")
NAMES += ("sources", "table")
SMALL = ("--sources", "traffic_signs", "--targets", "digits", "--seeds", "0", "--images", "60")


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are no package; forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


@pytest.fixture
def run(parts: SimpleNamespace) -> Any:
    """Calls the command in this process."""
    app = typer.Typer()
    app.command()(parts.accuracy_per_query.main)

    def command(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return command


def row(parts: SimpleNamespace, **changes: Any) -> Any:
    facts = {"source": "a", "target": "b", "method": "ours_8", "seed": 0, "mode": "full"}
    facts |= {"n_train": 1000, "n_test": 500, "queries_training": 8000}
    facts |= {"test_accuracy": 0.5, "balanced_accuracy": 0.25, "seconds": 2.0}
    return parts.csv_rows.Row(**(facts | changes))


@pytest.mark.slow
def test_runs_resume_where_they_stopped(run: Any, parts: SimpleNamespace, tmp_path: Path) -> None:
    path, picture = tmp_path / "rows.csv", tmp_path / "rows.png"
    first = run(*SMALL, "--csv", path, "--methods", "no_source,map_frequency,ours_8")
    assert first.exit_code == 0, first.output
    before = path.read_text()

    more = run(
        *SMALL, "--csv", path, "--plot", picture,
        "--methods", "no_source,map_frequency,map_dense,ours_8,zeroth_order",
    )  # fmt: skip
    assert more.exit_code == 0, more.output
    assert path.read_text().startswith(before)

    rows = {row.method: row for row in parts.csv_rows.read_rows(path)}
    assert len(rows) == 5
    assert (rows["no_source"].source, rows["no_source"].queries_training) == ("none", None)
    assert (rows["map_frequency"].queries_training, rows["map_frequency"].views) == (60, 1)
    assert rows["map_dense"].queries_training == 60
    assert rows["ours_8"].queries_training <= 8 * 60
    assert 60 < rows["zeroth_order"].queries_training <= 8 * 60
    assert rows["ours_8"].test_accuracy > rows["map_frequency"].test_accuracy
    assert rows["ours_8"].mode == "full, 60 images"
    assert rows["ours_8"].test_accuracy == pytest.approx(rows["ours_8"].balanced_accuracy, abs=0.1)
    assert "| traffic_signs | digits | ." in more.stdout
    assert picture.stat().st_size > 5000


@pytest.mark.slow
def test_bar_stays_within_its_budget_and_reports_its_pilot(
    parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.bar, "STEP_SIZES", (0.5, 5.0))
    monkeypatch.setattr(parts.bar, "NUM_DIRECTIONS", 3)
    choice = parts.sources.source_choices()["traffic_signs"]
    done = parts.runs.execute(parts.runs.Run(choice, "digits", "bar_frequency", 0, True, 60))
    budget = parts.bar.QUICK_FACTOR * 8 * 60
    assert 0.8 * budget < done.queries_training <= budget
    # A step of 20 images costs 20 * (1 + 3); 12 images are held out.
    assert done.queries_pilot == 2 * (20 * 4 + 12)
    assert done.choices.startswith("step_size=")
    assert "0.5:" in done.choices
    assert "5:" in done.choices


@pytest.mark.slow
def test_white_box_queries_are_counted(
    parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.adversarial, "EPOCHS", 2)
    choice = parts.sources.source_choices()["traffic_signs"]
    done = parts.runs.execute(parts.runs.Run(choice, "digits", "ar_random", 0, False, 60))
    assert done.queries_training == done.queries_pilot == 2 * (48 + 12)
    assert done.notes == "white box, 2 epochs"


def test_time_that_is_short_starts_no_run(run: Any, parts: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    parts.csv_rows.append_row(path, row(parts, mode="full, 60 images"))
    before = path.read_bytes()
    ended = run(*SMALL, "--csv", path, "--methods", "map_dense", "--minutes", 0)
    assert ended.exit_code == 0, ended.output
    assert "would not fit" in ended.stderr
    assert path.read_bytes() == before


def test_interrupt_keeps_what_is_done(
    run: Any, parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"

    def execute(wanted: Any) -> Any:
        if wanted.method == "map_dense":
            raise KeyboardInterrupt
        return row(parts, method=wanted.method)

    monkeypatch.setattr(parts.accuracy_per_query, "execute", execute)
    ended = run(*SMALL, "--csv", path, "--methods", "map_frequency,map_dense,ours_1")
    assert ended.exit_code == 130
    assert "Interrupted" in ended.stderr
    assert [kept.method for kept in parts.csv_rows.read_rows(path)] == ["map_frequency"]


def test_missing_data_end_with_what_to_do(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_REPROGRAM_DATA", str(tmp_path))
    wanted = ("--sources", "traffic_signs", "--targets", "ham10000", "--methods", "map_dense")
    ended = run("--csv", tmp_path / "rows.csv", *wanted)
    assert ended.exit_code == 1
    assert "ham10000_64.zip" in ended.stderr
    assert "KERAS_REPROGRAM_DATA" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "magic"), "Received: magic"),
        (("--sources", "gpt"), "Received: gpt"),
        (("--seeds", "one"), "whole numbers"),
        (("--table",), "no rows"),
    ],
)
def test_wrong_names_are_refused(
    run: Any, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = run("--csv", tmp_path / "rows.csv", *arguments)
    assert ended.exit_code == 2
    assert message in " ".join(ended.stderr.replace("│", " ").split())


def test_missing_moderation_file_is_named(parts: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--moderation.*m\.keras"):
        parts.sources.source_choices(tmp_path / "m.keras")


def test_rows_come_back_as_written_and_a_torn_one_is_dropped(
    parts: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "rows.csv"
    rows = [row(parts), row(parts, seed=1, views=8, test_accuracy=None, notes='n/a: "few", x')]
    for one in rows:
        parts.csv_rows.append_row(path, one)
    assert parts.csv_rows.read_rows(path) == rows
    with path.open("a") as file:
        file.write("a,b,ours_8,2,fu")
    assert parts.csv_rows.read_rows(path) == rows
    parts.csv_rows.append_row(path, row(parts, seed=2))
    assert [one.seed for one in parts.csv_rows.read_rows(path)] == [0, 1, 2]


def test_other_columns_are_refused(parts: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="Received: a, b"):
        parts.csv_rows.read_rows(path)


def test_plan_leaves_out_own_tasks_and_repeats(parts: SimpleNamespace) -> None:
    choices = list(parts.sources.source_choices().values())
    runs = parts.runs.plan(choices, ["digits", "cifar10", "gtsrb"], ["no_source", "ours_1"], [0, 1])
    pairs = {(run.choice.name, run.target) for run in runs}
    assert ("cifar10", "cifar10") not in pairs
    assert ("traffic_signs", "gtsrb") not in pairs
    assert len(pairs) == 7
    assert len({run.key for run in runs}) == len(runs) == 2 * (7 + 3)


def test_longest_run_alike_is_expected_again(parts: SimpleNamespace) -> None:
    choice = parts.sources.source_choices()["traffic_signs"]
    wanted = parts.runs.Run(choice, "digits", "ours_8", 0)
    rows = [row(parts, seconds=30.0), row(parts, source="traffic_signs", seconds=5.0)]
    assert parts.runs.expected_seconds([], wanted) == parts.runs.FIRST_GUESS
    assert parts.runs.expected_seconds(rows[:1], wanted) == 30
    assert parts.runs.expected_seconds(rows, wanted) == 5


def test_table_shows_mean_spread_and_what_is_not_there(parts: SimpleNamespace) -> None:
    rows = [
        row(parts, source="none", method="no_source", test_accuracy=0.9, notes=""),
        row(parts, seed=0, test_accuracy=0.5),
        row(parts, seed=1, test_accuracy=0.7, notes="cut short"),
        row(parts, method="bar_random", test_accuracy=None, notes="n/a: 5 for 10"),
        row(parts, source="c", method="ours_8", test_accuracy=1.0),
    ]
    lines = parts.table.markdown_table(rows).splitlines()
    assert lines[0] == "| source | target | no_source | ours_8 | bar_random |"
    assert lines[2] == "| a | b | .900 (1) | .600 ± .141 | n/a |"
    assert lines[3] == "| c | b | .900 (1) | 1.000 (1) |  |"
    assert any("seeds 0, 1; at most 1,000 training and 500 test" in line for line in lines)
    assert "- ours_8: cut short." in lines
    assert "bar_random: n/a" not in "\n".join(lines)


@pytest.mark.slow
def test_harsh_sources_tell_less(parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    # The second column is of several views; 8 of them cost ten seconds.
    monkeypatch.setattr(parts.harsh_sources, "VIEWS", (1, 2))
    app = typer.Typer()
    app.command()(parts.harsh_sources.main)
    pairs = ("--pairs", "traffic_signs:digits", "--seeds", "0", "--images", "100")
    ended = CliRunner().invoke(app, pairs)

    assert ended.exit_code == 0, ended.output
    table = [line.split("|") for line in ended.stdout.splitlines() if line.startswith("| traffic")]
    one_view = {cells[2].strip(): float(cells[3].split()[0]) for cells in table}
    assert len(one_view) == 7
    for harsh in ("top label only", "top 5 only", "noise of 0.01"):
        assert 0.1 < one_view[harsh] < one_view["as it is"]
