"""`train`, from its arguments to the table and the run folder."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_runs import Command, TrainedRun

from keras_reprogram.command_line import training_run

NO_REPORT = pytest.mark.usefixtures("no_report")
SMALL = ("--target", "digits", "--train-images", 60, "--test-images", 40, "--no-baseline")


def figures_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_table_is_the_data_on_stdout(opaque_run: TrainedRun) -> None:
    assert opaque_run.ended.code == 0, opaque_run.ended.err
    out = opaque_run.ended.out
    for row in ("no source", "map only", "linear head on features"):
        assert row in out
    assert "95 %:" in out
    assert f"run     {opaque_run.folder}\n" in out
    assert "asking the source" not in out
    assert "asking the source" in opaque_run.ended.err


def test_origin_of_the_images_is_printed(opaque_run: TrainedRun) -> None:
    for said in (opaque_run.ended.err, opaque_run.ended.out):
        assert "scikit-learn's load_digits" in said
        assert "100 of 1,257 training images drawn, seed 0." in said


def test_training_queries_are_images_times_views(opaque_run: TrainedRun) -> None:
    row = {row["method"]: row for row in figures_of(opaque_run.folder)["results"]}["map only"]

    assert row["training_queries"] == 100 * 2
    assert row["queries_per_prediction"] == 2
    assert 0.7 < row["accuracies"][0] <= 1.0


def test_json_file_holds_the_figures_of_the_run(opaque_run: TrainedRun) -> None:
    figures = json.loads(opaque_run.figures.read_text())

    assert figures.pop("run") == str(opaque_run.folder)
    assert figures.items() <= figures_of(opaque_run.folder).items()
    assert figures["metrics"]["num_examples"] == 60
    assert figures["source"]["fingerprint"]
    assert figures["versions"]["tensorflow"]


def test_run_folder_holds_program_figures_and_report(opaque_run: TrainedRun) -> None:
    names = {path.name for path in opaque_run.folder.iterdir()}
    assert names == {"program.reprogram", "run.json", "report.html"}
    assert [path.name for path in opaque_run.folder.parent.glob(".*")] == []

    report = (opaque_run.folder / "report.html").read_text()
    for heading in ("Accuracy and price", "source images they become", "source labels stand for"):
        assert heading in report
    assert "balanced accuracy" in report
    assert report.count("data:image/png") == 4


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_figures")
def test_gradients_train_a_program_that_validation_judges(command: Command, tmp_path: Path) -> None:
    ended = command(
        *("train", "--source", "traffic-signs", *SMALL, "--epochs", 2, "--output", tmp_path)
    )

    assert ended.code == 0, ended.err
    folder = tmp_path / "digits-traffic-signs"
    figures = figures_of(folder)
    map_only, result = figures["results"]
    assert (map_only["method"], result["method"]) == ("map only", "map and program")
    # The map's 60 images; then, each epoch, 48 to train on and 60 to fit the map.
    assert map_only["training_queries"] == 60
    assert result["training_queries"] == 60 + 2 * (48 + 60)
    assert [queries for queries, _ in figures["curve"]] == [60, 168, 276]
    assert len(figures["history"]["val_accuracy"]) == 2
    assert "Training curves" in (folder / "report.html").read_text()


@pytest.mark.slow
@NO_REPORT
def test_kept_epoch_is_never_worse_on_validation(command: Command, tmp_path: Path) -> None:
    # A learning rate that ruins the program: the map alone must be kept.
    arguments = ("--epochs", 1, "--learning-rate", 1e3, "--output", tmp_path)
    ended = command("train", "--source", "traffic-signs", *SMALL, *arguments)

    assert ended.code == 0, ended.err
    figures = figures_of(tmp_path / "digits-traffic-signs")
    (_, map_only), (_, ruined) = figures["curve"]
    assert ruined < map_only
    assert figures["results"][1]["note"].endswith("no epoch beat the map alone on validation")
    assert figures["results"][0]["accuracies"] == figures["results"][1]["accuracies"]


@pytest.mark.slow
@NO_REPORT
def test_opaque_steps_cost_what_the_estimator_declares(command: Command, tmp_path: Path) -> None:
    arguments = ("--opaque", "--epochs", 1, "--output", tmp_path)
    ended = command("train", "--source", "traffic-signs", *SMALL, *arguments)

    assert ended.code == 0, ended.err
    result = figures_of(tmp_path / "digits-traffic-signs")["results"][1]
    # Four directions and the point itself for 48 images, and the map's answers before and after.
    assert result["training_queries"] == 60 + 48 * (1 + 4) + 60


@pytest.mark.fast_cases(1)
@NO_REPORT
@pytest.mark.parametrize(
    ("arguments", "queries"),
    [
        (("--opaque", "--output-map", "frequency"), 60),
        pytest.param(
            ("--opaque", "--output-map", "iterative", "--labels-per-class", 2),
            60,
            marks=pytest.mark.slow,
        ),
        pytest.param(("--opaque", "--output-map", "bayesian-plus"), 60, marks=pytest.mark.slow),
        (("--opaque", "--output-map", "random", "--labels-per-class", 2), 0),
        (("--output-map", "new-head", "--epochs", 0), 60),
        (("--placement", "center", "--image-size", 20, "--epochs", 0), 60),
    ],
)
def test_maps_and_placements(
    command: Command, tmp_path: Path, arguments: tuple, queries: int
) -> None:
    ended = command("train", "--source", "traffic-signs", *SMALL, *arguments, "--output", tmp_path)

    assert ended.code == 0, ended.err
    (row,) = figures_of(tmp_path / "digits-traffic-signs")["results"]
    assert row["training_queries"] == queries


@NO_REPORT
def test_several_seeds_show_their_spread(command: Command, tmp_path: Path) -> None:
    arguments = ("--opaque", "--seed", 3, "--seeds", 2, "--output", tmp_path)
    ended = command("train", "--source", "traffic-signs", *SMALL, *arguments)

    assert ended.code == 0, ended.err
    assert " ± " in ended.out
    figures = figures_of(tmp_path / "digits-traffic-signs")
    assert (figures["seed"], figures["seeds"]) == (3, [3, 4])
    first, second = figures["results"][0]["accuracies"]
    assert first == figures["metrics"]["accuracy"]
    assert first != second


@NO_REPORT
@pytest.mark.slow
def test_same_seed_gives_the_same_figures(command: Command, tmp_path: Path) -> None:
    arguments = ("--opaque", "--seed", 1, "--output", tmp_path, "--name", "same")
    for _ in range(2):
        assert command("train", "--source", "traffic-signs", *SMALL, *arguments).code == 0

    one, two = figures_of(tmp_path / "same"), figures_of(tmp_path / "same-2")
    assert one["metrics"] == two["metrics"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["same", "same-2"]


def test_a_report_that_fails_costs_no_figures(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(training_run, "write_run_page", full)
    ended = command("train", "--source", "traffic-signs", *SMALL, "--opaque", "--output", tmp_path)

    assert ended.code == 0
    assert "No space left on device. Write it later with: keras-reprogram report" in ended.err
    assert "\nreport " not in ended.out
    folder = tmp_path / "digits-traffic-signs"
    assert figures_of(folder)["results"]
    assert (folder / "program.reprogram").is_file()


@NO_REPORT
def test_a_later_seed_that_fails_leaves_the_first_program(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_seed = training_run.train_seed

    def fails(source: Any, target: Any, options: Any, seed: int, *others: Any) -> Any:
        if seed == 1:
            raise ConnectionError("the service is gone")
        return train_seed(source, target, options, seed, *others)

    monkeypatch.setattr(training_run, "train_seed", fails)
    arguments = ("--opaque", "--seeds", 2, "--output", tmp_path)
    ended = command("train", "--source", "traffic-signs", *SMALL, *arguments)

    assert ended.code != 0
    assert "the service is gone" in ended.err
    folder = tmp_path / "digits-traffic-signs"
    assert f"{folder} keeps the program" in " ".join(ended.err.split())
    assert (folder / "program.reprogram").is_file()
    assert figures_of(folder)["complete"] is False


@NO_REPORT
def test_what_fails_takes_no_finished_run_away(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("train", "--source", "traffic-signs", *SMALL, "--opaque", "--output", tmp_path)
    assert command(*arguments).code == 0

    def fails(*_: Any) -> None:
        raise ConnectionError("the service is gone")

    monkeypatch.setattr(training_run, "measured", fails)
    ended = command(*arguments, "--overwrite")
    assert ended.code != 0
    assert "digits-traffic-signs-2 keeps the program" in " ".join(ended.err.split())
    assert figures_of(tmp_path / "digits-traffic-signs")["complete"] is True
    assert figures_of(tmp_path / "digits-traffic-signs-2")["complete"] is False


@NO_REPORT
def test_quiet_says_nothing_on_stderr(command: Command, tmp_path: Path) -> None:
    arguments = ("--opaque", "--quiet", "--output", tmp_path)
    ended = command("train", "--source", "traffic-signs", *SMALL, *arguments)

    assert ended.code == 0
    assert ended.err == ""
    assert "map only" in ended.out


@pytest.mark.slow
@NO_REPORT
@pytest.mark.filterwarnings("default:.*queries of the budget")
def test_query_budget_is_kept_and_its_stages_are_reported(command: Command, tmp_path: Path) -> None:
    arguments = ("--opaque", "--query-budget", 1500, "--num-views", 2, "--output", tmp_path)
    arguments += ("--warn-at", 0.01)
    done = command("train", "--source", "traffic-signs", *SMALL, *arguments)

    assert done.code == 0, done.err
    (spent,) = re.findall(r"Note: ([\d,]+) of 1,500 queries of the budget are spent", done.err)
    assert 15 <= int(spent.replace(",", "")) < 1500
    assert "map, views and program within the budget" in done.out
    figures = figures_of(tmp_path / "digits-traffic-signs")
    [row] = figures["results"]
    assert 60 * 2 <= row["training_queries"] <= 1500
    assert row["queries_per_prediction"] == 2
    assert figures["options"]["query_budget"] == 1500
    assert len(figures["curve"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--warn-at", 0.8), "--warn-at is a share of --query-budget. Received: --warn-at 0.8"),
        (("--warn-at", 80, "--query-budget", 900), "Invalid value for '--warn-at'"),
    ],
)
def test_a_warning_needs_a_budget_and_a_share(
    command: Command, tmp_path: Path, arguments: tuple, message: str
) -> None:
    done = command("train", "--source", "traffic-signs", *SMALL, "--output", tmp_path, *arguments)
    assert done.code == 2
    assert message in " ".join(done.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


@NO_REPORT
def test_budget_below_a_few_images_a_class_is_refused(command: Command, tmp_path: Path) -> None:
    arguments = ("--opaque", "--query-budget", 30, "--output", tmp_path)
    done = command("train", "--source", "traffic-signs", *SMALL, *arguments)
    assert done.code != 0
    assert "Received: query_budget=30" in done.err
    assert list(tmp_path.iterdir()) == []
