"""The command line, and one training run for all tests."""

import pytest
from command_runs import Command, TrainedRun, run_command


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
