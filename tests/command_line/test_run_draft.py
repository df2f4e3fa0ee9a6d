"""A run folder gets its name when it is whole, and never takes another's."""

from pathlib import Path

import pytest

from keras_reprogram.command_line.run_folder import RunDraft


def finished(output: Path, overwrite: bool = False) -> Path:
    draft = RunDraft(output, "run", overwrite)
    draft.write_facts({"seed": 0})
    return draft.finish()


def test_next_free_name(tmp_path: Path) -> None:
    names = [finished(tmp_path).name for _ in range(3)]

    assert names == ["run", "run-2", "run-3"]


def test_overwrite_replaces_the_run_of_that_name(tmp_path: Path) -> None:
    (finished(tmp_path) / "old.txt").touch()

    assert finished(tmp_path, overwrite=True) == tmp_path / "run"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (tmp_path / "run" / "old.txt").exists()


def test_nothing_shows_before_the_end(tmp_path: Path) -> None:
    output = tmp_path / "runs"
    draft = RunDraft(output, "run", overwrite=False)

    assert [path.name for path in output.iterdir() if not path.name.startswith(".")] == []
    draft.discard()
    assert not output.exists()


def test_discard_after_the_end_takes_nothing_away(tmp_path: Path) -> None:
    draft = RunDraft(tmp_path / "runs", "run", overwrite=False)
    folder = draft.finish()
    draft.discard()

    assert folder.is_dir()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="the name of a folder"):
        RunDraft(tmp_path, name, overwrite=False)
