"""ModelVersions: which versions of a folder are wanted and loaded, and their status."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from keras_reprogram.export.version_folders import SPLIT_PARTS
from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.servable import Servable

_log = logging.getLogger("keras_reprogram.serving")


@dataclass(frozen=True)
class VersionStatus:
    """The status of a version, in TF Serving's terms.

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
        """The version that answers unless another is asked for."""
        return self.find(self.model_name)

    def find(
        self, model_name: str, version: int | None = None, label: str | None = None
    ) -> Servable:
        """The version that a request means."""
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
        """Status of one version or of all, the newest first."""
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
        """Scans the folder once: loads wanted versions and unloads others."""
        with self._refreshing:
            wanted = self.policy.chosen(self.folder.versions())
            for version in wanted:
                if version not in self._servables:
                    self._try(version)
            if self._servables.keys() & set(wanted):
                for version in self._servables.keys() - set(wanted):
                    self._let_go(version)

    def change(self, policy: VersionPolicy, labels: Mapping[str, int]) -> None:
        """Changes policy and labels; if a label's version does not answer, the policy alone."""
        # TF Serving does the same.
        with self._refreshing:
            self.policy = policy
            self.refresh()
            self.check_labels(labels)
            self.labels = dict(labels)

    def check_labels(self, labels: Mapping[str, int]) -> None:
        """Refuses labels of versions that do not answer."""
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


class ModelFolder:
    """A folder of version folders, or of `program/` and `output_map/`, each with versions."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_dir():
            raise ValueError(
                "The folder to serve must hold version folders (1, 2, ...), each a SavedModel. "
                f"Received: {path}, which is not a folder. Check the path."
            )
        self.is_split = all((self.path / half).is_dir() for half in SPLIT_PARTS)
        if not self.versions():
            raise ValueError(self._nothing_found())

    def versions(self) -> list[int]:
        """The numbers of all versions, sorted; of halves those that have both."""
        if not self.is_split:
            return sorted(_numbered(self.path))
        program, output_map = (_numbered(self.path / half) for half in SPLIT_PARTS)
        return sorted(program.keys() & output_map.keys())

    def folders(self, version: int) -> tuple[Path, ...]:
        """The folder of a version, or those of its program and output map."""
        bases = [self.path / half for half in SPLIT_PARTS] if self.is_split else [self.path]
        return tuple(_numbered(base).get(version, base / str(version)) for base in bases)

    def mark(self, version: int) -> tuple[object, ...]:
        """A value that changes when the files of a version do."""
        files = [file for base in self.folders(version) for file in sorted(base.rglob("*"))]
        stats = [(str(file), file.stat()) for file in files if file.is_file()]
        return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def _nothing_found(self) -> str:
        if (self.path / "saved_model.pb").is_file():
            return (
                "The folder to serve must hold version folders (1, 2, ...). Received: "
                f"{self.path}, which is one SavedModel. Serve the folder above it if its name is a "
                "number, else move it into a folder named 1."
            )
        entries = sorted(
            f"{one.name}/" if one.is_dir() else one.name for one in self.path.iterdir()
        )
        found = ", ".join(entries[:10]) + (", ..." if len(entries) > 10 else "") or "nothing"
        return (
            "The folder to serve must hold version folders (1, 2, ...), each a SavedModel, or the "
            f"two halves program/ and output_map/ with versions. Received: {self.path} with "
            f"{found}. Export a model there: `export_saved_model` or `export_halves` in Python, "
            "`keras-reprogram export RUN --output DIR` on the command line."
        )


def _numbered(base: Path) -> dict[int, Path]:
    """Version -> folder. As in TF Serving, 00000123 is version 123."""
    names = [one for one in base.iterdir() if one.name.isascii() and one.name.isdigit()]
    return {int(one.name): one for one in names if one.is_dir() and int(one.name) > 0}


@dataclass(frozen=True)
class VersionPolicy:
    """The newest versions, certain ones, or all."""

    newest: int | None = 1
    only: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.only, 1 if self.newest is None else self.newest)
        if any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in numbers):
            raise ValueError(
                "Versions must be 'latest', 'all', or positive integers. "
                f"Received: {self.only or self.newest!r}."
            )

    @classmethod
    def of(cls, versions: str | int | Collection[int]) -> VersionPolicy:
        """A policy from `"latest"`, `"all"`, a version, or several."""
        if isinstance(versions, str):
            if versions not in ("latest", "all"):
                raise ValueError(
                    "Versions must be 'latest', 'all', or positive integers. "
                    f"Received: {versions!r}."
                )
            return cls(1 if versions == "latest" else None)
        only = (versions,) if isinstance(versions, int) else tuple(versions)
        if not only:
            raise ValueError("Name at least one version to serve. Received: none.")
        return cls(None, only)

    def chosen(self, found: Collection[int]) -> list[int]:
        """The versions to serve out of those found."""
        if self.only:
            return sorted(set(self.only) & set(found))
        return sorted(found)[-self.newest :] if self.newest else sorted(found)


class FolderWatch:
    """A thread that refreshes versions."""

    def __init__(self, versions: ModelVersions, seconds: float) -> None:
        self._versions, self._seconds = versions, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def start(self) -> None:
        """Starts watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stops watching; waits for a version that is being loaded."""
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
