"""`train --calibrate`, and what predict and export make of such a run."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_runs import Command, run_command
from PIL import Image

from keras_reprogram.datasets import load_digits
from keras_reprogram.export import saved_model

TRAIN = ("train", "--source", "traffic-signs", "--opaque", "--target", "digits", "--no-baseline")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("calibrated")
    images = ("--train-images", 300, "--test-images", 100)
    ended = run_command(*TRAIN, *images, "--calibrate", 0.4, "--output", output, "--name", "run")
    assert ended.code == 0, ended.err
    assert "120 training images are held out for the calibration." in ended.out
    assert "sets of coverage 0.9: hold the class of 0." in ended.out
    return output / "run"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty test digits."""
    folder, digits = tmp_path_factory.mktemp("digits"), load_digits()
    for number, image in enumerate(digits.test_images[:20, ..., 0]):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.slow
def test_held_out_images_are_paid_for_once(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    assert facts["options"]["calibrate"] == 0.4
    # 180 images for the map; the calibration's 120 are its own.
    assert facts["results"][0]["training_queries"] == 180


def test_predict_names_sets_where_a_coverage_is_asked(
    run: Path, files: Path, tmp_path: Path
) -> None:
    plain = run_command("predict", run, files)
    assert plain.out.startswith("file,class,probability\n")
    every = tmp_path / "every.json"
    ended = run_command("predict", run, files, "--coverage", 0.95, "--json", every)
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(ended.out.splitlines()))
    facts = json.loads(every.read_text())
    assert list(rows[0]) == ["file", "class", "probability", "set", "accepted", "foreign"]
    first = {row["file"]: row["class"] for row in csv.DictReader(plain.out.splitlines())}
    for row, one in zip(rows, facts, strict=True):
        assert row["set"] == "|".join(one["set"]) and row["class"] == first[row["file"]]
        assert (row["accepted"] == "true") == one["accepted"]
        assert one["accepted"] == (len(one["set"]) == 1 and not one["foreign"])
        assert row["probability"] == f"{max(one['probabilities'].values()):.4f}"
    labels = load_digits().test_labels[:20]
    held = [str(label) in one["set"] for label, one in zip(labels, facts, strict=True)]
    assert np.mean(held) >= 0.8


@pytest.mark.slow
def test_exports_hold_the_sets_that_are_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
    options = ("--source", "traffic-signs", "--format", "saved-model", "--coverage", 0.95)
    ended = run_command("export", run, *options, "--abstain", 0, "--output", tmp_path / "model")
    assert ended.code == 0, ended.err
    facts = json.loads((tmp_path / "model/1/assets.extra/keras_reprogram.json").read_text())
    assert facts["calibration"]["coverage"] == 0.95 and facts["calibration"]["abstain"] == 0
    assert facts["signatures"][-3:] == ["sets", "sets_of_files", "sets_of_scores"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--calibrate", 1.5), "--calibrate must be a share"),
        (("--calibrate", 0.4, "--coverage", 1), "`coverage` must be a share"),
        (("--calibrate", 0.1), "`abstain=0.05` needs at least 38 calibrating images"),
        (("--calibrate", 0.4, "--coverage", 0.999), "needs at least 999 calibrating images"),
        (("--coverage", 0.9), "are for --calibrate"),
    ],
)
def test_train_refuses_before_a_query(options: tuple, message: str, tmp_path: Path) -> None:
    ended = run_command(*TRAIN, "--train-images", 300, *options, "--output", tmp_path)
    assert ended.code == 2 and message in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_runs_without_a_calibration_have_no_sets(
    command: Command, opaque_run: object, files: Path
) -> None:
    ended = command("predict", opaque_run.folder, files, "--abstain", 0.1)
    assert ended.code == 2 and ended.out == ""
    assert "Sets need a calibration" in ended.err and "train --calibrate" in ended.err
