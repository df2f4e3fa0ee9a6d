"""FolderWatch: looks for new versions again and again."""

from __future__ import annotations

import logging
import threading

from keras_reprogram.serving.model_versions import ModelVersions

_log = logging.getLogger("keras_reprogram.serving")


class FolderWatch:
    """A thread that refreshes versions.

    Args:
        versions: what is refreshed.
        seconds: between two looks.
    """

    def __init__(self, versions: ModelVersions, seconds: float) -> None:
        self._versions, self._seconds = versions, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more; a version that is being loaded is waited for."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._versions.refresh()
            except OSError as error:
                # A folder that is moved away, or whose files go while they are looked at.
                _log.warning("The folder cannot be read: %s", error)
