"""`--class-weight`: what it means, and what it changes in a training run."""

import json

import numpy as np
import pytest
from command_runs import Command
from PIL import Image
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight

from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.options import (
    balanced_accuracy,
    class_weights,
    is_skewed,
    parse_class_weight,
)
from keras_reprogram.command_line.seed_run import LINEAR_HEAD, NO_SOURCE, recipe_for
from keras_reprogram.command_line.sources import resolve_source
from keras_reprogram.command_line.train_options import TrainOptions, build_model
from keras_reprogram.datasets import load_target

LABELS = np.repeat([0, 1, 2], [30, 6, 4])
NAMES = ("nevus", "melanoma", "a=b")


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    found = class_weights(parse_class_weight("balanced"), LABELS, NAMES)
    assert found == pytest.approx(dict(enumerate(expected)))


def test_classes_are_named_or_numbered():
    asked = parse_class_weight("melanoma=5, 0=0.5,a=b=2")
    assert class_weights(asked, LABELS, NAMES) == {1: 5.0, 0: 0.5, 2: 2.0}
    assert class_weights(None, LABELS, NAMES) is None


@pytest.mark.parametrize("text", ["", "even", "melanoma", "melanoma=-1", "a=1,a=2", "a=nan", "=3"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="must be balanced, or the weights.*Received: "):
        parse_class_weight(text)


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match="Received: 'melanom'. Did you mean melanoma?"):
        class_weights({"melanom": 2.0}, LABELS, NAMES)
    with pytest.raises(ValueError, match="Received: '3'. The classes are nevus, melanoma"):
        class_weights({"3": 2.0}, LABELS, NAMES)
    with pytest.raises(ValueError, match="two or more classes.*for 1 of them"):
        class_weights({"0": 0.0, "1": 0.0}, LABELS, NAMES)


def test_balanced_accuracy_and_skew():
    predicted = np.random.default_rng(0).integers(0, 3, len(LABELS))
    expected = balanced_accuracy_score(LABELS, predicted)
    assert balanced_accuracy(predicted, LABELS) == pytest.approx(expected)
    assert is_skewed(LABELS) and not is_skewed(np.repeat([0, 1], [10, 12]))


@pytest.fixture(scope="module")
def skewed_folder(tmp_path_factory):
    """Grey squares: 60 of the common class, 12 of the rare one, which overlap."""
    folder = tmp_path_factory.mktemp("data") / "squares"
    random = np.random.default_rng(0)
    for name, level, count in (("common", 110, 90), ("rare", 140, 18)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(random.normal(level, 30) + random.normal(0, 9, (8, 8, 3)), 0, 255)
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{number}.png")
    return folder


def trained(command, folder, place, *arguments):
    ended = command(
        *("train", "--source", "traffic-signs", "--target", folder, "--output", place, *arguments)
    )
    assert ended.code == 0, ended.err
    run = next(place.iterdir())
    return ended, run, json.loads((run / "run.json").read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_figures")
@pytest.mark.parametrize(
    "how",
    [
        ("--opaque",),
        pytest.param(("--opaque", "--query-budget", 80), marks=pytest.mark.slow),
        pytest.param(("--epochs", 1), marks=pytest.mark.slow),
        pytest.param(("--query-budget", 400), marks=pytest.mark.slow),
    ],
)
def test_weights_reach_what_is_trained(command: Command, skewed_folder, tmp_path, how) -> None:
    """With balanced weights the rare class is found, whichever recipe learns."""
    shares = []
    for number, weights in enumerate(((), ("--class-weight", "balanced"))):
        place = tmp_path / str(number)
        ended, run, figures = trained(command, skewed_folder, place, *how, *weights)
        baselines = (NO_SOURCE, LINEAR_HEAD)
        row = [row for row in figures["results"] if row["method"] not in baselines][-1]
        metrics = figures["metrics"]
        assert row["balanced_accuracies"] == pytest.approx([metrics["balanced_accuracy"]])
        assert "balanced" in ended.out and f"{metrics['balanced_accuracy']:.3f}"[1:] in ended.out
        assert "Balanced accuracy is the mean" in (run / "report.html").read_text()
        assert figures["options"]["class_weight"] == (weights[1] if weights else None)
        assert all("balanced_accuracies" in row for row in figures["results"])
        shares.append([entry["sensitivity"] for entry in metrics["classes"]])
    (_, rare), (common, weighted_rare) = shares
    assert weighted_rare > rare
    assert common > 0.5


def test_epochs_are_judged_by_weight():
    target = load_target("digits").draw(80, 10, 0)
    source = resolve_source("traffic-signs", opaque=True).source
    options = TrainOptions(epochs=1, class_weight="0=20,1=0")
    model = build_model(options, source, target.target_shape, target.class_names, 0)
    recipe = recipe_for(model, target, options, Progress(True))
    recipe.ask()
    recipe.judge("map")
    train, held_out = recipe.train, recipe.validation
    labels = target.train_labels
    weight = np.where(labels == 0, 20.0, np.where(labels == 1, 0.0, 1.0))
    answers = model.collect_scores(target.train_images, verbose=0)
    model.fit_output_map(scores=answers[train], y=labels[train], sample_weight=weight[train])
    read = np.asarray(model.output_map(answers[held_out]))
    right = read.argmax(axis=1) == labels[held_out]
    expected = np.average(right, weights=weight[held_out])
    assert recipe.stages[0].queries_used == 80
    assert recipe.stages[0].validation_accuracy == pytest.approx(expected)
    assert expected != pytest.approx(right.mean(), abs=0.01)


@pytest.mark.usefixtures("undrawn_figures")
def test_wrong_weights_cost_nothing(command: Command, skewed_folder, tmp_path) -> None:
    common = ("train", "--source", "traffic-signs", "--target", skewed_folder)
    ended = command(*common, "--output", tmp_path, "--class-weight", "rar=2")
    assert ended.code == 2 and "Did you mean rare?" in ended.err
    ended = command(*common, "--output", tmp_path, "--class-weight", "much")
    assert ended.code == 2 and "--class-weight must be balanced" in ended.err
    assert not list(tmp_path.iterdir())
