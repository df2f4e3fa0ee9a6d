"""`keras-reprogram report`: what the page holds, what it leaves out, and where it goes."""

import json
import re
import shutil
import webbrowser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_runs import Command, TrainedRun

from keras_reprogram import MultiLabelMap, NewHead
from keras_reprogram.command_line.run_page import label_map, program
from keras_reprogram.source import PythonSource

UNDRAWN = pytest.mark.usefixtures("undrawn_figures")


@pytest.fixture
def folder(opaque_run: TrainedRun, tmp_path: Path) -> Path:
    """A run folder of the test's own."""
    return Path(shutil.copytree(opaque_run.folder, tmp_path / "run"))


def change_facts(folder: Path, **changes: object) -> None:
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | changes))


def section(page: str, heading: str) -> str:
    (found,) = re.findall(rf"<section>\n<h2>{heading}</h2>(.*?)</section>", page, re.DOTALL)
    return found


def test_help_explains_every_option_and_shows_an_example(command: Command) -> None:
    ended = command("report", "--help")
    assert ended.code == 0
    for option in ("--output", "--overwrite", "--no-pictures", "--price", "--open", "--quiet"):
        assert re.search(rf"{option} .*[A-Z][a-z]+", ended.out), option
    assert "keras-reprogram report runs/" in ended.out


@pytest.mark.slow
def test_page_holds_what_the_run_left_or_says_why_not(command: Command, folder: Path) -> None:
    ended = command("report", folder, "--price", 1.5)

    assert ended.code == 0, ended.err
    assert ended.out == f"{folder / 'report-2.html'}\n"
    page = (folder / "report-2.html").read_text()
    results = section(page, "Accuracy and price")
    for row in ("no source", "map only", "linear head on features"):
        assert row in results
    run = section(page, "The run")
    assert "<dt>queries for training</dt><dd>200</dd>" in run
    assert "<dt>money for training</dt><dd>0.3</dd>" in run
    assert "<dt>money for 1,000 predictions</dt><dd>3</dd>" in run
    errors = section(page, "Errors on 60 test images")
    assert "Wilson intervals" in errors
    assert "data:image/png" in errors
    for heading in ("Which source labels stand for which class", "The weights of the map"):
        assert "data:image/png" in section(page, heading)
    assert "licence" in section(page, "Target images and the source images they become")
    assert "the program is zero" in section(page, "The program")
    assert "No curve" in section(page, "Validation accuracy over queries")
    assert "No curve" in section(page, "Training curves")


@UNDRAWN
def test_no_query_is_asked(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object) -> None:
        raise RuntimeError("the source was asked")

    monkeypatch.setattr(PythonSource, "call", answer)
    assert command("report", folder).code == 0
    # The guard stands where queries pass.
    with pytest.raises(RuntimeError, match="was asked"):
        command("evaluate", folder)


@UNDRAWN
def test_target_images_can_be_left_out(command: Command, folder: Path) -> None:
    ended = command("report", folder, "--no-pictures", "--output", folder.parent / "page.html")

    assert ended.code == 0, ended.err
    page = (folder.parent / "page.html").read_text()
    assert "Left out with --no-pictures" in section(page, "Target images")
    assert "image/png" not in section(page, "Target images")
    assert "Opening the images" not in ended.err


@UNDRAWN
def test_what_is_gone_is_named_and_the_rest_is_shown(command: Command, folder: Path) -> None:
    facts = json.loads((folder / "run.json").read_text())
    gone = str(folder / "gone.tflite")
    change_facts(
        folder,
        source=facts["source"] | {"spec": gone},
        target=facts["target"] | {"spec": str(folder / "images")},
    )
    ended = command("report", folder, "--overwrite")

    assert ended.code == 0, ended.err
    page = (folder / "report.html").read_text()
    assert "cannot be opened. ValueError: --source must be" in section(page, "The program")
    assert "gone.tflite" in section(page, "The map")
    assert "no such folder" in section(page, "Target images")
    assert "Wilson intervals" in section(page, "Errors on 60 test images")
    # A page may be passed on: nobody needs to know where the files lie.
    assert str(folder) not in page


@UNDRAWN
def test_curves_are_shown_where_there_are_some_and_images_if_they_are_the_same(
    command: Command, folder: Path
) -> None:
    facts = json.loads((folder / "run.json").read_text())
    change_facts(
        folder,
        curve=[[100, 0.5], [300, 0.6]],
        history={"loss": [2.0, 1.0], "val_accuracy": [0.5, 0.6]},
        target=facts["target"] | {"target_shape": [9, 9, 1]},
    )
    assert command("report", folder, "--overwrite").code == 0
    page = (folder / "report.html").read_text()
    assert "validation part: 0.600 after 300" in section(page, "Validation accuracy over queries")
    assert "Training curves over the epochs: loss, accuracy" in section(page, "Training curves")
    assert "no longer those of the run" in section(page, "Target images")


@UNDRAWN
def test_a_run_that_was_stopped_has_a_report_without_figures(
    command: Command, folder: Path
) -> None:
    facts = json.loads((folder / "run.json").read_text())
    kept = {key: facts[key] for key in facts if key not in ("results", "metrics", "curve")}
    del kept["history"]
    (folder / "run.json").write_text(json.dumps(kept | {"complete": False}))
    ended = command("report", folder, "--overwrite")

    assert ended.code == 0, ended.err
    page = (folder / "report.html").read_text()
    for heading in (
        "Accuracy and price",
        "Errors",
        "Validation accuracy over queries",
        "Training curves",
    ):
        assert "Training was stopped" in section(page, heading)
    assert "image/png" in section(page, "The weights of the map")


@UNDRAWN
def test_an_existing_page_is_kept_unless_told_and_opens_in_a_browser(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)))
    mine = folder / "mine.html"
    mine.write_text("mine")
    refused = command("report", folder, "--output", mine)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert mine.read_text() == "mine"

    options = ("--output", mine, "--no-pictures", "--open")
    ended = command("report", folder, *options, "--overwrite")
    assert ended.code == 0
    assert mine.read_text().startswith("<!DOCTYPE html>")
    assert opened == [mine.as_uri()]
    assert "No browser" in ended.err


def test_a_folder_that_is_no_run_is_refused(command: Command, tmp_path: Path) -> None:
    assert "There is no run folder" in command("report", tmp_path / "nowhere").err
    ended = command("report", tmp_path)
    assert ended.code == 2
    assert "is not a run folder" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_labels_of_a_class_are_listed_with_their_weights() -> None:
    output_map = MultiLabelMap(2, labels_per_class=2, assignment="random")
    output_map.build((None, 1, 12))
    weights = np.zeros((12, 2), "float32")
    weights[[4, 7], 0] = 0.25, 0.75
    weights[:, 1] = 0.01
    output_map.label_weights.assign(weights)
    source = SimpleNamespace(class_names=[f"sign {i}" for i in range(12)], num_labels=12)
    (shown,) = label_map(SimpleNamespace(output_map=output_map, source=source), ["no", "yes"])

    assert shown.text_table.rows[0] == ("no", "sign 7 (0.75), sign 4 (0.25)")
    assert shown.text_table.rows[1][1].endswith("sign 7 (0.01), and 4 more")


def test_maps_and_programs_without_a_picture_say_so() -> None:
    layer = SimpleNamespace(program_images=lambda: None)
    model = SimpleNamespace(output_map=NewHead(2), source=None, program=layer)
    assert "NewHead does not read" in label_map(model, ["no", "yes"])[0].text
    assert "has no `program_images`" in program(model).text


def test_a_program_that_all_views_share_is_drawn_once() -> None:
    def page(images: np.ndarray) -> object:
        layer = SimpleNamespace(program_images=lambda: images)
        source = SimpleNamespace(value_range=(0, 255))
        return program(SimpleNamespace(program=layer, source=source))

    shared = np.broadcast_to(np.full((1, 8, 8, 3), 0.9), (3, 8, 8, 3))
    assert "the same under all 3 views" in page(shared).text
    assert len(page(shared).figure.axes) == 1
    own = shared * np.array([1, 0.9, 0.8])[:, None, None, None]
    assert len(page(own).figure.axes) == 3
