"""Waiting for other threads: for what they bring about, never for a time that should be enough."""

import gc
import signal
import threading
import time
from contextlib import contextmanager

# Much longer than a busy machine takes: only a test that fails waits so long.
PATIENCE = 60.0


def wait_until(true):
    """Returns when a condition that another thread or process brings about is true."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, f"it is not so after {PATIENCE:g} seconds"
        time.sleep(0.01)


@contextmanager
def ctrl_c():
    """Gives a function for other threads, which interrupts the main thread once and returns then.

    A signal that comes right before the main thread starts to wait for a lock is seen only when
    the next one comes, so it is sent again until the main thread has been interrupted. Garbage is
    not collected meanwhile: Python ignores an interrupt that comes while something is finalized.
    """
    interrupted = threading.Event()

    def interrupt(number, frame):
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def press():
        interrupted.clear()
        until = time.monotonic() + PATIENCE
        while not interrupted.wait(0.02):
            assert time.monotonic() < until
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    gc.collect()
    gc.disable()
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield press
    finally:
        signal.signal(signal.SIGINT, before)
        gc.enable()
