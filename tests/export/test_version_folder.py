"""Versions count up, appear whole, and are never replaced."""

import threading

import pytest
from small_models import small_model

from keras_reprogram import export_saved_model
from keras_reprogram.export import saved_model, version_folders
from keras_reprogram.files import folder_aside

SAMPLES = ["batching.config", "models.config", "serve.sh"]

pytestmark = pytest.mark.usefixtures("unchecked")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.slow
def test_versions_count_up_can_be_chosen_and_are_never_replaced(model, tmp_path) -> None:
    for other in ("3", "²", "notes"):
        (tmp_path / other).mkdir()
    assert export_saved_model(model, tmp_path, version=7).name == "7"
    before = (tmp_path / "7" / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match=r"7 exists already.*`version=`"):
        export_saved_model(model, tmp_path, version=7)
    assert export_saved_model(model, tmp_path).name == "8"
    assert (tmp_path / "7" / "saved_model.pb").read_bytes() == before
    assert names(tmp_path) == sorted(["3", "7", "8", *SAMPLES, "notes", "²"])


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True])
def test_a_version_is_a_positive_integer(version, model, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"`version` must be a positive integer.*Received: "):
        export_saved_model(model, tmp_path, version=version)
    assert names(tmp_path) == []


@pytest.mark.slow
def test_two_writers_take_two_versions(model, tmp_path, monkeypatch) -> None:
    both_written = threading.Barrier(2, timeout=120)
    take = version_folders.take_version
    monkeypatch.setattr(
        saved_model, "take_version", lambda *arguments: (both_written.wait(), take(*arguments))[1]
    )
    taken = []
    writers = [
        threading.Thread(target=lambda: taken.append(export_saved_model(model, tmp_path).name))
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(taken) == ["1", "2"]
    assert names(tmp_path) == ["1", "2", *SAMPLES]


@pytest.fixture
def other_writer(tmp_path, monkeypatch):
    """Someone who takes version 1 between the look and the rename; gives what we wrote."""
    written = tmp_path / ".part"
    written.mkdir()
    (written / "saved_model.pb").write_bytes(b"x")
    rename = type(written).rename

    def taken_first(self, target):
        if not (tmp_path / "1").exists():
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "saved_model.pb").write_bytes(b"other")
        return rename(self, target)

    monkeypatch.setattr(type(written), "rename", taken_first)
    return written


def test_a_version_that_another_writer_took_is_skipped(other_writer, tmp_path) -> None:
    assert version_folders.take_version(other_writer, tmp_path).name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"other"


def test_a_chosen_version_that_another_writer_took_is_refused(other_writer, tmp_path) -> None:
    with pytest.raises(FileExistsError):
        version_folders.take_version(other_writer, tmp_path, 1)
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"other"


def test_folders_that_were_there_stay_when_writing_fails(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    with (
        pytest.raises(OSError, match="full"),
        folder_aside(tmp_path / "there" / "new" / "base") as aside,
    ):
        (aside / "variables").mkdir(parents=True)
        raise OSError("full")
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == []
