"""Virtual environments for other people's runtimes, which take minutes to install.

Set KERAS_REPROGRAM_RUNTIMES to a folder to keep them.
"""

import subprocess
import sys
from pathlib import Path

import pytest


class Environments:
    """Virtual environments, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def python(self, packages: tuple[str, ...]) -> Path:
        name = "_".join(package.replace("==", "-") for package in packages)
        folder = self.folder / name
        python = folder / "bin" / "python"
        if not (folder / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            command = [str(python), "-m", "pip", "install", "--quiet", *packages]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"pip cannot install {packages}: {done.stderr[-300:]}")
            (folder / "installed").touch()
        return python
