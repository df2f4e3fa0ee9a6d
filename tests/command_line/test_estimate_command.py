"""`estimate` says what `train` then asks."""

import json

import pytest
from command_runs import Command

COMMON = ("--source", "traffic-signs", "--target", "digits", "--opaque")
IMAGES = ("--train-images", 60, "--test-images", 30, "--num-views", 2)


@pytest.mark.usefixtures("undrawn_figures")
@pytest.mark.parametrize("extra", [(), ("--epochs", 1)])
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
    assert expected["test"] == 30 * 2
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


@pytest.mark.parametrize("extra", [("--query-budget", 400), ("--epochs", 1), ()])
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
