"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from keras_reprogram.files import (
    folder_aside,
    replace_folder,
    take_free_name,
    whole_file,
    write_whole_file,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_all_of_it_is_there(tmp_path: Path) -> None:
    write_whole_file(tmp_path / "a", b"old")
    write_whole_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt("stop")])
def test_the_old_file_stays_when_writing_fails(error: BaseException, tmp_path: Path) -> None:
    write_whole_file(tmp_path / "a", b"old")
    with pytest.raises(type(error)), whole_file(tmp_path / "a") as file:
        file.write(b"ne")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_folder_takes_the_first_free_name(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with folder_aside(tmp_path) as aside:
        aside.mkdir()
        assert take_free_name(aside, (tmp_path / name for name in "123")).name == "2"
    assert names(tmp_path) == ["1", "2"]


def test_no_free_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(FileExistsError), folder_aside(tmp_path) as aside:
        aside.mkdir()
        take_free_name(aside, [tmp_path / "1"])
    assert names(tmp_path) == ["1"]


def test_a_replaced_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "run" / "old").mkdir(parents=True)
    with folder_aside(tmp_path) as aside:
        (aside / "new").mkdir(parents=True)
        replace_folder(aside, tmp_path / "run")
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["new"]
