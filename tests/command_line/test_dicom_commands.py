"""DICOM files on the command line: one window for training, `predict` and `evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_runs import Command

pytest.importorskip("pydicom")

from dicom_writer import write_dicom  # noqa: E402

from keras_reprogram.asking.image_reading import ImageReading  # noqa: E402
from keras_reprogram.command_line.run_folder import read_run  # noqa: E402


def write_study(folder: Path) -> None:
    """Scans that grow brighter downwards, or to the right, without a window; two a patient."""
    ramp = np.linspace(200, 800, 12).repeat(10).reshape(12, 10)
    for name, levels in (("downwards", ramp), ("rightwards", ramp.reshape(10, 12).T[:, ::-1])):
        for number in range(10):
            shown = (levels + 3 * number).astype(np.uint16)
            patient = f"{name}-{number // 2}"
            place = folder / name / f"IM{number:04}"
            write_dicom(place, shown, PatientID=patient, RescaleSlope=1, RescaleIntercept=-1024)


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_a_run_keeps_window_and_fit(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    write_dicom(tmp_path / "study" / "rightwards" / "wide", np.full((12, 40), 500, np.uint16))
    arguments = ("--source", "traffic-signs", "--opaque", "--target", tmp_path / "study")
    options = ("--fit", "crop", "--no-baseline", "--output", tmp_path, "--name", "run", "--quiet")
    ended = command("train", *arguments, *options)
    assert ended.code == 0, ended.err
    assert "split 80/20 by group" in ended.out
    assert "stretched" not in ended.err
    run = read_run(tmp_path / "run")
    reading = run.image_reading
    assert (reading.fit, reading.depth) == ("crop", None)
    low, high = reading.dicom_window
    assert -850 < low < -800 and -250 < high < 501
    assert not any("downwards-" in text for text in ((tmp_path / "run/run.json").read_text(),))
    measured = command("evaluate", tmp_path / "run", "--json", tmp_path / "again.json", "--quiet")
    assert measured.code == 0, measured.err
    again = json.loads((tmp_path / "again.json").read_text())
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert again["accuracy"] == facts["metrics"]["accuracy"]
    said = command("predict", tmp_path / "run", tmp_path / "study" / "downwards", "--quiet")
    assert said.code == 0, said.err
    rows = [line.split(",") for line in said.out.splitlines()[1:]]
    assert [row[1] for row in rows] == ["downwards"] * 10
    model = run.load_model(run.open_source())
    assert model.image_reading == reading != ImageReading()


@pytest.mark.filterwarnings("default:.*were stretched")
@pytest.mark.usefixtures("no_report")
def test_what_is_stretched_is_said_once(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    write_dicom(tmp_path / "study" / "rightwards" / "wide", np.full((12, 40), 500, np.uint16))
    arguments = ("--source", "traffic-signs", "--opaque", "--target", tmp_path / "study")
    ended = command("train", *arguments, "--no-baseline", "--output", tmp_path, "--name", "run")
    assert ended.code == 0, ended.err
    assert " ".join(ended.err.split()).count("1 of 21 images (5%) were stretched") == 1
    for options in (("--fit", "round"), ("--fit", "crop", "--target", "digits")):
        ended = command("train", *arguments, *options)
        assert ended.code == 2
        assert "--fit" in ended.err
    (tmp_path / "study" / "broken.png").write_bytes(b"no image")
    said = command("predict", tmp_path / "run", tmp_path / "study")
    assert said.code == 2 and len(said.out.splitlines()) == 22
    note = " ".join(said.err.split())
    assert note.count("1 of 21 images (5%) were stretched by more than 10% to 12x10") == 1
    assert "Cut the files to that aspect ratio" in note
    upright = command("predict", tmp_path / "run", tmp_path / "study" / "downwards")
    assert upright.code == 0 and "stretched" not in upright.err
