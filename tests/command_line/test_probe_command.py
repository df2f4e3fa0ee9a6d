"""`keras-reprogram probe`: which pixels a file takes is suggested, and never filled in."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from command_runs import Command
from PIL import Image

from keras_reprogram import embedded_path
from keras_reprogram.source.answer_figures import answer_figures, as_probabilities, changed_copies
from keras_reprogram.source.batch_statistics import statistics_gap
from keras_reprogram.source.pixel_forms import in_bgr, in_rgb, pixel_forms

SIGNS = embedded_path("traffic_signs.tflite")


def probed(command: Command, tmp_path: Path, *arguments: object) -> dict:
    ended = command("probe", *arguments, "--json", tmp_path / "probe.json")
    assert ended.code == 0, ended.err
    said = json.loads((tmp_path / "probe.json").read_text())
    if said["suggested"] is not None:
        assert f"Likeliest: {said['suggested']}\n" in ended.out
        assert "it is never filled in" in ended.out
    return said


def test_answers_that_are_thrown_about_give_no_suggestion(command: Command, tmp_path: Path) -> None:
    """Photos of a temple and of a flower, shown to a classifier of traffic signs."""
    said = probed(command, tmp_path, "--source", SIGNS)
    assert said["suggested"] is None
    assert len(said["forms"]) == 10
    assert max(form["steadiness"] for form in said["forms"] if form["information"] > 0.1) < 0.9
    assert said["source"]["image"] == "32 x 32, 3 channels"
    assert said["source"]["says of its pixels"] == "nothing"


@pytest.mark.slow
def test_a_suggestion_is_not_used(command: Command, tmp_path: Path, reprogram_data: Path) -> None:
    (tmp_path / "signs").mkdir()
    with np.load(reprogram_data / "gtsrb_32_sub.npz") as signs:
        drawn = np.random.default_rng(0).choice(len(signs["test_image"]), 32, replace=False)
        for row in drawn:
            Image.fromarray(signs["test_image"][row]).save(tmp_path / "signs" / f"{row}.png")
    said = probed(command, tmp_path, "--source", SIGNS, "--images", tmp_path / "signs")
    assert said["suggested"] == "--value-range 0,255"
    refused = command("inspect", SIGNS)
    assert refused.code == 2 and "cannot tell in which range" in refused.err
    assert "keras-reprogram probe" in refused.err


@pytest.mark.slow
def test_what_is_said_is_shown_beside_the_others(command: Command, tmp_path: Path) -> None:
    facts = tmp_path / "probe.json"
    said = ("--value-range", "0,1", "--pixel-scale", "255")
    ended = command("probe", "--source", SIGNS, *said, "--json", facts)
    assert ended.code == 0, ended.err
    forms = json.loads(facts.read_text())["forms"]
    assert [form["pixels"] for form in forms[:2]] == ["as you say", "0 to 255"]
    assert forms[0]["options"] == "--value-range 0,1 --pixel-scale 255"
    assert forms[0]["information"] == pytest.approx(forms[1]["information"], abs=1e-3)
    ended = command("probe", "--source", SIGNS, "--pixel-scale", "255")
    assert ended.code == 2 and "Add --value-range" in ended.err


@pytest.mark.slow
def test_images_of_the_users(command: Command, tmp_path: Path) -> None:
    ended = command("probe", "--source", SIGNS, "--images", tmp_path / "none")
    assert ended.code == 2 and "no file" in ended.err
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number, 10, 10)).save(tmp_path / f"{number}.png")
    ended = command("probe", "--source", SIGNS, "--images", tmp_path)
    assert ended.code == 0, ended.err
    assert "answers to 3 images" in ended.out


STILL = """
import numpy as np
from keras_reprogram import OpaqueSource

def source():
    def answer(images):
        return np.full((len(images), 4), 0.25)
    return OpaqueSource(answer, (8, 8, 3), 4, value_range=(0, 255), identity="still")
"""


@pytest.mark.slow
def test_a_source_that_may_cost_something_needs_a_budget(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STILL)
    name = f"{tmp_path / 'mine.py'}:source"
    ended = command("probe", "--source", name)
    assert ended.code == 2
    assert "asks it 256 times. Received: --query-budget 0. Raise it to 256." in ended.err
    ended = command("probe", "--source", name, "--query-budget", 256)
    assert ended.code == 0, ended.err
    assert "No suggestion: under no form do the answers move" in ended.out
    ended = command("probe", "--source", name, "--value-range", "0,1")
    assert ended.code == 2 and "says which pixels it takes" in ended.err


@pytest.mark.slow
def test_a_network_remembers_the_pixels_that_it_was_trained_on() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(image))
    scores = keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(y))
    network = keras.Model(image, scores)
    random = np.random.default_rng(0)
    photos = random.integers(0, 256, (8, 4, 4, 3)).repeat(4, 1).repeat(4, 2).astype("float32")
    assert statistics_gap(network, photos) is None, "as it was made, it remembers nothing"
    norm, entering = network.layers[2], keras.Model(image, network.layers[1].output)
    seen = np.asarray(entering(photos / 127.5 - 1)).reshape(-1, 4)
    norm.moving_mean.assign(seen.mean(axis=0))
    norm.moving_variance.assign(seen.var(axis=0))
    gaps = {form.name: statistics_gap(network, form.pixels(photos)) for form in pixel_forms(3)}
    assert min(gaps, key=gaps.get) == "-1 to 1" and gaps["-1 to 1"] < 1e-3
    assert gaps["0 to 255"] > 1000


def test_forms_are_written_as_they_are_read() -> None:
    from keras_reprogram.command_line.source_settings import read_settings

    photos = np.random.default_rng(0).uniform(0, 255, (2, 3, 3, 3)).astype("float32")
    for form in pixel_forms(3):
        assert in_rgb(form).channel_order == "rgb" and in_rgb(in_bgr(in_rgb(form))) == in_rgb(form)
        words = form.options.replace("--", "").replace("-", "_", 0).split()
        options = {
            name.replace("-", "_"): value
            for name, value in zip(words[::2], words[1::2], strict=True)
        }
        settings = read_settings(**options)
        low, high = settings.value_range
        sent = low + photos / 255 * (high - low)
        sent = sent[..., ::-1] if settings.channel_order == "bgr" else sent
        scale, offset = settings.arguments("preprocessing").get("preprocessing", (1.0, 0.0))
        np.testing.assert_allclose(
            sent * np.float32(scale) + np.float32(offset), form.pixels(photos), rtol=1e-4, atol=1e-3
        )
    assert [form.name for form in pixel_forms(1)] == ["0 to 255", "0 to 1", "-1 to 1"]


def test_figures_of_answers() -> None:
    sure = np.eye(4)
    figures = answer_figures([sure, sure], "probabilities")
    assert (figures.top, figures.agreement) == (1.0, 1.0)
    assert figures.information == pytest.approx(2.0) and figures.steadiness == pytest.approx(1.0)
    thrown = answer_figures([sure, sure[::-1]], "probabilities")
    assert thrown.information == pytest.approx(1.0) and thrown.steadiness == pytest.approx(0.5)
    still = answer_figures([np.full((4, 4), 0.25)] * 2, "probabilities")
    assert (still.information, still.merit) == (pytest.approx(0.0), pytest.approx(0.0))
    np.testing.assert_allclose(
        as_probabilities(np.zeros((1, 1)), "independent_logits"), [[0.5, 0.5]]
    )
    sure_logits = as_probabilities(np.array([[0.0, 700.0]]), "logits")
    np.testing.assert_allclose(sure_logits, [[0.0, 1.0]], atol=1e-12)
    images = np.random.default_rng(0).uniform(0, 255, (2, 24, 24, 3))
    copies = changed_copies(images)
    assert len(copies) == 4 and all(copy.shape == images.shape for copy in copies)
    np.testing.assert_array_equal(copies[2][:, 1:, 1:], images[:, :-1, :-1])


@pytest.mark.slow
def test_a_file_that_says_its_pixels_and_moves_little_is_no_alarm(
    command: Command, tmp_path: Path, reprogram_models: Path
) -> None:
    """Person or no person in 8 bits, shown photos without one."""
    path = reprogram_models / "edge" / "vww_96_int8.tflite"
    ended = command("probe", "--source", path, "--json", tmp_path / "probe.json")
    assert ended.code == 0, ended.err
    (own, _) = json.loads((tmp_path / "probe.json").read_text())["forms"]
    assert own["information"] < 0.1
    assert "The source says which pixels it takes, and its answers move." in ended.out
