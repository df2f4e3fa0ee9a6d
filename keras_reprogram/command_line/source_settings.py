"""Settings of a source file that the file itself lacks, such as `--value-range`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_reprogram.command_line.option_groups import with_options
from keras_reprogram.source.class_names import read_class_names

_AUTO, _NONE = "auto", "none"

ValueRange = Annotated[
    str | None,
    typer.Option(
        "--value-range",
        metavar="LOW,HIGH",
        help="Range of the pixels that a source file expects: 0,255 or 0,1 or -1,1. Required for "
        "files with float inputs, which do not state it.",
    ),
]
Scores = Annotated[
    str | None,
    typer.Option(
        "--scores",
        metavar="KIND",
        help="Kind of a source file's scores, such as probabilities or logits. "
        "[default: as a Keras model declares, else probabilities]",
    ),
]
SumTolerance = Annotated[
    str | None,
    typer.Option(
        "--sum-tolerance",
        metavar="X",
        help="Largest deviation of a row's sum of probabilities from 1; none allows any sum.",
    ),
]
ScoreStep = Annotated[
    float | None,
    typer.Option(
        "--score-step",
        min=0.0,
        metavar="X",
        help="Rounding step of the scores of a SavedModel or an ONNX file.",
    ),
]
ScoreOutput = Annotated[
    str | None,
    typer.Option(
        "--score-output",
        metavar="NAME",
        help="Output of a SavedModel's signature or an ONNX file that holds the scores.",
    ),
]
Signature = Annotated[
    str | None,
    typer.Option(
        "--signature",
        metavar="NAME",
        help="Signature of a SavedModel to call. [default: serving_default]",
    ),
]
DataFormat = Annotated[
    str | None,
    typer.Option(
        "--data-format",
        metavar="ORDER",
        help="channels_first for a file that takes images as (channels, height, width).",
    ),
]
ChannelOrder = Annotated[
    str | None,
    typer.Option(
        "--channel-order",
        metavar="ORDER",
        help="bgr for a source file that takes blue before red (Custom Vision's exports).",
    ),
]
PixelScale = Annotated[
    str | None,
    typer.Option(
        "--pixel-scale",
        metavar="X|R,G,B",
        help="Factor from pixels in --value-range to what a source file takes, for "
        "all channels or each of them, in the order of --channel-order. [default: 1]",
    ),
]
PixelOffset = Annotated[
    str | None,
    typer.Option(
        "--pixel-offset",
        metavar="X|R,G,B",
        help="What is added to the scaled pixels, likewise. [default: 0]",
    ),
]
SourceSize = Annotated[
    str | None,
    typer.Option(
        "--source-size",
        metavar="N|H,W",
        help="Size of source images, for a file that takes images of any size.",
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--class-names",
        metavar="FILE",
        help="Text file of the names of a source file's scores, one a line (Teachable Machine's "
        "labels.txt, say).",
    ),
]


@dataclass(frozen=True)
class SourceSettings:
    """Settings of a source file; `None` for those that were not given.

    Args:
        value_range: `(low, high)` of the pixels that it expects.
        scores: kind of its scores.
        sum_tolerance: how far a row may sum from 1, or `"none"` for no check.
        score_step: distance of neighbouring scores.
        score_output: name of the output that holds the scores.
        signature: name of the signature.
        data_format: order of its axes.
        channel_order: order of its channels.
        pixel_scale: factor of its preprocessing, a number for all channels or one for each.
        pixel_offset: what its preprocessing adds, likewise.
        source_size: `(height, width)` of source images.
        class_names: names of its scores.
    """

    value_range: tuple[float, float] | None = None
    scores: str | None = None
    sum_tolerance: float | str | None = None
    score_step: float | None = None
    score_output: str | None = None
    signature: str | None = None
    data_format: str | None = None
    source_size: tuple[int, int] | None = None
    channel_order: str | None = None
    pixel_scale: tuple[float, ...] | None = None
    pixel_offset: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given, as they are written."""
        return tuple(
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if getattr(self, field.name) is not None
        )

    def refuse(self, text: str, why: str, *allowed: str) -> None:
        """Refuses options that a kind of source does not take."""
        wrong = [option for option in self.given if option not in allowed]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is not for this source: {why}. Received: {', '.join(wrong)} beside "
                f"{text}. Leave {'it' if len(wrong) == 1 else 'them'} out."
            )

    def arguments(self, *names: str) -> dict[str, Any]:
        """The given ones among `names`, as arguments of a source."""
        renamed = {"scores": "score_kind", "score_output": "output", "source_size": "image_size"}
        found = {
            renamed.get(name, name): getattr(self, name)
            for name in names
            if getattr(self, name, None) is not None
        }
        if found.get("sum_tolerance") == _NONE:
            found["sum_tolerance"] = None
        if "preprocessing" in names and (self.pixel_scale or self.pixel_offset):
            parts = (self.pixel_scale or (1.0,), self.pixel_offset or (0.0,))
            found["preprocessing"] = tuple(one if len(one) > 1 else one[0] for one in parts)
        return found

    def as_facts(self) -> dict[str, Any]:
        """Plain values for `run.json`, without what was not given."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> SourceSettings:
        """The settings that `as_facts` wrote; ignores other keys."""
        found: dict[str, Any] = {}
        for field in fields(cls):
            value = facts.get(field.name)
            found[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**found)


def read_settings(
    *,
    value_range: ValueRange = None,
    scores: Scores = None,
    sum_tolerance: SumTolerance = None,
    score_step: ScoreStep = None,
    score_output: ScoreOutput = None,
    signature: Signature = None,
    data_format: DataFormat = None,
    source_size: SourceSize = None,
    channel_order: ChannelOrder = None,
    pixel_scale: PixelScale = None,
    pixel_offset: PixelOffset = None,
    class_names: ClassNames = None,
) -> SourceSettings:
    """The options as settings; a ValueError says which of them cannot be read."""
    return SourceSettings(
        value_range=None if value_range is None else parse_value_range(value_range),
        scores=scores,
        sum_tolerance=None if sum_tolerance is None else _tolerance(sum_tolerance),
        score_step=score_step,
        score_output=score_output,
        signature=signature,
        data_format=data_format,
        source_size=None if source_size is None else _size(source_size),
        channel_order=channel_order,
        pixel_scale=None if pixel_scale is None else _numbers("--pixel-scale", pixel_scale),
        pixel_offset=None if pixel_offset is None else _numbers("--pixel-offset", pixel_offset),
        class_names=None if class_names is None else read_class_names(class_names),
    )


def with_source_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `read_settings`, in place of its parameter `settings`."""
    return with_options(command, "settings", read_settings)


def parse_value_range(text: str) -> tuple[float, float]:
    """Parses `--value-range`."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high:
        raise ValueError(
            "`--value-range` must be two numbers, the darkest and the brightest pixel that the "
            f"source expects. Received: {text!r}. Write 0,255 or 0,1 or -1,1."
        )
    return low, high


def needs_value_range(path: Path) -> str:
    """The error message for a file without `--value-range`."""
    return (
        f"{path} does not say which range its pixels must have. Received: no --value-range. Add "
        "--value-range 0,255 or 0,1 or -1,1, as the model's documentation says (a wrong range "
        f"costs accuracy); keras-reprogram probe --source {path} suggests one."
    )


def _tolerance(text: str) -> float | str | None:
    if text in (_AUTO, _NONE):
        return text if text == _NONE else None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise ValueError(
            "--sum-tolerance must be a number of at least 0, or none for no check. "
            f"Received: {text!r}. Write 0.01, say."
        )
    return value


def _size(text: str) -> tuple[int, int]:
    try:
        sides = [int(part) for part in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ValueError(
            "--source-size must be a side in pixels, or height and width. "
            f"Received: {text!r}. Write 224 or 224,320."
        )
    return sides[0], sides[-1]


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{option} must be a number, or one for each channel. Received: {text!r}. Write "
            "0.0078125 or -104,-117,-123."
        ) from None
