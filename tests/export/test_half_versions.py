"""Versions of halves count up together, appear whole or not at all, and are never replaced."""

import errno
from pathlib import Path

import pytest

from keras_reprogram.export.version_folders import take_half_versions
from keras_reprogram.files import folder_aside


def write(folder):
    for half in ("program", "output_map"):
        (folder / half).mkdir(parents=True)
        (folder / half / "saved_model.pb").write_bytes(b"x")
        (folder / f"{half}.tflite").write_bytes(b"x")


def take(base_dir, version=None):
    with folder_aside(base_dir) as aside:
        write(aside)
        return take_half_versions(aside, base_dir, version)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def version_tree(version):
    return [
        "output_map",
        f"output_map-{version}.tflite",
        f"output_map/{version}",
        f"output_map/{version}/saved_model.pb",
        "program",
        f"program-{version}.tflite",
        f"program/{version}",
        f"program/{version}/saved_model.pb",
    ]


def test_versions_count_up_together(tmp_path) -> None:
    assert [take(tmp_path) for _ in range(2)] == [1, 2]
    assert tree(tmp_path) == sorted({*version_tree(1), *version_tree(2)})


@pytest.mark.parametrize(
    "taken", ["program/7/x", "output_map/7/x", "program-7.tflite", "output_map-7.tflite"]
)
def test_a_version_is_free_in_both_halves(taken, tmp_path) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_bytes(b"other")
    for other in ("notes-9.tflite", "program-².tflite", "program-x.tflite"):
        (tmp_path / other).write_bytes(b"other")
    before = tree(tmp_path)
    with pytest.raises(FileExistsError, match="7.* exists already.*`version=`"):
        take(tmp_path, 7)
    assert tree(tmp_path) == before
    assert take(tmp_path) == 8
    assert take(tmp_path, 3) == 3
    assert (tmp_path / taken).read_bytes() == b"other"


@pytest.mark.parametrize("version", [0, True, "1"])
def test_a_version_is_a_positive_integer(version, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"`version` must be a positive integer.*Received: "):
        take(tmp_path / "new", version)
    assert tree(tmp_path) == []


@pytest.fixture
def renames(monkeypatch):
    """Runs a function before each rename to a name of the export; the list of those names."""
    rename, seen, hooks = Path.rename, [], []

    def watched(self, target):
        if ".part" in str(self):
            seen.append(target)
            for hook in hooks:
                hook(len(seen))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    return seen, hooks


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt("stop")])
@pytest.mark.parametrize("failing", [1, 2, 3, 4])
@pytest.mark.parametrize("earlier", [False, True])
def test_nothing_is_left_when_a_rename_fails(failing, error, earlier, renames, tmp_path) -> None:
    if earlier:
        take(tmp_path / "signs")
    before = tree(tmp_path)
    seen, hooks = renames
    seen.clear()

    def fail(count):
        if count == failing:
            raise error

    hooks.append(fail)
    with pytest.raises(type(error), match=r"full|stop"):
        take(tmp_path / "signs")
    assert len(seen) == failing
    assert tree(tmp_path) == before


def test_the_program_comes_last(renames, tmp_path) -> None:
    """A process that dies in between leaves no version of a program."""
    seen, _ = renames
    take(tmp_path)
    assert seen[0] == tmp_path / "output_map/1"
    assert seen[-1] == tmp_path / "program/1"
    assert len(seen) == 4


@pytest.mark.parametrize("at", [1, 4])
def test_a_version_that_another_writer_took_is_skipped(at, renames, tmp_path) -> None:
    seen, hooks = renames

    def taken_first(count):
        if count == at and len(seen) == at:
            (seen[-1]).mkdir(parents=True)
            (seen[-1] / "saved_model.pb").write_bytes(b"other")

    hooks.append(taken_first)
    assert take(tmp_path) == 2
    own = {*version_tree(2)}
    other = str(seen[at - 1].relative_to(tmp_path))
    assert tree(tmp_path) == sorted(own | {other, f"{other}/saved_model.pb"})
    assert (seen[at - 1] / "saved_model.pb").read_bytes() == b"other"


def test_a_file_that_another_writer_took_is_kept(renames, tmp_path) -> None:
    """A rename would replace it without a word."""
    file = tmp_path / "program-1.tflite"
    renames[1].append(lambda count: file.write_bytes(b"other") if count == 1 else None)
    assert take(tmp_path) == 2
    assert file.read_bytes() == b"other"
    assert tree(tmp_path) == sorted({*version_tree(2), "program-1.tflite"})
