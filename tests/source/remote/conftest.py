"""Repetitions do not keep tests waiting."""

import pytest

from keras_reprogram.source.remote import retries


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 0.05)
