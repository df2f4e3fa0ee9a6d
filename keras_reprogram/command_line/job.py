"""What `train` was told, and what `run.json` says of it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_reprogram.command_line.source_settings import SourceSettings
from keras_reprogram.command_line.train_options import OutputMapKind, TrainOptions
from keras_reprogram.version import __version__

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.source import Source

_VERSIONS_OF = ("keras", "tensorflow", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Job:
    """Everything `train` was told.

    Args:
        source: `--source` as given.
        target: `--target` as given.
        opaque: use the source's scores only.
        settings: what was said of a source file.
        target_size: side that images of a folder get if they come in several sizes.
        train_images: how many to draw, or `None` for all.
        test_images: the same for the test part.
        seeds: at least one.
        baseline: whether to compare with no source and with a linear head.
        options: the recipe's settings.
        output: holds the run folders.
        name: of the run folder, or `None` for one made of target and source.
        overwrite: replace the run folder of that name.
        json_file: where the figures go too, or `None`.
    """

    source: str
    target: str
    opaque: bool
    settings: SourceSettings
    target_size: int | None
    train_images: int | None
    test_images: int | None
    seeds: tuple[int, ...]
    baseline: bool
    options: TrainOptions
    output: Path
    name: str | None
    overwrite: bool
    json_file: Path | None

    @property
    def run_name(self) -> str:
        """The name that was given, or one made of target and source."""
        if self.name is not None:
            return self.name
        parts = (Path(self.target).name, Path(self.source).stem)
        words = [re.sub(r"[^\w.=]+", "-", part).strip("-.") for part in parts]
        return "-".join(filter(None, words)) or "run"

    @property
    def features(self) -> bool:
        """Whether the source must show its penultimate features."""
        return self.options.output_map == OutputMapKind.NEW_HEAD

    def facts(self, source: Source, target: TargetData) -> dict[str, Any]:
        """What `run.json` says before anything is measured.

        Args:
            source: the loaded source.
            target: the images of the first seed.

        Returns:
            Plain values.
        """
        return {
            "source": {
                "given": self.source,
                "spec": _findable(self.source),
                "opaque": self.opaque,
                **self.settings.as_facts(),
                "value_range": list(source.value_range),
                "features": self.features,
                "fingerprint": source.fingerprint,
                "described": source.describe(),
            },
            "target": {
                "given": self.target,
                "spec": _findable(self.target),
                "name": target.name,
                "origin": target.origin,
                "notes": list(target.notes),
                "class_names": list(target.class_names),
                "target_shape": list(target.target_shape),
                "target_size": self.target_size,
                "train_images": self.train_images,
                "test_images": self.test_images,
            },
            "options": {
                **self.options.as_facts(),
                "epochs": self.options.resolved_epochs(source),
                "learning_rate": self.options.resolved_learning_rate(source),
            },
            "seed": self.seeds[0],
            "seeds": list(self.seeds),
            "versions": {
                "keras_reprogram": __version__,
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in _VERSIONS_OF},
            },
        }


def _findable(text: str) -> str:
    """A path that still leads there from another folder; names stay as they are."""
    path = Path(text).expanduser()
    is_path = path.exists() and (len(path.parts) > 1 or bool(path.suffix) or path.is_dir())
    return str(path.resolve()) if is_path else text
