"""One line of a table as its configuration says it."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field, fields, replace
from typing import Any

HERE, PAPER, CUT, TINY = "here", "paper", "cut", "tiny"
FORMS = (HERE, PAPER, CUT, TINY)
# What both cuts of `here` change. They test the machinery; their figures mean nothing.
_SHORT: dict[str, Any] = {"train_images": 60, "test_images": 30, "epochs": 1}
_TINY: dict[str, Any] = {"target": "digits", "source": "traffic_signs"}
# Sizes in pixels that a smaller source or target has no room for.
_SIZES = ("image_size", "patch_size")
_MOST_FOLDS = 2


@dataclass(frozen=True)
class RowConfig:
    """What is run for one line, and what the paper has there.

    Attributes:
        name: of the line, unlike all others of the table.
        title: the line's first cell.
        method: a name that `row_methods.METHODS` knows.
        target: a name that `load_target` knows.
        source: a name in `configs/sources.toml`, `"none"` where none is asked.
        options: of the method, such as `image_size`.
        program: the method whose trained program an exact map reads.
        epochs: most epochs; 0 for the paper's.
        batch_size: images a step; 0 for the paper's.
        learning_rates: to choose among on validation; none for the paper's.
        views: numbers of views to choose among on validation.
        readings: how the map may read several views, chosen on validation.
        train_images: drawn for training and validation; 0 for all.
        test_images: drawn for the test; 0 for all.
        target_size: side of the images of a target that has several sizes; 0 for its own.
        classes: labels of the classes that are kept; none for all.
        folds: parts of a cross-validation; 0 for the target's own test part.
        stored: a source and a method whose rows another file has: `{source, method}`.
        published: the paper's figure, as text.
        published_in: where the paper has it.
        published_with: source, images and resolution of the paper.
        differences: what is not as in the paper.
        why: what the difference between the figures comes from.
        balanced: whether balanced accuracy is shown beside accuracy.
        with_train: whether training accuracy is shown before it.
    """

    name: str
    title: str
    method: str
    target: str
    source: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    program: str = ""
    epochs: int = 0
    batch_size: int = 0
    learning_rates: tuple[float, ...] = ()
    views: tuple[int, ...] = (1,)
    readings: tuple[str, ...] = ("mean of the views",)
    train_images: int = 0
    test_images: int = 0
    target_size: int = 0
    classes: tuple[int, ...] = ()
    folds: int = 0
    stored: dict[str, str] = field(default_factory=dict)
    published: str = ""
    published_in: str = ""
    published_with: str = ""
    differences: str = ""
    why: str = ""
    balanced: bool = False
    with_train: bool = False


def row_of(values: dict[str, Any], where: str) -> RowConfig:
    """A row from a table of a TOML file.

    Args:
        values: keys and what they are set to.
        where: the file and the row, for errors.

    Returns:
        A `RowConfig`.

    Raises:
        ValueError: for a key that is missing or unknown, or set to something else than expected.
    """
    kinds = typing.get_type_hints(RowConfig)
    required = [
        f.name for f in fields(RowConfig) if f.name in ("name", "title", "method", "target")
    ]
    unknown = [key for key in values if key not in kinds]
    missing = [key for key in required if key not in values]
    if unknown or missing:
        wrong = f"the key {unknown[0]!r}" if unknown else f"no key {missing[0]!r}"
        raise ValueError(
            f"Expected {where} to have the keys {', '.join(required)}, and of {', '.join(kinds)} "
            f"what it needs. Received: {wrong}. Correct it."
        )
    return RowConfig(
        **{key: _checked(value, kinds[key], key, where) for key, value in values.items()}
    )


def shortened(row: RowConfig, form: str) -> RowConfig:
    """A row with few images and one epoch.

    Args:
        row: in the form `"here"`.
        form: `"cut"` keeps target and source, `"tiny"` takes what is in every installation.

    Returns:
        A `RowConfig`.
    """
    short = replace(
        row,
        **_SHORT,
        views=row.views[:1] if len(row.views) == 1 else (1, 2),
        learning_rates=row.learning_rates[:1],
        folds=min(row.folds, _MOST_FOLDS),
    )
    if form == CUT:
        return short
    options = {key: value for key, value in row.options.items() if key not in _SIZES}
    changes = _TINY | {"source": _TINY["source"] if row.source != "none" else "none"}
    return replace(short, **changes, options=options, target_size=0)


def _checked(value: Any, kind: Any, key: str, where: str) -> Any:
    """The value as the field's type; arrays of TOML become tuples."""
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        item = typing.get_args(kind)[0]
        return tuple(_checked(part, item, key, where) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = typing.get_origin(kind) or kind
    if isinstance(value, plain) and isinstance(value, bool) == (plain is bool):
        return value
    expected = str(kind) if isinstance(kind, types.GenericAlias) else plain.__name__
    raise ValueError(
        f"Expected {key!r} of {where} to be {expected}. Received: {value!r}. Correct it."
    )
