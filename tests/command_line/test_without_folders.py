"""Pages name files, not the folders of the machine that made them."""

from pathlib import Path

import pytest

from keras_reprogram.command_line.without_folders import without_folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60 image files in the folder /srv/data/signs.", "60 image files in the folder signs."),
        ("Received: '/srv/data/a.keras', no file.", "Received: 'a.keras', no file."),
        ("~/models/a.keras:source", "a.keras:source"),
        (r"C:\\models\\a.keras", "a.keras"),
        (f"{Path.home()}/x y/a.keras", "x y/a.keras"),
        # Neither fractions nor addresses nor class names are paths.
        ("4/7 of 1/256; n/a; and/or", "4/7 of 1/256; n/a; and/or"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("MobileNetV2", "MobileNetV2"),
        ("/slash", "/slash"),
    ],
)
def test_folders_are_left_out(text: str, expected: str) -> None:
    assert without_folders(text.replace("\\\\", "\\")) == expected


def test_inside_of_what_holds_texts() -> None:
    facts = {"a": ["in /srv/my data/set", 3, None], "b": {"c": "/srv/my data/set"}}
    found = without_folders(facts, ("/srv/my data/set",))
    assert found == {"a": ["in set", 3, None], "b": {"c": "set"}}
