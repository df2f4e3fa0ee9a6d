"""A target whose values are no pixels goes through `train` and back out of its run folder."""

from pathlib import Path

import numpy as np
import pytest
from command_runs import Command


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_figures")
def test_correlations_are_learned_and_evaluated(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(40) % 2
    triangles = np.random.default_rng(0).uniform(-0.2, 0.2, (40, 45))
    # Half of the regions go together in one class and against each other in the other.
    triangles[:, ::2] += 0.7 * (2 * labels[:, None] - 1)
    np.savez(
        tmp_path / "abide_cc200_corr_1035.npz",
        triu=triangles.astype(np.float16),
        label=labels.astype(np.uint8),
        site=np.array(["CMU", "NYU", "USM", "YALE"] * 10),
    )
    monkeypatch.setenv("KERAS_REPROGRAM_DATA", str(tmp_path))
    ended = command(
        *("train", "--source", "traffic-signs", "--opaque", "--target", "abide"),
        *("--output", tmp_path / "runs", "--name", "asd"),
    )
    assert ended.code == 0, ended.err
    assert "ABIDE" in ended.out
    again = command("evaluate", tmp_path / "runs" / "asd")
    assert again.code == 0, again.err
    assert "sensitivity" in again.out
