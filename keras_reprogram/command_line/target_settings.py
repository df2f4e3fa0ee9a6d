"""Settings of a target's files that the files themselves lack, such as `--groups`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.option_groups import with_options

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.datasets.target_data import Draw


class FitKind(StrEnum):
    """What becomes of images whose aspect ratio is not the target's."""

    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class UnitKind(StrEnum):
    """What a token of a text is."""

    WORDS = "words"
    CHARACTERS = "characters"


Groups = Annotated[
    Path | None,
    typer.Option(
        "--groups",
        metavar="FILE",
        help="For a folder: a CSV file with the columns path and group. Images of one group, such "
        "as a patient's, stay on one side of every split.",
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=NAME",
        help="For a table whose columns are not called path (or text), label, group, split and "
        "weight: 'path=Image Index', say. Several label=NAME are findings of 0 and 1.",
    ),
]
Fit = Annotated[
    FitKind,
    typer.Option(
        "--fit",
        metavar="HOW",
        help="For images of another aspect ratio than the target's: stretch changes it, crop cuts "
        "both ends of the longer side, pad adds black. The run keeps it for predict and export.",
    ),
]

TextUnit = Annotated[
    UnitKind | None,
    typer.Option(
        "--text-unit",
        metavar="UNIT",
        help="For a table of texts: the tokens that are remapped, words or characters. "
        "[default: words]",
    ),
]
MinimumCount = Annotated[
    int | None,
    typer.Option(
        "--minimum-count",
        min=1,
        metavar="N",
        help="For a table of texts: tokens that the training part has less often become one "
        "unknown token. [default: 1]",
    ),
]
Lowercase = Annotated[
    bool,
    typer.Option(
        "--lowercase", help="For a table of texts: read capital letters of ASCII as small ones."
    ),
]


@dataclass(frozen=True)
class TargetSettings:
    """What was said of a target's files.

    Args:
        groups: a table of the groups of a folder's images, or `None`.
        columns: role -> headers of a manifest.
        fit: what becomes of other aspect ratios.
        texts: what was said of texts, arguments of `TextReading`.
    """

    groups: str | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    fit: str = "stretch"
    texts: dict[str, Any] = field(default_factory=dict)

    def check(self, target: str) -> None:
        """Refuses an unknown target, and what was said of another kind; opens no image."""
        from keras_reprogram.datasets.load_target import check_target

        check_target(target, **self._said())

    def load(
        self, target: str, draw: Draw | None, *, vocabulary: Any = None, **options: Any
    ) -> TargetData:
        """Loads a target; texts with a vocabulary that is there already, if one is given."""
        from keras_reprogram.datasets import load_target
        from keras_reprogram.datasets.text_table import TextReading

        said = self._said()
        if vocabulary is not None:
            said["texts"] = TextReading(vocabulary=vocabulary)
        return load_target(target, **said, draw=draw, **options)

    def _said(self) -> dict[str, Any]:
        from keras_reprogram.datasets.text_table import TextReading

        texts = TextReading(**self.texts) if self.texts else None
        return {"groups": self.groups, "columns": self.columns, "fit": self.fit, "texts": texts}

    def as_facts(self) -> dict[str, Any]:
        """Plain values for `run.json`, without what was not given."""
        groups = None if self.groups is None else str(Path(self.groups).expanduser().resolve())
        fit = None if self.fit == FitKind.STRETCH else self.fit
        facts = {"groups": groups, "columns": self.columns, "fit": fit, "texts": self.texts}
        return {name: value for name, value in facts.items() if value}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> TargetSettings:
        """The settings that `as_facts` wrote; ignores other keys."""
        return cls(
            facts.get("groups"),
            facts.get("columns", {}),
            facts.get("fit", str(FitKind.STRETCH)),
            facts.get("texts", {}),
        )


def read_target_settings(
    *,
    groups: Groups = None,
    column: Column = None,
    fit: Fit = FitKind.STRETCH,
    text_unit: TextUnit = None,
    minimum_count: MinimumCount = None,
    lowercase: Lowercase = False,
) -> TargetSettings:
    """The options as settings; a ValueError says which of them cannot be read."""
    columns: dict[str, list[str]] = {}
    for text in column or []:
        role, found, name = text.partition("=")
        if not found or not name:
            raise ValueError(
                f"--column must be ROLE=NAME. Received: {text!r}. Write 'path=Image Index', say."
            )
        columns.setdefault(role.strip(), []).append(name)
    unit = None if text_unit is None else str(text_unit)
    texts = {"unit": unit, "minimum_count": minimum_count, "lowercase": lowercase or None}
    return TargetSettings(
        None if groups is None else str(groups),
        columns,
        str(fit),
        {name: value for name, value in texts.items() if value is not None},
    )


def with_target_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `read_target_settings`, in place of `target_settings`."""
    return with_options(command, "target_settings", read_target_settings)
