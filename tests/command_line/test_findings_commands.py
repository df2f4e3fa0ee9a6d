"""Targets of several findings an image, and of grades, through all commands."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from command_runs import run_command
from PIL import Image

from keras_reprogram.command_line import training_run
from keras_reprogram.datasets import KNOWN_TARGETS, load_digits
from keras_reprogram.export import saved_model
from keras_reprogram.model.program_file import load_program
from keras_reprogram.source import LiteRTSource, embedded_path

NAMES = ("even", "loop", "seven")
_LOOPS = (0, 6, 8, 9)


def digit_findings():
    """Digits: is it even, is there a loop, is it a seven; 1, 3 and 5 have no finding."""
    digits = load_digits()

    def rows(labels):
        return np.stack([labels % 2 == 0, np.isin(labels, _LOOPS), labels == 7], axis=1).astype(int)

    return dataclasses.replace(
        digits,
        name="digit_findings",
        train_labels=rows(digits.train_labels),
        test_labels=rows(digits.test_labels),
        class_names=NAMES,
    )


@pytest.fixture(scope="module", autouse=True)
def _known():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KNOWN_TARGETS, "digit_findings", digit_findings)
        yield


TRAIN = ("train", "--source", "traffic-signs", "--opaque", "--target", "digit_findings")
IMAGES = ("--train-images", 150, "--test-images", 80)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("findings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "matplotlib.figure.Figure.savefig", lambda self, file, **how: file.write(b"-")
        )
        ended = run_command(*TRAIN, *IMAGES, "--class-weight", "balanced", "--output", place)
    assert ended.code == 0, ended.err
    assert "AUC" in ended.out and "F1" in ended.out
    return place / "digit_findings-traffic-signs"


@pytest.mark.slow
def test_the_run_keeps_figures_of_each_finding(run):
    facts = json.loads((run / "run.json").read_text())
    assert facts["target"]["multi_label"] is True
    for row in facts["results"]:
        assert 0.6 < row["figures"]["AUC"][0] < 1 and 0.3 < row["figures"]["F1"][0] <= 1
    methods = [row["method"] for row in facts["results"]]
    assert methods == ["no source", "map only", "linear head on features"]
    assert [one["name"] for one in facts["metrics"]["findings"]] == list(NAMES)
    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    thresholds = load_program(run / "program.reprogram", source, check_probe=False)
    np.testing.assert_allclose(
        [one["threshold"] for one in facts["metrics"]["findings"]],
        thresholds.output_map.thresholds,
    )


def test_the_report_has_a_table_of_findings(run):
    page = (run / "report.html").read_text()
    assert "Findings on 80 test images" in page and "mean AUC" in page
    for name in NAMES:
        assert f'<th scope="row">{name}</th>' in page


def test_evaluate_measures_again(run, tmp_path):
    figures = tmp_path / "figures.json"
    ended = run_command("evaluate", run, "--json", figures)
    assert ended.code == 0 and "seven" in ended.out and "F1 " in ended.out
    measured = json.loads(figures.read_text())
    facts = json.loads((run / "run.json").read_text())
    assert measured["auc"] == pytest.approx(facts["metrics"]["auc"])


def test_evaluate_refuses_labels_of_another_kind(run, monkeypatch):
    one_class = dataclasses.replace(
        digit_findings(),
        train_labels=np.arange(1257) % 3,
        test_labels=np.arange(540) % 3,
    )
    monkeypatch.setitem(KNOWN_TARGETS, "digit_findings", lambda: one_class)
    ended = run_command("evaluate", run)
    assert ended.code == 2 and "learned: several findings an image. Received: one" in ended.err


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, digits = tmp_path_factory.mktemp("digits"), load_digits()
    for number, image in enumerate(digits.test_images[:12, ..., 0]):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


def test_predict_names_findings(run, files, tmp_path):
    every = tmp_path / "every.json"
    ended = run_command("predict", run, files, "--json", every)
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(ended.out.splitlines()))
    assert list(rows[0]) == ["file", "findings", "probability"] and len(rows) == 12
    facts = json.loads(every.read_text())
    assert any(len(one["findings"]) != 1 for one in facts)
    for row, one in zip(rows, facts, strict=True):
        assert row["findings"] == "|".join(one["findings"])
        assert set(one["probabilities"]) == set(NAMES)


@pytest.mark.slow
def test_an_export_scores_as_predict(run, files, tmp_path, monkeypatch):
    every = tmp_path / "every.json"
    run_command("predict", run, files, "--json", every)
    facts = json.loads(every.read_text())
    monkeypatch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
    export = ("export", run, "--output", tmp_path / "served")
    ended = run_command(*export, "--source", embedded_path("traffic_signs.keras"))
    assert ended.code == 0, ended.err
    version = next((tmp_path / "served").glob("**/saved_model.pb")).parent
    ended = run_command("score", version, files, "--output", tmp_path / "scores")
    assert ended.code == 0, ended.err
    part = next((tmp_path / "scores").glob("scores/*.jsonl"))
    scored = [json.loads(line) for line in part.read_text().splitlines()]
    assert [one["findings"] for one in scored] == [one["findings"] for one in facts]


REFUSED = [
    (("--output-map", "frequency"), "needs --output-map dense or new-head"),
    (("--calibrate", 0.3), "--calibrate is for targets of one class an image"),
    (("--ordinal",), "--ordinal is for grades"),
    (("--class-weight", "eight=2"), "names no class of the target"),
    (("--class-weight", "seven=0"), "finite weights above 0"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_settings_of_one_class_are_refused(options, message, tmp_path):
    ended = run_command(*TRAIN, *IMAGES, "--no-baseline", *options, "--output", tmp_path)
    assert ended.code == 2 and message in " ".join(ended.err.split())


def test_a_draw_without_a_finding_is_refused(tmp_path, monkeypatch):
    target = digit_findings()
    labels = target.train_labels.copy()
    labels[:, 2] = 0
    never = dataclasses.replace(target, train_labels=labels)
    monkeypatch.setitem(KNOWN_TARGETS, "digit_findings", lambda: never)
    ended = run_command(*TRAIN, "--no-baseline", "--output", tmp_path)
    assert ended.code == 2 and "no image has seven" in " ".join(ended.err.split())


def test_within_a_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "write_run_page", lambda *arguments: None)
    budget = ("--query-budget", 400, "--no-baseline", "--name", "run")
    ended = run_command(*TRAIN, *IMAGES, *budget, "--output", tmp_path)
    assert ended.code == 0, ended.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    (row,) = facts["results"]
    assert row["training_queries"] <= 400 and row["figures"]["AUC"][0] > 0.6


def test_grades_show_their_kappa(tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "write_run_page", lambda *arguments: None)
    options = ("--train-images", 100, "--test-images", 50, "--ordinal", "--name", "run")
    ended = run_command(
        *("train", "--source", "traffic-signs", "--opaque", "--target", "digits"),
        *options, "--no-baseline", "--output", tmp_path,
    )  # fmt: skip
    assert ended.code == 0 and "kappa" in ended.out, ended.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    kappa = facts["results"][0]["figures"]["kappa"][0]
    assert facts["metrics"]["quadratic_kappa"] == pytest.approx(kappa) and kappa > 0.5
