"""`train --target NAME_TRAIN.ts`, and what is done with such a run."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_runs import run_command

pytestmark = pytest.mark.slow

SAMPLES = 90


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network of 90 samples, waves of two kinds, and a finished run."""
    folder = tmp_path_factory.mktemp("series")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((SAMPLES,)),
            layers.Reshape((SAMPLES, 1)),
            layers.Conv1D(8, 5, strides=2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(7, activation="softmax"),
        ]
    )
    network.save(folder / "samples.keras")
    random = np.random.default_rng(0)
    for part, count in (("TRAIN", 60), ("TEST", 30)):
        labels = np.arange(count) % 2
        waves = np.sin(np.arange(20) * np.where(labels, 0.3, 1.4)[:, None])
        waves += random.normal(0, 0.2, waves.shape)
        rows = [
            f"{','.join(f'{value:.4f}' for value in wave)}:{'-1' if label else '1'}"
            for wave, label in zip(waves, labels, strict=True)
        ]
        text = "@classLabel true -1 1\n@data\n" + "\n".join(rows) + "\n"
        (folder / f"Waves_{part}.ts").write_text(text)
    return folder


def trained(place, name, *more):
    return run_command(
        *("train", "--source", place / "samples.keras", "--value-range=-1,1"),
        *("--target", place / "Waves_TRAIN.ts", "--output", place / "runs", "--name", name),
        *("--json", place / f"{name}.json", *more),
    )


@pytest.fixture(scope="module")
def run(place):
    ended = trained(place, "waves", "--num-views", 2, "--epochs", 2, "--beside", "pixels")
    assert ended.code == 0, ended.err
    return place / "runs" / "waves", ended


def test_a_run_of_series(run, place):
    folder, ended = run
    assert "Waves_TRAIN.ts and Waves_TEST.ts, their official split." in ended.out
    for row in ("no source", "map only", "map and program", "linear head on features"):
        assert row in ended.out
    facts = json.loads((folder / "run.json").read_text())
    assert facts["target"]["class_names"] == ["-1", "1"]
    assert facts["target"]["target_shape"] == [20]
    by_name = {row["method"]: row for row in facts["results"]}
    assert by_name["map only"]["queries_per_prediction"] == 2
    assert by_name["map and program"]["accuracies"][0] > 0.8
    page = (folder / "report.html").read_text()
    assert "No pictures: targets of shape (20,) are no images." in page


def test_evaluate_and_export(run, place):
    folder, _ = run
    ended = run_command("evaluate", folder, "--json", place / "again.json")
    assert ended.code == 0, ended.err
    before = json.loads((folder / "run.json").read_text())["metrics"]["accuracy"]
    assert json.loads((place / "again.json").read_text())["accuracy"] == pytest.approx(before)
    ended = run_command("export", folder, "--output", place / "served")
    assert ended.code == 0, ended.err
    serve = tf.saved_model.load(str(place / "served" / "1")).signatures["serving_default"]
    scores = serve(image=tf.zeros((3, 20)))["scores"]
    assert scores.shape == (3, 2)
    ended = run_command(
        *("export", folder, "--format", "litert", "--output", place / "waves.tflite")
    )
    assert ended.code == 0, ended.err


def test_an_opaque_source_and_a_budget(place):
    ended = trained(place, "opaque", "--opaque", "--query-budget", 400, "--no-baseline")
    assert ended.code == 0, ended.err
    facts = json.loads((place / "runs" / "opaque" / "run.json").read_text())
    assert facts["results"][0]["training_queries"] <= 400


def test_what_is_for_images_is_refused(run, place):
    folder, _ = run
    ended = run_command("predict", folder, place / "Waves_TEST.ts")
    assert ended.code == 2
    assert "predict reads image files. Received:" in ended.err and "(20,)" in ended.err
    ended = trained(place, "centre", "--placement", "center")
    assert ended.code == 2 and "--placement is for images" in ended.err
    ended = run_command(
        *("train", "--source", "traffic-signs", "--target", place / "Waves_TRAIN.ts"),
        *("--output", place / "runs", "--no-baseline"),
    )
    assert ended.code == 2 and "needs a --source of rows of samples" in ended.err
    ended = run_command(
        *("probe", "--source", place / "samples.keras", "--value-range=-1,1"),
    )
    assert ended.code == 2 and "probe finds out which pixels" in ended.err
