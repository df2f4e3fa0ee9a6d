"""Pages name files, not the folders of the machine that made them."""

from pathlib import Path

import pytest

from keras_reprogram.command_line.run_page import without_folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60 image files in the folder /srv/data/signs.", "60 image files in the folder signs."),
        ("Received: '/srv/data/a.keras', no file.", "Received: 'a.keras', no file."),
        ("~/models/a.keras:source", "a.keras:source"),
        (r"C:\models\a.keras", "a.keras"),
        (f"{Path.home()}/x y/a.keras", "x y/a.keras"),
        ("file:///home/me/models/x.keras", "x.keras"),
        ("Received:/home/me/data/a.keras", "Received:a.keras"),
        ("../me/secret/x.keras", "x.keras"),
        (r"\\server\share\x.keras", "x.keras"),
        # Neither fractions nor addresses nor class names are paths.
        ("4/7 of 1/256; n/a; and/or", "4/7 of 1/256; n/a; and/or"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("MobileNetV2", "MobileNetV2"),
        ("/slash", "/slash"),
        (
            "80%/10%/10% (yes)/(no)/(maybe) 3/4/2020 a/b/c",
            "80%/10%/10% (yes)/(no)/(maybe) 3/4/2020 a/b/c",
        ),
        (r"\alpha\beta", r"\alpha\beta"),
    ],
)
def test_folders_are_left_out(text: str, expected: str) -> None:
    assert without_folders(text) == expected


def test_own_folders_are_whole_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, text, expected in (
        ("/", "https://example.org/a/b", "https://example.org/a/b"),
        ("/srv", "see https://host/srv/models/a", "see https://host/srv/models/a"),
        ("/srv/my own", "in /srv/my own/signs", "in signs"),
    ):
        monkeypatch.setattr(Path, "cwd", lambda folder=folder: Path(folder))
        assert without_folders(text) == expected
    assert without_folders("data/ab/c", ("data/a",)) == "data/ab/c"

    def gone() -> Path:
        raise FileNotFoundError("no such folder")

    monkeypatch.setattr(Path, "cwd", gone)
    assert without_folders("in /a/b") == "in b"


def test_inside_of_what_holds_texts() -> None:
    facts = {"a": ["in /srv/my data/set", 3, None], "b": {"c": "/srv/my data/set"}}
    found = without_folders(facts, ("/srv/my data/set",))
    assert found == {"a": ["in set", 3, None], "b": {"c": "set"}}
