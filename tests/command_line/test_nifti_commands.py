"""NIfTI files on the command line: one window for training, `predict` and `evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_runs import Command

nibabel = pytest.importorskip("nibabel")

from keras_reprogram.command_line.run_folder import read_run  # noqa: E402


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_a_run_keeps_the_window(command: Command, tmp_path: Path) -> None:
    """Volumes that grow brighter to one side or to the front, without a window."""
    ramp = np.linspace(-800, 200, 12)[:, None, None].repeat(12, 1).repeat(3, 2)
    for name, values in (("sideways", ramp), ("forwards", ramp.transpose(1, 0, 2))):
        (tmp_path / "study" / name).mkdir(parents=True)
        for number in range(10):
            image = nibabel.Nifti1Image((values + 3 * number).astype(np.int16), np.eye(4))
            nibabel.save(image, tmp_path / "study" / name / f"{number}.nii.gz")
    arguments = ("--source", "traffic-signs", "--opaque", "--target", tmp_path / "study")
    options = ("--no-baseline", "--output", tmp_path, "--name", "run", "--quiet")
    ended = command("train", *arguments, *options)
    assert ended.code == 0, ended.err
    assert "20 of 20 files are volumes of several slices" in " ".join(ended.out.split())
    run = read_run(tmp_path / "run")
    low, high = run.image_reading.dicom_window
    assert -800 <= low < -780 and 200 <= high < 230
    ended = command("evaluate", tmp_path / "run", "--json", tmp_path / "again.json", "--quiet")
    assert ended.code == 0, ended.err
    again = json.loads((tmp_path / "again.json").read_text())
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert again["accuracy"] == facts["metrics"]["accuracy"]
    said = command("predict", tmp_path / "run", tmp_path / "study" / "sideways", "--quiet")
    assert said.code == 0, said.err
    assert [line.split(",")[1] for line in said.out.splitlines()[1:]] == ["sideways"] * 10
