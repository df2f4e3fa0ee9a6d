"""ModelVersions: what is loaded of a folder, what is wanted, and what became of the rest."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keras_reprogram.serving.model_folder import ModelFolder
from keras_reprogram.serving.servable import Servable
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.version_policy import VersionPolicy

_log = logging.getLogger("keras_reprogram.serving")


@dataclass(frozen=True)
class VersionStatus:
    """What became of a version, in TF Serving's words.

    Args:
        version: its number.
        state: `"LOADING"`, `"AVAILABLE"` or `"END"`.
        error_code: gRPC's name; `"OK"` if nothing is wrong.
        error_message: why it could not be loaded, or `""`.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


class ModelVersions:
    """The versions of one model.

    A version that is wanted is loaded beside the others and takes over when it can answer; only
    then are those let go that are wanted no more. One that cannot be loaded changes nothing, and
    is tried again when its files change. Requests keep the version that they began with.

    Args:
        folder: where versions lie.
        model_name: what clients call it.
        load: makes a `Servable` of a version's number.
        policy: which versions are wanted.
        labels: label -> version.

    Attributes:
        model_name: as given.
        policy: as given, or as changed.
        labels: as given, or as changed.
    """

    def __init__(
        self,
        folder: ModelFolder,
        model_name: str,
        load: Callable[[int], Servable],
        policy: VersionPolicy,
        labels: Mapping[str, int],
    ) -> None:
        self.folder, self.model_name, self.policy = folder, model_name, policy
        self.labels, self._load = dict(labels), load
        self._servables: dict[int, Servable] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._failed: dict[int, tuple[object, ...]] = {}
        self._refreshing = threading.RLock()

    @property
    def available(self) -> list[int]:
        """Numbers of the versions that answer, sorted."""
        return sorted(self._servables)

    def latest(self) -> Servable:
        """The version that answers unless another is asked for.

        Raises:
            ServingError: if there is none.
        """
        return self.find(self.model_name)

    def find(
        self, model_name: str, version: int | None = None, label: str | None = None
    ) -> Servable:
        """The version that a request means.

        Args:
            model_name: as sent.
            version: as sent, or `None`.
            label: as sent, or `None`.

        Raises:
            ServingError: in TF Serving's words.
        """
        if not model_name:
            raise ServingError("ModelSpec has no name specified.")
        if label is not None:
            version = self._labelled(model_name, label)
        # A copy: a version may come or go meanwhile.
        servables = dict(self._servables) if model_name == self.model_name else {}
        wanted = max(servables, default=None) if version is None else version
        if wanted not in servables:
            one = f"Specific({model_name}, {version})"
            which = f"Latest({model_name})" if version is None else one
            raise ServingError(f"Servable not found for request: {which}", "NOT_FOUND")
        return servables[wanted]

    def statuses(
        self, model_name: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """What became of one version or of all, the newest first.

        Args:
            model_name: as sent.
            version: as sent, or `None`.
            label: as sent, or `None`.

        Raises:
            ServingError: in TF Serving's words.
        """
        if label is not None:
            version = self._labelled(model_name, label)
        known = dict(self._statuses) if model_name == self.model_name else {}
        if version is None and not known:
            raise ServingError(f"Could not find any versions of model {model_name}", "NOT_FOUND")
        if version is not None and version not in known:
            raise ServingError(
                f"Could not find version {version} of model {model_name}", "NOT_FOUND"
            )
        return [known[one] for one in sorted(known, reverse=True) if version in (None, one)]

    def refresh(self) -> None:
        """Looks at the folder once: loads what is wanted, lets go what is not."""
        with self._refreshing:
            wanted = self.policy.chosen(self.folder.versions())
            for version in wanted:
                if version not in self._servables:
                    self._try(version)
            if self._servables.keys() & set(wanted):
                for version in self._servables.keys() - set(wanted):
                    self._let_go(version)

    def change(self, policy: VersionPolicy, labels: Mapping[str, int]) -> None:
        """Wants other versions from now on, and gives labels anew.

        Args:
            policy: which versions.
            labels: label -> version; replaces all labels.

        Raises:
            ServingError: if a label's version does not answer; the policy then stays changed, as
                in TF Serving, and the labels as they were.
        """
        with self._refreshing:
            self.policy = policy
            self.refresh()
            self.check_labels(labels)
            self.labels = dict(labels)

    def check_labels(self, labels: Mapping[str, int]) -> None:
        """Refuses labels of versions that do not answer.

        Args:
            labels: label -> version.

        Raises:
            ServingError: in TF Serving's words.
        """
        for version in labels.values():
            if version not in self._servables:
                raise ServingError(
                    f"Request to assign label to version {version} of model {self.model_name}, "
                    "which is not currently available for inference",
                    "FAILED_PRECONDITION",
                )

    def _labelled(self, model_name: str, label: str) -> int:
        if model_name != self.model_name or label not in self.labels:
            raise ServingError(f"Unrecognized servable version label: {label}")
        return self.labels[label]

    def _try(self, version: int) -> None:
        mark = self.folder.mark(version)
        if self._failed.get(version) == mark:
            return
        self._statuses[version] = VersionStatus(version, "LOADING")
        try:
            servable = self._load(version)
        # TensorFlow's loader raises whatever a broken file makes of it.
        except Exception as error:
            self._failed[version] = mark
            said = f"{type(error).__name__}: {error}".split("\n", 1)[0][:500]
            code = error.code if isinstance(error, ServingError) else "UNKNOWN"
            self._statuses[version] = VersionStatus(version, "END", code, said)
            _log.error("Version %d cannot be loaded. %s", version, said)
            return
        self._failed.pop(version, None)
        self._servables[version] = servable
        self._statuses[version] = VersionStatus(version, "AVAILABLE")
        _log.info("Version %d is served.", version)

    def _let_go(self, version: int) -> None:
        del self._servables[version]
        self._statuses[version] = VersionStatus(version, "END")
        # TensorFlow's objects refer to each other in circles.
        gc.collect()
        _log.info("Version %d is served no more.", version)
