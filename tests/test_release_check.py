"""`make release-check`: what it refuses before it builds anything."""

import runpy
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(REPOSITORY / ".ci" / "release_check.py"))
version_faults = SCRIPT["version_faults"]


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "keras_reprogram").mkdir()
    (tmp_path / "keras_reprogram" / "version.py").write_text('"""V."""\n\n__version__ = "1.2.0"\n')
    return tmp_path


def changelog(repository, heading):
    (repository / "CHANGELOG.md").write_text(
        f"# Changelog\n\n{heading}\n\n## [0.9.0] - 2026-01-02\n"
    )


def test_this_repository_agrees_with_itself():
    assert version_faults(REPOSITORY, []) == []


def test_a_version_that_agrees_passes(repository):
    changelog(repository, "## [1.2.0] - 2026-12-01")
    assert version_faults(repository, ["v1.2.0", "measured"]) == []


def test_another_version_in_the_changelog_is_refused(repository):
    changelog(repository, "## [1.1.0] - 2026-12-01")
    (fault,) = version_faults(repository, [])
    assert "must begin with ## [1.2.0]" in fault


def test_another_tag_and_a_missing_date_are_refused(repository):
    changelog(repository, "## [1.2.0] - unreleased")
    assert version_faults(repository, []) == []
    other, undated = version_faults(repository, ["v1.1.0"])
    assert "The tag must be v1.2.0. Received: v1.1.0." in other
    assert "unreleased" in undated


def test_an_interpreter_that_is_not_there_is_none():
    assert SCRIPT["interpreter_version"]("python3.11-that-is-not-there") is None
