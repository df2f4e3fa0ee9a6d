"""The figures that the README quotes: MobileNetV2's scores alone, 2,000 training images."""

import json
from pathlib import Path

import pytest
from command_runs import Command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "least_accuracy", "test_images"), [("cifar10", 0.67, 2000), ("mnist", 0.94, 2000)]
)
@pytest.mark.usefixtures("keras_home", "reprogram_data")
def test_opaque_mobilenet(
    command: Command, tmp_path: Path, target: str, least_accuracy: float, test_images: int
) -> None:
    ended = command(
        *("train", "--source", "MobileNetV2", "--opaque", "--target", target),
        *("--train-images", 2000, "--test-images", test_images, "--output", tmp_path),
    )

    assert ended.code == 0, ended.err
    figures = json.loads((tmp_path / f"{target}-MobileNetV2" / "run.json").read_text())
    results = {row["method"]: row for row in figures["results"]}
    assert list(results) == ["no source", "map only", "linear head on features"]
    assert results["map only"]["training_queries"] == 2000
    assert results["map only"]["queries_per_prediction"] == 1
    assert results["map only"]["mean"] >= least_accuracy
