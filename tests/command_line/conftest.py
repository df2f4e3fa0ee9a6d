"""The command line, one training run for all tests, and runs whose figures are not drawn."""

from typing import Any, BinaryIO

import pytest
from command_runs import Command, TrainedRun, run_command
from matplotlib.figure import Figure

from keras_reprogram.command_line import training_run


@pytest.fixture(scope="session")
def command() -> Command:
    return run_command


@pytest.fixture(scope="session")
def opaque_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Digits from the traffic signs' scores: 100 images, two views."""
    place = tmp_path_factory.mktemp("opaque")
    figures = place / "figures.json"
    ended = run_command(
        *("train", "--source", "traffic-signs", "--opaque", "--target", "digits"),
        *("--train-images", 100, "--test-images", 60, "--num-views", 2),
        *("--output", place, "--name", "run", "--json", figures),
    )
    return TrainedRun(place / "run", ended, figures)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without their page, which takes longer than a small training."""
    monkeypatch.setattr(training_run, "write_run_page", lambda *arguments: None)


@pytest.fixture
def undrawn_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are put together and saved as nothing: drawing them is most of a small run.

    For tests that do not look at the report; `opaque_run` draws its own.
    """

    def save(figure: Figure, file: BinaryIO, **options: Any) -> None:
        file.write(b"not drawn")

    monkeypatch.setattr(Figure, "savefig", save)
