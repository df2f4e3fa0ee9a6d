"""Files that version 0.1.0 of 2026-11-29 wrote (`earlier_files/`) open, and answer as they did."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import frozen_source, images_and_labels, opaque_source, sign_source, small_model

from keras_reprogram import QueryLedger, load_program
from keras_reprogram.command_line import main

FOLDER = Path(__file__).parent / "earlier_files"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
IMAGES, LABELS = images_and_labels()


def source_of(name):
    if name == "signs":
        return sign_source()
    return frozen_source(output="features" if name == "head_coordinates" else "scores")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.keras")), ids=lambda path: path.stem)
def test_keras_files_open_and_train_on(path):
    model = keras.saving.load_model(path)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), EXPECTED[path.stem], atol=1e-5)
    steps = int(model.optimizer.iterations.numpy())
    model.fit(IMAGES, LABELS, batch_size=13, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == steps + 2


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.reprogram")), ids=lambda path: path.stem)
def test_program_files_open(path):
    model = load_program(path, source_of(path.stem))
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), EXPECTED[path.stem], atol=1e-5)


def test_a_ledger_opens_with_its_answers_and_what_was_open(tmp_path):
    path = shutil.copy(FOLDER / "answers.ledger", tmp_path)
    with QueryLedger(path, budget=100, price_per_thousand=1.5) as ledger:
        assert ledger.spent == EXPECTED["ledger"]["spent"] == len(IMAGES) + 1
        source = opaque_source(ledger=ledger)
        scores = small_model(source, fitted=False).collect_scores(IMAGES, verbose=0)
        assert (source.queries_used, ledger.spent) == (0, len(IMAGES) + 1)
    np.testing.assert_allclose(scores, EXPECTED["ledger"]["scores"], atol=1e-6)


def test_a_run_folder_is_measured_again(tmp_path):
    run = shutil.copytree(FOLDER / "run", tmp_path / "run")
    figures = tmp_path / "figures.json"
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(run), "--json", str(figures), "--quiet"])
    assert end.value.code == 0
    assert json.loads(figures.read_text())["accuracy"] == pytest.approx(0.9)
