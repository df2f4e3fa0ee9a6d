"""Checks that program, source and output map belong together."""

from __future__ import annotations

from typing import Any

from keras_reprogram.arguments import is_image
from keras_reprogram.program.program import Program
from keras_reprogram.source.joint_source import JointSource
from keras_reprogram.source.source import Source


def check_parts(program: Program, source: Any, output_map: Any, class_names: Any) -> None:
    """Raises a ValueError unless program, source and output map belong together."""
    if not isinstance(source, Source):
        raise ValueError(
            f"`source` must be a `Source`. Received: {type(source).__name__}. Wrap a Keras model "
            "in `FrozenSource(model, value_range=...)`, another callable in `OpaqueSource`."
        )
    program_range = program.source_range
    # Nobody may know the range of series and texts.
    known = source.value_range is not None
    if program_range is not None and known and tuple(program_range) != tuple(source.value_range):
        raise ValueError(
            f"The program must write the range that the source reads, {source.value_range}. "
            f"Received: source_range={tuple(program_range)}. Build it with "
            "`source_range=source.value_range`."
        )
    if isinstance(source, JointSource):
        _check_target(program, source)
    if class_names is not None and len(class_names) != output_map.num_classes:
        raise ValueError(
            f"`class_names` must name the output map's {output_map.num_classes} classes. "
            f"Received: {len(class_names)} names. Give one name a class, in order."
        )


def _check_target(program: Program, source: JointSource) -> None:
    """Refuses a program for other target images than the parts beside the asked source read."""
    known = {"target_shape": tuple(program.target_shape), "target_range": program.target_range}
    for fact, value in known.items():
        other = getattr(source, fact)
        if value is not None and value != other:
            raise ValueError(
                f"Program and parts beside the source must read images of one `{fact}`. Received: "
                f"{value} and {other}. Build both for the images of the task."
            )


def check_source_images(shape: tuple[int | None, ...], source: Source) -> None:
    """Raises a ValueError unless a program's output is `(n, views, H, W, C)` for the source."""
    if len(shape) < 3 or shape[1] is None or tuple(shape[2:]) != source.source_shape:
        form = "(n, views, H, W, C), here " if is_image(source.source_shape) else ""
        raise ValueError(
            f"`program` must turn {_what(source)} into {form}"
            f"(n, views, {', '.join(map(str, source.source_shape))}). Received: shape {shape}. "
            "Build it with `source_shape=source.source_shape`; a single view needs its axis too."
        )


def _what(source: Source) -> str:
    return "images" if is_image(source.source_shape) else "its targets"


def check_seed(seed: int) -> int:
    """The seed; a ValueError if NumPy or TensorFlow cannot take it."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must lie in [0, 2**32). Received: seed={seed}. Pass 0, 1, ...")
    return int(seed)
