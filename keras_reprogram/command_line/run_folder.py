"""A finished training run: its folder, read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_reprogram.command_line.run_draft import FACTS, FORMAT, PROGRAM
from keras_reprogram.command_line.source_settings import SourceSettings

if TYPE_CHECKING:
    from keras_reprogram.command_line.source_option import ResolvedSource
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.reprogrammed_model import ReprogrammedModel


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: where it is.
        facts: what `run.json` says.
    """

    folder: Path
    facts: dict[str, Any]

    def open_source(self) -> ResolvedSource:
        """Loads the source that the run was trained on.

        Raises:
            ValueError: if it is no longer there.
        """
        from keras_reprogram.command_line.source_option import resolve_source

        source = self.facts["source"]
        return resolve_source(
            source["spec"],
            opaque=source["opaque"],
            settings=self.source_settings,
            features=source["features"],
        )

    @property
    def source_settings(self) -> SourceSettings:
        """What was said of the source's file; nothing where the source is no file."""
        source = self.facts["source"]
        is_file = Path(source["spec"]).expanduser().exists()
        return SourceSettings.from_facts(source) if is_file else SourceSettings()

    def load_model(
        self, resolved: ResolvedSource, *, check_probe: bool = True
    ) -> ReprogrammedModel:
        """Joins the run's program to its source.

        Args:
            resolved: what `open_source` returned.
            check_probe: whether a source written in Python is asked one query, whether it answers
                as it did.

        Raises:
            ValueError: if the source is another one than the program was trained on.
        """
        from keras_reprogram.program_file import load_program

        return load_program(self.folder / PROGRAM, resolved.source, check_probe=check_probe)

    @property
    def target_range(self) -> tuple[float, float] | None:
        """The range of the images that the run's program takes, `None` if it does not say."""
        from keras_reprogram.program_file import read_description

        config = read_description(self.folder / PROGRAM)["program"]["config"]
        if config.get("target_range") is None:
            return None
        low, high = config["target_range"]
        return float(low), float(high)

    def load_target(self) -> TargetData:
        """Loads the images that the run was trained and tested on.

        Raises:
            ValueError: if they are no longer there.
        """
        from keras_reprogram.datasets import load_target
        from keras_reprogram.datasets.target_data import Draw

        target, seed = self.facts["target"], self.facts["seed"]
        return load_target(
            target["spec"],
            image_size=target["target_size"],
            seed=seed,
            target_range=self.target_range,
            draw=Draw(target["train_images"], target["test_images"], seed),
        )


def read_run(folder: str | Path) -> Run:
    """Reads a run folder.

    Args:
        folder: what `train` wrote.

    Returns:
        A `Run`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is not a run folder, or one of another version.

    Example:
    ```python
    from keras_reprogram.command_line.run_draft import RunDraft
    from keras_reprogram.command_line.run_folder import read_run

    draft = RunDraft("runs", "example", overwrite=True)
    draft.program.touch()
    draft.write_facts({"seed": 0})
    assert read_run(draft.finish()).facts["seed"] == 0
    ```
    """
    folder = Path(folder).expanduser()
    if folder.is_file():
        raise ValueError(
            f"RUN must be a run folder. Received: {folder}, a file. Write the path that "
            "`keras-reprogram train` printed."
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no run folder {folder}. Write the path that `keras-reprogram train` printed."
        )
    if not is_run(folder):
        raise ValueError(
            f"{folder} is not a run folder: it must hold {FACTS} and {PROGRAM}. "
            "Write the path that `keras-reprogram train` printed."
        )
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / FACTS} is corrupt: {error}. Train again.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ValueError(
            f"{folder / FACTS} is not of format {FORMAT}, which this version reads. Train again, "
            "or use the version that wrote it."
        )
    return Run(folder, facts)


def is_run(folder: Path) -> bool:
    """Whether a folder holds what a training run leaves.

    Args:
        folder: any path.
    """
    return (folder / FACTS).is_file() and (folder / PROGRAM).is_file()
