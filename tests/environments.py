"""Virtual environments of the tests' own, for packages that the one of the tests has not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


class Environments:
    """Virtual environments in a folder, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def kept_or_in(cls, folder: Path) -> Environments:
        """They take minutes to install: set KERAS_REPROGRAM_RUNTIMES to a folder to keep them."""
        kept = os.environ.get("KERAS_REPROGRAM_RUNTIMES")
        return cls(Path(kept) if kept else folder)

    def python(self, *packages: str, options: tuple[str, ...] = (), seeing: bool = False) -> Path:
        """The Python of the environment with these packages.

        Args:
            packages: with versions that were seen to work together.
            options: further ones of `pip install`.
            seeing: whether it also sees the packages of the environment that runs the tests.
        """
        folder = self.folder / "_".join(package.replace("==", "-") for package in packages)
        python = folder / "bin" / "python"
        if not (folder / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            if seeing:
                (site,) = folder.glob("lib/python*/site-packages")
                places = [place for place in sys.path if place.endswith("-packages")]
                (site / "seen.pth").write_text("\n".join(places))
            command = [str(python), "-m", "pip", "install", "--quiet", *options, *packages]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"pip cannot install {packages}: {done.stderr[-300:]}")
            (folder / "installed").touch()
        return python
