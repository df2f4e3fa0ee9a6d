"""The ASD cross-validation and the scripts that measure speed, on a few small images."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from keras_reprogram import embedded_path
from keras_reprogram.datasets import TargetData
from keras_reprogram.datasets.abide import correlation_images

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"
NAMES = (
    "asd_baselines", "asd_cross_validation", "asd_rows", "litert_threads", "sources", "throughput",
)  # fmt: skip
REGIONS, SUBJECTS = 8, 60


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
def subjects() -> TargetData:
    """Correlations whose sign tells the class, all but a little noise."""
    random = np.random.default_rng(0)
    labels = np.arange(SUBJECTS) % 2
    signs = np.where(labels, 0.6, -0.6)[:, None]
    noise = random.uniform(-0.3, 0.3, (SUBJECTS, REGIONS * (REGIONS - 1) // 2))
    images = correlation_images(np.asarray(signs + noise, np.float32))
    return TargetData(
        "abide", images[:40], labels[:40], images[40:], labels[40:], ("control", "ASD"),
        "Made by hand.", target_range=(-1.0, 1.0),
    )  # fmt: skip


@pytest.fixture
def run(parts: SimpleNamespace, subjects: TargetData, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the cross-validation in this process, on the subjects above and at most 4 views."""
    script = parts.asd_cross_validation
    monkeypatch.setattr(script, "load_target", lambda name: subjects)
    monkeypatch.setattr(script, "VIEWS", (1, 4))
    monkeypatch.setattr(script, "METHODS_OF_SOURCE", ("ours", "map_plain", "map_views_4"))
    app = typer.Typer()
    app.command()(script.main)

    def command(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return command


@pytest.mark.slow
def test_folds_resume_and_count_their_queries(
    run: Any, parts: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "folds.csv"
    arguments = ("--folds", 3, "--csv", path)
    first = run(*arguments, "--sources", "none")
    assert first.exit_code == 0, first.output
    before = path.read_text()
    more = run(*arguments, "--sources", "traffic_signs")
    assert more.exit_code == 0, more.output
    after = path.read_text()
    assert after.startswith(before)

    rows = parts.asd_rows.read_rows(path)
    assert len(rows) == 3 * (4 + 3)
    assert all((row.n_train, row.n_test) == (40, 20) for row in rows)
    paid = {row.method: (row.queries_training, row.queries_per_prediction) for row in rows}
    assert paid["ridge"] == (0, 0)
    assert paid["map_plain"] == (40, 1)
    assert paid["map_views_4"] == (160, 4)
    # It chooses between the two, and the answers of the wider one hold the other's.
    assert paid["ours"][0] == 160
    reached = {row.method: row.accuracy for row in rows if row.fold == 0}
    assert reached.pop("majority") == 0.5
    assert min(reached.values()) > 0.9
    # Each subject asked once a view, for all folds together.
    assert f"traffic_signs: {4 * SUBJECTS} queries" in more.stderr
    assert "| traffic_signs | map_views_4 | 3 | " in more.stdout
    assert "70.33" in more.stdout

    again = run(*arguments, "--sources", "traffic_signs")
    assert path.read_text() == after
    assert "queries" not in again.stderr


@pytest.mark.slow
def test_choice_is_by_the_inner_split_only(
    parts: SimpleNamespace, subjects: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = parts.asd_cross_validation
    monkeypatch.setattr(script, "VIEWS", (1, 4))
    choice = parts.sources.source_choices()["traffic_signs"]
    train, test = np.arange(40), np.arange(40, SUBJECTS)
    methods = script._with_source(choice, subjects, 0)
    (predicted, validation, choices), _, views = methods["ours"](train, test)
    others = {1: methods["map_plain"](train, test)[0], 4: methods["map_views_4"](train, test)[0]}
    assert validation == max(other[1] for other in others.values())
    assert choices.startswith(f"views={views};")
    np.testing.assert_array_equal(predicted, others[views][0])

    turned = replace(subjects, test_labels=1 - subjects.test_labels)
    (after, _, _), _, _ = script._with_source(choice, turned, 0)["ours"](train, test)
    np.testing.assert_array_equal(after, predicted)


def test_baselines_do_not_see_test_labels(parts: SimpleNamespace) -> None:
    random = np.random.default_rng(1)
    rows, labels = random.normal(size=(30, 50)), np.arange(30) % 2
    train, test = np.arange(20), np.arange(20, 30)
    turned = np.concatenate([labels[:20], 1 - labels[20:]])
    for baseline in parts.asd_baselines.BASELINES.values():
        predicted, *others = baseline(rows, labels, 0, train, test)
        again, *same = baseline(rows, turned, 0, train, test)
        np.testing.assert_array_equal(again, predicted)
        assert same == others


def test_torn_fold_is_dropped_and_others_come_back(parts: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    row = parts.asd_rows.FoldRow(
        "none", "majority", 0, 10, 0, 60, 54, 6, 0, 0, None, 0.5, 0.0, 1.0, "a=1;b=2"
    )
    parts.asd_rows.append_row(path, row)
    with path.open("a") as file:
        file.write("none,majority,1")
    parts.asd_rows.append_row(path, replace(row, fold=2, validation_accuracy=0.75))
    assert parts.asd_rows.read_rows(path) == [row, replace(row, fold=2, validation_accuracy=0.75)]


def test_sensitivity_is_of_asd_and_specificity_of_controls(parts: SimpleNamespace) -> None:
    labels = np.array([1, 1, 1, 0, 0])
    predicted = np.array([1, 0, 0, 0, 0])
    figures = parts.asd_cross_validation._measure(
        lambda train, test: ((predicted, None, ""), 2, 3), labels, np.arange(5), np.arange(5)
    )
    assert figures["sensitivity"] == pytest.approx(1 / 3)
    assert figures["specificity"] == 1
    assert figures["accuracy"] == pytest.approx(3 / 5)
    assert (figures["queries_training"], figures["queries_per_prediction"]) == (10, 3)


def test_missing_subjects_and_unknown_sources_are_named(
    run: Any, parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = run("--sources", "gpt", "--csv", tmp_path / "folds.csv")
    assert wrong.exit_code == 2
    assert "gpt" in wrong.stderr

    def missing(name: str) -> TargetData:
        raise ValueError("no such file")

    monkeypatch.setattr(parts.asd_cross_validation, "load_target", missing)
    ended = run("--sources", "none", "--csv", tmp_path / "folds.csv")
    assert ended.exit_code == 1
    assert "no such file" in ended.stderr


@pytest.mark.slow
def test_throughput_counts_one_call_for_all_directions(parts: SimpleNamespace) -> None:
    source = parts.sources.source_choices()["traffic_signs"].transparent()
    measured = parts.throughput.measure(source, batch_size=4, directions=3, rounds=2)
    assert measured.images_per_step == 4 * (1 + 3)
    # One for the clean answers, one for the directions of all images.
    assert measured.calls_per_step == 2
    assert 0 < measured.share_low <= measured.share <= measured.share_high
    assert measured.source_seconds > 0
    assert measured.processor_share > 0
    json.dumps(asdict(measured))
    text = parts.throughput.markdown(measured)
    assert "| calls of the source a step | 2 |" in text
    assert f"{measured.share:.1%}" in text


@pytest.mark.slow
def test_litert_threads_compares_three_ways_of_one_file(
    parts: SimpleNamespace, tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command()(parts.litert_threads.main)
    arguments = ["--images", "20", "--rounds", "2", "--json", str(tmp_path / "times.json")]
    ended = CliRunner().invoke(
        app, ["--file", str(embedded_path("traffic_signs.tflite")), *arguments]
    )
    assert ended.exit_code == 0, ended.output
    rows = json.loads((tmp_path / "times.json").read_text())["rows"]
    assert [row["way"] for row in rows] == [
        "one interpreter",
        "parts, 1 thread",
        "parts, 2 threads",
    ]
    assert rows[0]["wall_ratio"] == [1, 1, 1]
    for row in rows:
        assert row["largest_difference"] <= 1e-6
        middle, least, most = row["processor_ratio"]
        assert 0 < least <= middle <= most
        assert f"| {row['way']} |" in ended.output
