"""`keras-reprogram audit`: queries are asked once, and measures are applied to stored scores."""

import json
from pathlib import Path

import pytest
from command_runs import Command, Ended

from keras_reprogram.source import QueryLedger

SOURCE = """
import numpy as np
from keras_reprogram import LiteRTSource, OpaqueSource, embedded_path

signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))

def ask(images):
    {before}
    with open("asked", "ab") as file:
        file.write(bytes(len(images)))
    return signs.ask(images)

def source():
    return OpaqueSource(
        ask, signs.source_shape, signs.num_labels, value_range=(0, 255), identity="signs",
        max_batch=32,
    )
"""


def write_source(folder: Path, before: str = "pass") -> None:
    (folder / "api.py").write_text(SOURCE.format(before=before))


def asked(folder: Path) -> int:
    return (folder / "asked").stat().st_size if (folder / "asked").exists() else 0


def test_without_a_budget_nothing_is_asked(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path)
    options = ("--no-bundled", "--target", "digits", "--price", 1.5, "--json", "plan.json")
    ended = command("audit", "--source", "api.py:source", *options)
    assert ended.code == 0, ended.err
    assert "Nothing was asked" in ended.out
    assert "36,000 │ 54.00" in ended.out
    assert json.loads((tmp_path / "plan.json").read_text())["planned_queries"] == 36_000
    assert asked(tmp_path) == 0 and not (tmp_path / "audit").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--budget", 10), "Allow 106 or more"),
        (("--measure", "blur=3"), "A measure must be one of top-label"),
        (("--target", "digits"), "digits more than once"),
        (("--own", "./nowhere"), "there is no such folder"),
        (("--output", __file__), "--output must be a folder"),
        (("--json", "nowhere/figures.json"), "--json must be a file"),
    ],
)
def test_wrong_input_asks_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = ("--no-bundled", "--target", "digits")
    ended = command("audit", "--source", "traffic-signs", *tasks, "--budget", 200, *options)
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "audit").exists()


class TestAudit:
    """One audit of the embedded source as a Python API, 360 digits at most."""

    pytestmark = pytest.mark.slow

    @pytest.fixture
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        write_source(tmp_path)
        return tmp_path

    @staticmethod
    def audit(command: Command, *options: object, budget: int = 720) -> Ended:
        return command(
            *("audit", "--source", "api.py:source", "--no-bundled", "--target", "digits"),
            *("--budget", budget, "--num-views", 2, "--seeds", 2, "--price", 2),
            *("--measure", "top-label", "--measure", "temperature=2", "--json", "audit.json"),
            *options,
        )

    def test_answers_are_asked_once_and_tell_what_a_stranger_gains(
        self, command: Command, here: Path
    ) -> None:
        ended = self.audit(command)
        assert ended.code == 0, ended.err
        assert asked(here) <= 720
        figures = json.loads((here / "audit.json").read_text())
        assert figures["planned_queries"] == 688 and figures["spent"] == asked(here)
        (task,) = figures["tasks"]
        assert task["training_queries"] == 230 and task["training_money"] == 0.46
        plain, hidden, warmed = task["accuracies"].values()
        assert min(plain["2"]) > 0.85
        assert max(hidden["1"]) < 0.6
        # A temperature hides nothing.
        assert warmed["2"] == pytest.approx(plain["2"], abs=0.06)
        assert figures["honest_use"]["top label only"]["accuracy"] == 1.0
        page = (here / "audit" / "audit.html").read_text()
        for text in ("for the owner of the API", "Measures against digits", "same top label"):
            assert text in page

        before = asked(here)
        again = self.audit(command)
        assert again.code == 0, again.err
        assert asked(here) == before
        assert json.loads((here / "audit.json").read_text()) == figures

    def test_a_stopped_audit_goes_on(self, command: Command, here: Path) -> None:
        write_source(here, "import pathlib; n = pathlib.Path('asked'); "
                     "size = n.stat().st_size if n.exists() else 0\n"
                     "    if size > 300: raise KeyboardInterrupt")  # fmt: skip
        stopped = self.audit(command)
        assert stopped.code == 130
        assert "the same command goes on" in stopped.err
        first = asked(here)
        assert 300 < first < 400
        write_source(here)
        ended = self.audit(command)
        assert ended.code == 0, ended.err
        figures = json.loads((here / "audit.json").read_text())
        # Those in flight at the interrupt count as spent, and were asked again.
        assert first < asked(here) <= 688
        assert 0 < figures["spent"] - asked(here) <= 32

    def test_a_ledger_that_spent_its_budget_keeps_to_it(self, command: Command, here: Path) -> None:
        assert self.audit(command, budget=400).code == 0
        before = asked(here)
        other = self.audit(command, "--num-views", 1, "--train-images", 60, budget=before)
        assert asked(here) == before or other.code == 2
        with QueryLedger(here / "audit" / "answers.ledger") as ledger:
            assert ledger.spent <= before

    def test_a_page_of_someone_else_stays(self, command: Command, here: Path) -> None:
        (here / "audit").mkdir()
        (here / "audit" / "audit.html").write_text("mine")
        ended = self.audit(command)
        assert ended.code == 2 and "Choose another --output" in ended.err
        assert asked(here) == 0


@pytest.mark.slow
def test_own_data_say_what_measures_cost(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits stand for the own task of a source that knows ten kinds of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "api.py").write_text(
        """
import numpy as np
from keras_reprogram import OpaqueSource
from keras_reprogram.datasets import load_digits
from sklearn.linear_model import LogisticRegression

digits = load_digits()
model = LogisticRegression(max_iter=200).fit(
    digits.train_images.reshape(-1, 64) / 255, digits.train_labels
)
source = OpaqueSource(
    lambda images: model.predict_proba(images.reshape(-1, 64) / 255), (8, 8, 1), 10,
    value_range=(0, 255), identity="digits",
)
"""
    )
    ended = command(
        *("audit", "--source", "api.py:source", "--no-bundled", "--target", "squares_counting"),
        *("--own", "digits", "--budget", 400, "--num-views", 1, "--seeds", 1),
        *("--measure", "rounded=0.5", "--json", "audit.json", "--quiet"),
    )
    assert ended.code == 0, ended.err
    figures = json.loads((tmp_path / "audit.json").read_text())
    assert figures["own_images"] == 76
    plain, rounded = figures["honest_use"].values()
    assert plain["labelled"] and plain["accuracy"] > 0.9
    assert plain["calibration_error"] < 0.1 and rounded["moved"] > plain["moved"] == 0
    assert "own accuracy" in ended.out
