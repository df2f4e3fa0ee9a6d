"""Options of `train`, checked, and the model that they describe."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from keras_reprogram.command_line.beside import with_beside
from keras_reprogram.command_line.options import class_weights, parse_class_weight

if TYPE_CHECKING:
    import numpy as np

    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.output_map import OutputMap
    from keras_reprogram.program import ProgramLayer, SeriesProgram, TextProgram, Vocabulary
    from keras_reprogram.source import Source

_MOST_LABELS_PER_CLASS = 10
# Estimated gradients need small steps.
_ESTIMATED_DIRECTIONS = 4
_ESTIMATED_LEARNING_RATE = 0.01
_TRUE_LEARNING_RATE = 0.02
_TRANSPARENT_EPOCHS = 5
_DEVIATIONS = 4.0


class OutputMapKind(StrEnum):
    """How source scores are read as target classes."""

    DENSE = "dense"
    FREQUENCY = "frequency"
    ITERATIVE = "iterative"
    RANDOM = "random"
    BAYESIAN = "bayesian"
    BAYESIAN_PLUS = "bayesian-plus"
    NEW_HEAD = "new-head"


_HAS_VIEWS = ("views", "gentle-views")
_SOLVED = (OutputMapKind.DENSE, OutputMapKind.NEW_HEAD)
_PICKS_LABELS = (OutputMapKind.FREQUENCY, OutputMapKind.ITERATIVE, OutputMapKind.RANDOM)


class PlacementKind(StrEnum):
    """Where a target image goes on the source's canvas."""

    VIEWS = "views"
    GENTLE_VIEWS = "gentle-views"
    FULL = "full"
    CENTER = "center"


OutputMapOption = Annotated[
    OutputMapKind,
    typer.Option(
        metavar="MAP",
        help="How scores become classes: dense weighs all source labels; frequency, iterative "
        "(updated after each epoch) and random assign some labels to each class; bayesian and "
        "bayesian-plus weigh labels by counts; new-head replaces the last layer.",
    ),
]
NumViews = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Source images per target image. More views cost more queries, in prediction too; "
        "they help most if the source has few labels.",
    ),
]
PlacementOption = Annotated[
    PlacementKind,
    typer.Option(
        metavar="WHERE",
        help="views: the first view fills the source's canvas; the others differ in size, "
        "place and colour. gentle-views: the others are mirrored or zoomed, which suits colour "
        "images and sources with many labels. full: the image fills the canvas. center: the image "
        "keeps its size, with the program around it.",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Epochs of training the program, after the exact map. Without gradients they cost "
        "many queries. [default: 5, with --opaque 0]",
    ),
]
QueryBudget = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Learn from at most N queries, validation included: the map first, then better "
        "views, then the program as long as it improves. [default: one query per image and view]",
    ),
]
WarnAt = Annotated[
    float | None,
    typer.Option(
        min=1e-9,
        max=1.0,
        metavar="SHARE",
        help="Write a note when this share of --query-budget is asked, such as 0.8.",
    ),
]


@dataclass(frozen=True)
class TrainOptions:
    """The recipe's settings.

    Args:
        output_map: how scores are read as classes.
        labels_per_class: source labels a class, for `frequency`, `iterative` and `random`;
            `None` for as many as there are, at most 10.
        num_views: source images a target image becomes.
        placement: where the image goes.
        image_size: its size on the canvas, for `center`.
        epochs: epochs for the program; `None` for 5 with gradients and 0 without.
        learning_rate: for the program; `None` for 0.02 with gradients and 0.01 without.
        batch_size: images a step.
        query_budget: image queries that training may ask; `None` for as many as the other
            settings need.
        warn_at: share of the query budget at which a warning is given; `None` for none.
        class_weight: what images of each class count, as `parse_class_weight` reads it.
        calibrate: share of the training images that is held out to calibrate on, or `None`.
        coverage: of the calibrated model's sets.
        class_wise: whether it holds in every class.
        abstain: share of images like these that may be called foreign.
        beside: what the map reads beside the source, as `parts_of` reads it.
        ordinal: whether the classes are grades in order.
    """

    output_map: OutputMapKind = OutputMapKind.DENSE
    labels_per_class: int | None = None
    num_views: int = 1
    placement: PlacementKind = PlacementKind.VIEWS
    image_size: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int = 32
    query_budget: int | None = None
    warn_at: float | None = None
    class_weight: str | None = None
    calibrate: float | None = None
    coverage: float = 0.9
    class_wise: bool = False
    abstain: float = 0.05
    beside: str | None = None
    ordinal: bool = False

    def __post_init__(self) -> None:
        parse_class_weight(self.class_weight)
        if self.calibrate is not None and not 0 < self.calibrate < 1:
            raise ValueError(
                "--calibrate must be a share of the training images above 0 and below 1. "
                f"Received: {self.calibrate:g}. Try 0.2."
            )
        if self.image_size is not None and self.placement != PlacementKind.CENTER:
            raise ValueError(
                "--image-size is for --placement center; the other placements set the "
                f"size themselves. Received: --placement {self.placement}. Leave one of them out."
            )
        if self.labels_per_class is not None and self.output_map not in _PICKS_LABELS:
            raise ValueError(
                f"--labels-per-class is for --output-map {', '.join(_PICKS_LABELS)}. "
                f"Received: --output-map {self.output_map}, which reads all source labels."
            )
        if self.query_budget is not None and self.epochs is not None:
            raise ValueError(
                "--query-budget decides how long the program is trained. "
                f"Received: --epochs {self.epochs} too. Leave one of them out."
            )
        if self.warn_at is not None and self.query_budget is None:
            raise ValueError(
                "--warn-at is a share of --query-budget. Received: --warn-at "
                f"{self.warn_at:g} alone. Add --query-budget; a source with a ledger of its own "
                "warns by QueryLedger(warn_at=...)."
            )
        if self.beside is not None and self.output_map != OutputMapKind.DENSE:
            raise ValueError(
                "--beside needs a map that reads several parts, --output-map dense. "
                f"Received: --output-map {self.output_map}. Leave one of them out."
            )
        if self.ordinal and self.output_map not in _SOLVED:
            raise ValueError(
                "--ordinal needs a map that is fitted exactly, --output-map dense or new-head. "
                f"Received: --output-map {self.output_map}. Leave one of them out."
            )
        if self.num_views > 1 and self.placement not in _HAS_VIEWS:
            raise ValueError(
                "Several views differ with --placement views or gentle-views only. "
                f"Received: --num-views {self.num_views} --placement {self.placement}."
            )

    def resolved_epochs(self, source: Source) -> int:
        """Epochs for this source."""
        if self.epochs is not None:
            return self.epochs
        return _TRANSPARENT_EPOCHS if source.differentiable else 0

    def resolved_learning_rate(self, source: Source) -> float:
        """The program's learning rate for this source."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _TRUE_LEARNING_RATE if source.differentiable else _ESTIMATED_LEARNING_RATE

    def weights(self, labels: np.ndarray, class_names: tuple[str, ...]) -> dict[int, float] | None:
        """Weight for each class, by position; `None` if all count alike.

        Of several findings, labels `(n, K)`, what an image that has the finding counts.
        """
        return class_weights(parse_class_weight(self.class_weight), labels, class_names)

    def check_series(self) -> None:
        """Refuses settings that are for images."""
        if self.placement != PlacementKind.VIEWS:
            raise ValueError(
                "--placement is for images; views of a series differ in place, rate and number of "
                f"copies. Received: --placement {self.placement}. Leave it out."
            )

    def check_texts(self, source: Source) -> None:
        """Refuses settings, and a source, that are not for texts."""
        if self.placement != PlacementKind.VIEWS:
            raise ValueError(
                "--placement is for images; views of a text differ in how its tokens are remapped. "
                f"Received: --placement {self.placement}. Leave it out."
            )
        if self.beside is not None:
            raise ValueError(
                "--beside is for images and series. Received: --beside beside a target of texts. "
                "Leave it out; the row `no source` shows what their characters give alone."
            )
        if len(source.source_shape) != 2:
            raise ValueError(
                "A target of texts needs a --source of texts, which takes one-hot rows (tokens, "
                f"vocabulary). Received: a source of shape {tuple(source.source_shape)}."
            )

    def check_findings(self) -> None:
        """Refuses settings that are for one class an image."""
        if self.output_map not in _SOLVED:
            raise ValueError(
                "A target of several findings an image needs --output-map dense or new-head. "
                f"Received: --output-map {self.output_map}, which names one class."
            )
        if self.calibrate is not None:
            raise ValueError(
                "--calibrate is for targets of one class an image. Received: a target of several "
                "findings, whose thresholds are chosen on held-out images anyway. Leave it out."
            )
        if self.ordinal:
            raise ValueError(
                "--ordinal is for grades, of which an image has one. Received: a target of several "
                "findings. Leave it out."
            )

    def as_facts(self) -> dict[str, Any]:
        """The settings as plain values for `run.json`."""
        return {
            key: str(value) if isinstance(value, StrEnum) else value
            for key, value in asdict(self).items()
        }


def build_model(
    options: TrainOptions,
    source: Source,
    target_shape: Any,
    class_names: tuple[str, ...],
    seed: int,
    target_range: tuple[float, float] | None = (0.0, 255.0),
    *,
    multi_label: bool = False,
    largest: float = 0.0,
    vocabulary: Vocabulary | None = None,
    num_texts: int = 0,
) -> ReprogrammedModel:
    """Joins program, source and output map as the options say.

    Of series, `largest` is the largest value; of texts, `vocabulary` is theirs and `num_texts` how
    many are learned from.
    """
    if multi_label:
        options.check_findings()
    from keras_reprogram.arguments import is_image
    from keras_reprogram.estimators import RandomDirections, ScoreFunction
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

    source = with_beside(source, options.beside, target_shape, target_range)
    directions = _ESTIMATED_DIRECTIONS if options.query_budget is None else 1
    estimated = not source.differentiable or options.query_budget is not None
    estimator: RandomDirections | ScoreFunction | None = None
    if estimated:
        estimator = RandomDirections(directions)
    program: ProgramLayer | SeriesProgram | TextProgram
    if vocabulary is not None:
        program = _text_program(options, source, vocabulary, num_texts, seed)
        # Tokens have no directions: a program of theirs learns from draws.
        estimator = ScoreFunction(baseline="batch") if estimated and program.trained else None
    elif is_image(target_shape):
        program = _program(options, source, _TargetImages(target_shape, target_range), seed)
    else:
        program = _series_program(options, source, target_shape, seed, largest)
    output_map = _output_map(options, source, len(class_names), seed, multi_label)
    return ReprogrammedModel(program, source, output_map, estimator, class_names, seed)


class _TargetImages(NamedTuple):
    """What `program_for` reads of a task."""

    target_shape: tuple[int, int, int]
    target_range: Any


def _program(
    options: TrainOptions, source: Source, images: _TargetImages, seed: int
) -> ProgramLayer:
    from keras_reprogram.program.program_for_task import ESTIMATED_GRID, program_for

    # Within a budget gradients are estimated, also where the source has its own.
    budgeted = {} if options.query_budget is None else {"grid": ESTIMATED_GRID}
    return program_for(
        images,
        source,
        num_views=options.num_views,
        placement=str(options.placement).replace("-", "_"),
        image_size=options.image_size,
        seed=seed,
        **budgeted,
    )


def _series_program(
    options: TrainOptions, source: Source, target_shape: tuple[int, ...], seed: int, largest: float
) -> SeriesProgram:
    from keras_reprogram.arguments import is_image
    from keras_reprogram.program import SeriesProgram

    options.check_series()
    if is_image(source.source_shape):
        raise ValueError(
            "A target of series needs a --source of rows of samples, such as sounds. Received: a "
            f"source of images {source.source_shape}."
        )
    return SeriesProgram(
        target_shape,
        source.source_shape,
        source_range=source.value_range,
        num_views=options.num_views,
        # Series of deviation 1 keep four of them in the range; larger values fit as well.
        scale=1.0 / max(_DEVIATIONS, largest),
        seed=seed,
    )


def _text_program(
    options: TrainOptions, source: Source, vocabulary: Vocabulary, num_texts: int, seed: int
) -> TextProgram:
    """Trained where epochs are asked for; else fixed remappings, which the map alone reads."""
    from keras_reprogram.program import TextProgram

    options.check_texts(source)
    epochs = 0 if options.query_budget is not None else options.resolved_epochs(source)
    steps = epochs * math.ceil(num_texts / options.batch_size) // 2
    return TextProgram(
        vocabulary,
        source.source_shape,
        num_views=options.num_views,
        trained=epochs > 0,
        # The second half of the epochs is trained at the last temperature, nearly hard tokens.
        temperature_steps=max(1, steps),
        seed=seed,
    )


def _output_map(
    options: TrainOptions, source: Source, num_classes: int, seed: int, multi_label: bool
) -> OutputMap:
    from keras_reprogram.output_map import DenseMap, MultiLabelMap, NewHead

    if options.output_map in _SOLVED:
        solved = DenseMap if options.output_map == OutputMapKind.DENSE else NewHead
        targets = "multi_label" if multi_label else "single_label"
        return solved(num_classes, targets=targets, ordinal=options.ordinal)
    labels_per_class = options.labels_per_class or 1
    if options.labels_per_class is None and options.output_map in _PICKS_LABELS:
        fitting = source.num_labels // num_classes
        labels_per_class = max(1, min(_MOST_LABELS_PER_CLASS, fitting))
    return MultiLabelMap(
        num_classes,
        labels_per_class=labels_per_class,
        assignment=str(options.output_map).replace("-", "_"),
        seed=seed,
    )
