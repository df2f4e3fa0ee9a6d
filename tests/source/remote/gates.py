"""Gate: the answers of fake services wait for what a test does, not for a time."""

import math
import threading
import time
from contextlib import contextmanager

from waiting import PATIENCE

from keras_reprogram.source.remote import dispatch


class Gate:
    """Holds the requests of fakes in flight until it is opened, or until so many came.

    `arrivals` are the times at which they came.
    """

    def __init__(self, *fakes, opens_at=math.inf):
        self.arrivals, self._opens_at, self._is_open = [], opens_at, False
        self._changed = threading.Condition()
        for fake in fakes:
            self._hold(fake)

    def open(self):
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait_for(self, count):
        """Returns when so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.arrivals) >= count, PATIENCE)

    def open_at_stop(self, monkeypatch):
        """Opens the gate when an error or Ctrl-C has stopped the call that is under way."""
        gate = self

        class OpeningStop(dispatch.Stop):
            def set(self):
                super().set()
                gate.open()

        monkeypatch.setattr(dispatch, "Stop", OpeningStop)
        return self

    def _hold(self, fake):
        in_flight = fake.in_flight

        @contextmanager
        def held():
            with in_flight() as together:
                self._wait()
                yield together

        fake.in_flight = held

    def _wait(self):
        with self._changed:
            self.arrivals.append(time.monotonic())
            self._is_open |= len(self.arrivals) >= self._opens_at
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_open, PATIENCE)
