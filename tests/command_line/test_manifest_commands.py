"""Manifests on the command line: splits, groups and weights reach the training."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_runs import Command
from PIL import Image
from small_models import small_model

from keras_reprogram.command_line import seed_run
from keras_reprogram.command_line.calibrating import hold_out
from keras_reprogram.command_line.train_options import TrainOptions
from keras_reprogram.command_line.validation_rows import planned_epochs
from keras_reprogram.datasets import load_target

SOURCE = ("--source", "traffic-signs", "--opaque")


def write_manifest(folder: Path, **columns: object) -> Path:
    """24 grey images, brighter on the left or on the right, and a column of each argument."""
    folder.mkdir()
    rows = []
    for number in range(24):
        ramp = np.linspace(60 + number, 200, 64).reshape(1, 64).repeat(8, axis=0).reshape(8, 8, 8)
        pixels = ramp[:, :, 0] if number % 2 else ramp[:, ::-1, 0]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        rows.append({"file": f"{number}.png", "label": ("left", "right")[number % 2]})
        rows[-1] |= {name: values[number] for name, values in columns.items()}
    with (folder / "study.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "study.csv"


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("epochs", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_manifest_is_trained_on_and_measured_again(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    seen = {}

    def fitted(images: np.ndarray, labels: np.ndarray, **options: object) -> object:
        seen.update(options, images=images, labels=labels)
        return real(images, labels, **options)

    real = seed_run.fit_no_source
    monkeypatch.setattr(seed_run, "fit_no_source", fitted)
    parts = ["train"] * 14 + ["validation"] * 4 + ["test"] * 6
    path = write_manifest(
        tmp_path / "study",
        split=parts,
        weight=[1 + number % 3 for number in range(24)],
        group=[f"p{number // 2}" for number in range(24)],
    )
    arguments = (*SOURCE, "--target", path, "--column", "path=file", "--epochs", epochs)
    estimated = command("estimate", *arguments, "--json", tmp_path / "said.json")
    assert estimated.code == 0, estimated.err
    options = ("--output", tmp_path, "--name", "run", "--quiet")
    trained = command("train", *arguments, *options)
    assert trained.code == 0, trained.err
    assert seen["sample_weight"].tolist() == [1 + number % 3 for number in range(14)]
    assert np.unique(seen["groups"], return_counts=True)[1].tolist() == [2] * 7
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["target"]["columns"] == {"path": ["file"]}
    said = json.loads((tmp_path / "said.json").read_text())
    rows = {row["method"]: row["training_queries"] for row in facts["results"]}
    method = seed_run.MAP_AND_PROGRAM if epochs else seed_run.MAP_ONLY
    assert said["total"] - said["test"] == rows[method]
    measured = command("evaluate", tmp_path / "run", "--json", tmp_path / "again.json", "--quiet")
    assert measured.code == 0, measured.err
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["accuracy"] == facts["metrics"]["accuracy"]


@pytest.mark.usefixtures("no_report")
def test_validation_rows_decide_within_a_budget(command: Command, tmp_path: Path) -> None:
    parts = ["train"] * 14 + ["validation"] * 4 + ["test"] * 6
    path = write_manifest(tmp_path / "study", split=parts)
    arguments = (*SOURCE, "--target", path, "--column", "path=file", "--query-budget", 18)
    estimated = command("estimate", *arguments, "--json", tmp_path / "said.json")
    assert estimated.code == 0, estimated.err
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["total"] - said["test"] == 18
    options = ("--no-baseline", "--output", tmp_path, "--name", "run", "--quiet")
    trained = command("train", *arguments, *options)
    assert trained.code == 0, trained.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["results"][-1]["training_queries"] == 18


def test_rows_that_decide_are_planned() -> None:
    target = load_target("digits").draw(80, 20, seed=0)
    target = replace(target, validation_rows=np.arange(80) >= 60)
    model = small_model()
    plan = planned_epochs(model, target, 2)
    np.testing.assert_array_equal(plan.train, np.arange(60))
    np.testing.assert_array_equal(plan.validation, np.arange(60, 80))
    rest, held = hold_out(target, TrainOptions(calibrate=0.5, abstain=0.0, coverage=0.5), seed=0)
    assert (len(held.labels), int(rest.validation_rows.sum())) == (30, 20)


@pytest.mark.usefixtures("no_report")
def test_columns_of_findings_are_trained_on(command: Command, tmp_path: Path) -> None:
    finding = [number % 3 == 0 for number in range(24)]
    path = write_manifest(tmp_path / "study", mass=finding, nodule=finding[::-1])
    columns = ("--column", "path=file", "--column", "label=mass", "--column", "label=nodule")
    options = ("--no-baseline", "--output", tmp_path, "--name", "run", "--quiet")
    ended = command("train", *SOURCE, "--target", path, *columns, *options)
    assert ended.code == 0, ended.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [one["name"] for one in facts["metrics"]["findings"]] == ["mass", "nodule"]
    ended = command("train", *SOURCE, "--target", path, *columns, "--output-map", "random")
    assert ended.code == 2 and "several findings an image needs" in " ".join(ended.err.split())


def test_wrong_columns_are_refused(command: Command, tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "study")
    ended = command("train", *SOURCE, "--target", path, "--column", "file")
    assert (ended.code, "--column must be ROLE=NAME" in ended.err) == (2, True)
    ended = command("train", *SOURCE, "--target", "digits", "--groups", path)
    assert ended.code == 2
    assert "--groups is for a folder of class folders" in " ".join(ended.err.split())


@pytest.mark.usefixtures("no_report")
def test_groups_of_a_folder_are_a_file(command: Command, tmp_path: Path) -> None:
    study = write_manifest(tmp_path / "study")
    folder = tmp_path / "folder"
    lines = ["path,group"]
    for number in range(24):
        name = ("left", "right")[number % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (study.parent / f"{number}.png").rename(folder / name / f"{number}.png")
        lines.append(f"{name}/{number}.png,p{number // 2}")
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    arguments = (*SOURCE, "--target", folder, "--groups", tmp_path / "groups.csv")
    options = ("--no-baseline", "--output", tmp_path, "--name", "run", "--quiet")
    ended = command("train", *arguments, *options)
    assert ended.code == 0, ended.err
    assert "split 80/20 by group" in ended.out
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["target"]["groups"] == str(tmp_path / "groups.csv")
