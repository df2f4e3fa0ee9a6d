"""A training run in the making: what it leaves, and when it gets its name."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Any

from keras_reprogram.command_line.folder_option import check_folder
from keras_reprogram.command_line.json_file import write_json

PROGRAM = "program.reprogram"
FACTS = "run.json"
REPORT = "report.html"
FORMAT = 1


class RunDraft:
    """A run folder in the making: hidden beside its place until it is worth a name.

    Args:
        output: holds the run folders; made if needed.
        name: the run's name. If it is taken, `-2`, `-3` ... is added.
        overwrite: replace the folder of that name instead.

    Raises:
        ValueError: for a name that is not one folder's name.
        FileExistsError: if `overwrite` would replace something that is not a run folder.
        OSError: if the folder cannot be made.

    Example:
    ```python
    from keras_reprogram.command_line.run_draft import RunDraft

    draft = RunDraft("runs", "digits", overwrite=False)
    draft.write_facts({"seed": 0})
    print(draft.finish())  # runs/digits
    ```
    """

    def __init__(self, output: str | Path, name: str, overwrite: bool) -> None:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(
                "A run's name must be the name of a folder, without a path or a leading dot. "
                f"Received: {name!r}. Say where it goes with --output."
            )
        self.output, self.name, self.overwrite = Path(output).expanduser(), name, overwrite
        check_folder(self.output)
        self._refuse_foreign_folder()
        self._made_output = not self.output.exists()
        self.output.mkdir(parents=True, exist_ok=True)
        self.folder = self.output / f".{secrets.token_hex(8)}.part"
        self.folder.mkdir()

    @property
    def program(self) -> Path:
        """Where the program file waits for `finish`."""
        return self.folder / PROGRAM

    @property
    def report(self) -> Path:
        """Where the report waits for `finish`."""
        return self.folder / REPORT

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Writes `run.json`.

        Args:
            facts: plain values.
        """
        write_json(self.folder / FACTS, {"format": FORMAT, **facts})

    def finish(self) -> Path:
        """Gives the folder its name.

        Returns:
            Where it is now.
        """
        if self.overwrite:
            return self._replace(self.output / self.name)
        number = 1
        while True:
            suffix = "" if number == 1 else f"-{number}"
            target = self.output / f"{self.name}{suffix}"
            if not target.exists():
                try:
                    return self.folder.rename(target)
                except OSError:
                    # Another run took the name between the two lines.
                    if not target.exists():
                        raise
            number += 1

    def discard(self) -> None:
        """Removes the folder, if it never got its name."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._made_output:
            with contextlib.suppress(OSError):  # It holds a finished run.
                self.output.rmdir()

    def _refuse_foreign_folder(self) -> None:
        target = self.output / self.name
        if self.overwrite and target.exists() and not (target / FACTS).is_file():
            raise FileExistsError(
                f"{target} exists and is not a run folder (it has no {FACTS}), so --overwrite "
                "leaves it alone. Choose another --name."
            )

    def _replace(self, target: Path) -> Path:
        self._refuse_foreign_folder()
        older = self.output / f".{secrets.token_hex(8)}.old"
        if target.exists():
            target.rename(older)
        self.folder.rename(target)
        shutil.rmtree(older, ignore_errors=True)
        return target
