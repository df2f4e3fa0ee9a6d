"""ModelFolder: the versions that lie in a folder, of a whole model or of its two halves."""

from __future__ import annotations

from pathlib import Path

from keras_reprogram.export.half_versions import HALVES


class ModelFolder:
    """A folder of version folders, or of `program/` and `output_map/`, each with versions.

    Args:
        path: the folder.

    Raises:
        ValueError: if there is no version in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_dir():
            raise ValueError(
                "The folder to serve must hold version folders (1, 2, ...), each a SavedModel. "
                f"Received: {path}, which is not a folder. Check the path."
            )
        self.halved = all((self.path / half).is_dir() for half in HALVES)
        if not self.versions():
            raise ValueError(self._nothing_found())

    def versions(self) -> list[int]:
        """The numbers of all versions, sorted; of halves those that have both."""
        if not self.halved:
            return sorted(_numbered(self.path))
        program, output_map = (_numbered(self.path / half) for half in HALVES)
        return sorted(program.keys() & output_map.keys())

    def folders(self, version: int) -> tuple[Path, ...]:
        """Where a version lies: its folder, or those of program and output map.

        Args:
            version: one of `versions()`.
        """
        bases = [self.path / half for half in HALVES] if self.halved else [self.path]
        return tuple(_numbered(base).get(version, base / str(version)) for base in bases)

    def mark(self, version: int) -> tuple[object, ...]:
        """What changes when the files of a version do.

        Args:
            version: one of `versions()`.
        """
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
