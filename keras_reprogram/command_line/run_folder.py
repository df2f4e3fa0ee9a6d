"""Reads and writes the folder of a training run."""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_reprogram.command_line.options import check_folder
from keras_reprogram.command_line.source_settings import SourceSettings
from keras_reprogram.command_line.target_settings import TargetSettings
from keras_reprogram.files import (
    folder_aside,
    replace_folder,
    take_free_name,
    write_whole_file,
)

if TYPE_CHECKING:
    from keras_reprogram.asking.image_reading import ImageReading
    from keras_reprogram.command_line.sources import ResolvedSource
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.program import Vocabulary


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
        """Loads the source that the run was trained on."""
        from keras_reprogram.command_line.sources import resolve_source

        source = self.facts["source"]
        return resolve_source(
            source["spec"],
            opaque=source["opaque"],
            settings=self.source_settings,
            features=source["features"],
        )

    @property
    def source_settings(self) -> SourceSettings:
        """Settings of the source's file; empty if the source is not a file."""
        source = self.facts["source"]
        is_file = Path(source["spec"]).expanduser().exists()
        return SourceSettings.from_facts(source) if is_file else SourceSettings()

    def load_model(
        self, resolved: ResolvedSource, *, check_probe: bool = True
    ) -> ReprogrammedModel:
        """Joins the run's program to its source."""
        from keras_reprogram.arguments import is_image
        from keras_reprogram.command_line.beside import with_beside
        from keras_reprogram.datasets.image_files import PICTURE_RANGE
        from keras_reprogram.model.program_file import load_program

        shape = tuple(self.facts["target"]["target_shape"])
        source = with_beside(
            resolved.source,
            self.facts["options"].get("beside"),
            shape,
            self.target_range or (PICTURE_RANGE if is_image(shape) else None),
        )
        return load_program(self.folder / PROGRAM, source, check_probe=check_probe)

    def check_images(self, what: str) -> None:
        """Refuses a run of series or texts where image files are read."""
        from keras_reprogram.arguments import is_image

        shape = tuple(self.facts["target"]["target_shape"])
        if not is_image(shape):
            kind = "series" if self.vocabulary is None else "texts"
            raise ValueError(
                f"{what} reads image files. Received: {self.folder}, a run of {kind} {shape}. Use "
                "`load_program` in Python, or an export."
            )

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary of a run of texts, `None` of others."""
        from keras_reprogram.model.program_file import read_description

        config = read_description(self.folder / PROGRAM)["program"]["config"].get("vocabulary")
        if config is None:
            return None
        from keras_reprogram.program import Vocabulary

        return Vocabulary.from_config(config["config"])

    @property
    def target_range(self) -> tuple[float, float] | None:
        """The range of the images that the run's program takes, `None` if it does not say."""
        from keras_reprogram.model.program_file import read_description

        config = read_description(self.folder / PROGRAM)["program"]["config"]
        if config.get("target_range") is None:
            return None
        low, high = config["target_range"]
        return float(low), float(high)

    @property
    def image_reading(self) -> ImageReading:
        """How the run's program reads image files."""
        from keras_reprogram.asking.image_reading import ImageReading
        from keras_reprogram.model.program_file import read_description

        return ImageReading.from_facts(read_description(self.folder / PROGRAM).get("image_reading"))

    def load_target(self) -> TargetData:
        """Loads the images that the run was trained and tested on."""
        from keras_reprogram.datasets.target_data import Draw

        target, seed = self.facts["target"], self.facts["seed"]
        return TargetSettings.from_facts(target).load(
            target["spec"],
            Draw(target["train_images"], target["test_images"], seed),
            image_size=target["target_size"],
            seed=seed,
            target_range=self.target_range,
            reading=self.image_reading,
            vocabulary=self.vocabulary,
        )


def read_run(folder: str | Path) -> Run:
    """Reads a run folder."""
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
    """Whether a folder is a run folder."""
    return (folder / FACTS).is_file() and (folder / PROGRAM).is_file()


PROGRAM = "program.reprogram"
FACTS = "run.json"
REPORT = "report.html"
FORMAT = 1


def check_run_name(name: str) -> None:
    """Refuses a run name that is not a single folder name."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(
            "A run's name must be the name of a folder, without a path or a leading dot. "
            f"Received: {name!r}. Choose the parent folder with --output."
        )


class RunDraft:
    """A run folder that stays hidden until it holds a trained program.

    Args:
        output: holds the run folders; made if needed.
        name: the run's name. If it is taken, `-2`, `-3` ... is added.
        overwrite: replace the folder of that name instead.
    """

    def __init__(self, output: str | Path, name: str, overwrite: bool) -> None:
        check_run_name(name)
        self.output, self.name, self.overwrite = Path(output).expanduser(), name, overwrite
        check_folder(self.output)
        self._refuse_foreign_folder()
        self._aside = contextlib.ExitStack()
        self.folder = self._aside.enter_context(folder_aside(self.output))
        self.folder.mkdir()

    @property
    def program(self) -> Path:
        """Temporary path of the program file until `finish`."""
        return self.folder / PROGRAM

    @property
    def report(self) -> Path:
        """Temporary path of the report until `finish`."""
        return self.folder / REPORT

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Writes `run.json`."""
        write_json(self.folder / FACTS, {"format": FORMAT, **facts})

    def finish(self) -> Path:
        """Gives the folder its name."""
        if self.overwrite:
            self._refuse_foreign_folder()
            return replace_folder(self.folder, self.output / self.name)
        further = (f"{self.name}-{number}" for number in itertools.count(2))
        names = itertools.chain([self.name], further)
        return take_free_name(self.folder, (self.output / name for name in names))

    def discard(self) -> None:
        """Removes the folder, if it never got its name."""
        self._aside.close()

    def _refuse_foreign_folder(self) -> None:
        target = self.output / self.name
        if self.overwrite and target.exists() and not (target / FACTS).is_file():
            raise FileExistsError(
                f"{target} exists and is not a run folder (it has no {FACTS}), so --overwrite "
                "leaves it alone. Choose another --name."
            )


def write_json(path: Path, content: Any) -> None:
    """Writes figures to a JSON file, atomically."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole_file(path, f"{text}\n".encode())


def check_json_path(path: Path | None) -> None:
    """Refuses a path for figures that cannot be written, before anything is measured."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ValueError(
            "--json must be a file in a folder that exists. "
            f"Received: {path}. Make the folder, or choose another file."
        )
