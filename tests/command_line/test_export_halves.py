"""`export --format halves`: what an opaque run can leave Python as."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from command_runs import Command, TrainedRun
from PIL import Image

from keras_reprogram import LiteRTSource, embedded_path
from keras_reprogram.export import halves


@pytest.mark.slow
def test_halves_of_an_opaque_run(
    command: Command, opaque_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fresh processes take seconds, and the export's own tests run them.
    monkeypatch.setattr(halves, "check_reloaded", lambda *arguments: (0.0, 0))
    folder = tmp_path / "model"
    ended = command("export", opaque_run.folder, "--format", "halves", "--output", folder)

    assert ended.code == 0, ended.err
    written = [Path(line) for line in ended.out.splitlines()]
    assert [str(path.relative_to(folder)) for path in written] == [
        "program/1",
        "output_map/1",
        "program-1.tflite",
        "output_map-1.tflite",
    ]
    assert "The source was not asked." in ended.err

    image = np.arange(0, 256, 4, np.uint8).reshape(8, 8)
    file = tmp_path / "a.png"
    Image.fromarray(image).save(file)
    predicted = command("predict", opaque_run.folder, file, "--quiet").out.splitlines()[1]
    program, output_map = (tf.saved_model.load(str(path)) for path in written[:2])
    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    asked = program.signatures["image_bytes"](image_bytes=tf.constant([file.read_bytes()]))
    answer = tf.constant(np.asarray(source(asked["source_images"])))
    scores = output_map.signatures["serving_default"](source_scores=answer)["scores"].numpy()
    assert predicted == f"{file},{scores[0].argmax()},{scores[0].max():.4f}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "traffic-signs"), "Received: --source traffic-signs"),
        (("--litert-form", "int8"), "Received: --litert-form int8"),
        (("--batch", "1"), "Received: --batch 1 with --format halves"),
    ],
)
def test_options_that_halves_do_not_take(
    options: tuple[str, str],
    message: str,
    command: Command,
    opaque_run: TrainedRun,
    tmp_path: Path,
) -> None:
    folder = ("--output", tmp_path / "model")
    ended = command("export", opaque_run.folder, "--format", "halves", *folder, *options)

    assert ended.code == 2
    assert message in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_opaque_export_without_an_equivalent_names_both_ways(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    ended = command("export", opaque_run.folder, "--output", tmp_path / "model")

    assert ended.code == 2
    assert "add --source traffic-signs" in ended.err
    assert "--format halves" in ended.err
    assert list(tmp_path.iterdir()) == []
