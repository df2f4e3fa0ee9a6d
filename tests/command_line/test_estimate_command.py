"""`estimate` says what `train` then asks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command_runs import Command

from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.seed_run import train_seed
from keras_reprogram.command_line.sources import resolve_source
from keras_reprogram.command_line.train_options import TrainOptions
from keras_reprogram.datasets import load_target

COMMON = ("--source", "traffic-signs", "--target", "digits", "--opaque")
IMAGES = ("--train-images", 60, "--test-images", 30, "--num-views", 2)


@pytest.mark.fast_cases(1)
@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("--epochs", 1),
        ("--output-map", "random"),
        pytest.param(("--output-map", "random", "--epochs", 1), marks=pytest.mark.slow),
        # For the map alone, and for one epoch of steps.
        ("--query-budget", 120, "--seed", 3),
        ("--query-budget", 420),
        pytest.param(("--query-budget", 90), marks=pytest.mark.slow),
    ],
)
def test_estimate_is_what_train_asks(command: Command, tmp_path, extra) -> None:
    said, done = tmp_path / "said.json", tmp_path / "done.json"
    ended = command("estimate", *COMMON, *IMAGES, *extra, "--price", 2, "--json", said)
    assert ended.code == 0, ended.err
    expected = json.loads(said.read_text())
    trained = command(
        *("train", *COMMON, *IMAGES, *extra, "--no-baseline", "--output", tmp_path),
        *("--json", done),
    )
    assert trained.code == 0, trained.err
    row = json.loads(done.read_text())["results"][-1]
    assert expected["total"] - expected["test"] == row["training_queries"]
    # Map and program are two rows of the table.
    assert expected["test"] == 30 * 2 * (2 if "--epochs" in extra else 1)
    assert expected["money"] == pytest.approx(expected["total"] * 2 / 1000)
    assert f"{expected['total']:,}" in ended.out and "price" in ended.out


def test_a_budget_is_an_upper_bound(command: Command, tmp_path) -> None:
    said = tmp_path / "said.json"
    budget = ("--query-budget", 1500, "--per-second", 10, "--json", said)
    ended = command("estimate", *COMMON, *IMAGES, *budget)
    assert ended.code == 0, ended.err
    expected = json.loads(said.read_text())
    assert 120 < expected["total"] - expected["test"] <= 1500
    assert expected["hours"] == pytest.approx(expected["total"] / 36_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra", [("--query-budget", 400), pytest.param(("--epochs", 1), marks=pytest.mark.slow), ()]
)
def test_a_dry_run_is_billed_no_more_than_estimated(command: Command, tmp_path, extra) -> None:
    said = tmp_path / "said.json"
    ended = command("estimate", *COMMON, *IMAGES, *extra, "--price", 2, "--dry-run", "--json", said)
    assert ended.code == 0, ended.err
    tried = json.loads(said.read_text())["dry_run"]
    assert 120 < tried["billed"] <= tried["allowed"]
    assert tried["money"] == pytest.approx(tried["billed"] * 2 / 1000)
    assert tried["accuracy"] > 0.5 and "queries on its bill" in ended.out


def test_contradictions_are_refused(command: Command) -> None:
    ended = command("estimate", *COMMON, "--epochs", 1, "--query-budget", 100)
    assert ended.code == 2 and "Leave one of them out" in ended.err


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    "extra", [pytest.param((), marks=pytest.mark.slow), ("--query-budget", 150)]
)
@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_images_of_a_group_count_together(
    command: Command, tmp_path, monkeypatch, extra, seed
) -> None:
    """Groups of unequal size: what is held out depends on them, and on the seed."""
    groups = np.repeat(np.arange(20), np.arange(20) + 1)

    def grouped(*named, **options):
        options.pop("draw")
        data = load_target(*named, **options).draw(210, 30, options["seed"])
        return replace(data, train_groups=groups)

    monkeypatch.setattr("keras_reprogram.datasets.load_target", grouped)
    extra = extra or ("--epochs", 1)
    said, done = tmp_path / "said.json", tmp_path / "done.json"
    arguments = (*COMMON, *extra, "--seed", seed, "--json")
    assert command("estimate", *arguments, said).code == 0
    trained = command("train", *arguments, done, "--no-baseline", "--output", tmp_path)
    assert trained.code == 0, trained.err
    expected = json.loads(said.read_text())
    row = json.loads(done.read_text())["results"][-1]
    assert expected["total"] - expected["test"] == row["training_queries"]


def test_test_images_are_asked_once_where_no_epoch_was_kept(monkeypatch) -> None:
    """A rate that ruins the program: the row of the map alone is measured, and is both rows."""
    target = load_target("digits").draw(60, 20, 0)
    source = resolve_source("traffic-signs", opaque=True).source
    options = TrainOptions(epochs=1, learning_rate=1e3)
    run = train_seed(source, target, options, 0, Progress(True), lambda model: None)
    map_only, program = run.outcomes.values()
    assert "no epoch beat" in program.note and program.accuracy == map_only.accuracy
    assert run.model.queries_used == program.training_queries + 20
