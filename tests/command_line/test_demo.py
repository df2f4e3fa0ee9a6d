"""The demo, whole: what it prints, what it writes, and that its last line works."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram.command_line import demo
from keras_reprogram.command_line.foreign_pictures import letters, photographs
from keras_reprogram.datasets import load_target
from keras_reprogram.serving.page_steps import read_page_facts, show_steps
from keras_reprogram.serving.servable import ExportedServable


@pytest.fixture(scope="module")
def shown(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    ended = command("demo", "--output", folder, "--json", folder / "figures.json")
    assert ended.code == 0, ended.err
    return folder, ended, json.loads((folder / "figures.json").read_text())


@pytest.mark.slow
def test_both_know_more_than_either_alone_and_cost_what_the_api_costs(shown):
    pixels, pixel_map, api, both = shown[2]["results"]
    assert len(both["accuracies"]) == 3
    assert both["mean"] > max(alone["mean"] for alone in (pixels, pixel_map, api))
    assert pixels["training_queries"] is pixel_map["training_queries"] is None
    assert both["training_queries"] == api["training_queries"]
    assert both["queries_per_prediction"] == api["queries_per_prediction"]


@pytest.mark.slow
def test_what_is_no_digit_is_refused_more_often(shown):
    for own, *others in shown[2]["none_of_these"]:
        assert own["accepted"] > 2 * max(other["accepted"] for other in others)
        assert own["covered"] > 0.85


@pytest.mark.slow
def test_lines_fit_a_terminal(shown):
    folder, ended, _ = shown
    paths = [line for line in ended.out.splitlines() if str(folder) in line]
    assert len(paths) == 3
    assert [line for line in ended.out.splitlines() if len(line) > 80 and line not in paths] == []
    assert f"keras-reprogram serve {folder / 'digits'} --ui" in paths[-1]


@pytest.mark.slow
def test_the_page_shows_the_export(shown):
    digits, export = load_target("digits"), shown[0] / "digits" / "1"
    servable = ExportedServable(export, 1)
    seen = [
        show_steps(servable, read_page_facts(servable), image[None].astype(np.float32))
        for image in digits.test_images[:20]
    ]
    best = [int(steps["classes"][0]["label"]) for steps in seen]
    assert np.mean(best == digits.test_labels[:20]) > 0.8
    # The page judges stored answers, the signature images.
    judged = tf.saved_model.load(str(export)).signatures["sets"](
        image=digits.test_images[:20].astype(np.float32)
    )
    assert [steps["verdict"]["foreign"] for steps in seen] == judged["foreign"].numpy().tolist()


@pytest.mark.slow
def test_the_full_demo_compares_all_methods(command, tmp_path):
    figures = tmp_path / "figures.json"
    ended = command("demo", "--full", "--seeds", 1, "--output", tmp_path, "--json", figures)
    assert ended.code == 0, ended.err
    accuracy = {row["method"]: row["mean"] for row in json.loads(figures.read_text())}
    assert len(accuracy) == 9
    assert accuracy["exact map, 8 views"] > 0.98
    assert {file.name for file in tmp_path.iterdir()} >= {"digits", "digits.tflite", "report.html"}


@pytest.mark.parametrize("height", [8, 28])
def test_pictures_that_are_no_digits(height):
    drawn, cut = letters(height, height), photographs(5, height, height)
    assert drawn.shape == (156, height, height, 1) and cut.shape == (5, height, height, 1)
    assert drawn.dtype == cut.dtype == np.uint8
    # Every letter is there, and is another than the one before it.
    assert (drawn.max(axis=(1, 2, 3)) > 100).all()
    assert (np.abs(np.diff(drawn.astype(int), axis=0)).max(axis=(1, 2, 3)) > 50).all()
    np.testing.assert_array_equal(cut, photographs(5, height, height))


def test_the_command_is_named_as_the_shell_finds_it(tmp_path, monkeypatch):
    script = tmp_path / "bin dir" / "keras-reprogram"
    script.parent.mkdir()
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert demo.command_name() == "'bin dir/keras-reprogram'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert demo.command_name() == "keras-reprogram"
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest"])
    assert demo.command_name() == "keras-reprogram"
