"""Repetitions do not keep tests waiting."""

import pytest

from keras_reprogram.source.remote import dispatch


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(dispatch, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(dispatch, "_LONGEST_WAIT", 0.05)
