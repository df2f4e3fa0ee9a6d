"""PixelSource and PlacedSource: sources that read target images, for parts beside another."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import keras
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.source.source import PIXELS, Source


@keras.saving.register_keras_serializable(package="keras_reprogram")
class PixelSource(Source):
    """The target image itself as features, a part for `join_sources`.

    `(image - low) / (high - low)`, row after row: the numbers that `fit_no_source` reads. It costs
    nothing and becomes part of every export. A series is read likewise, sample after sample.

    Args:
        target_shape: `(h, w, c)` of target images, or another number of axes.
        target_range: `(low, high)` of target images; `None` takes a series as it is.
        name: layer name.

    Call arguments:
        images: `(..., h, w, c)` in `target_range`.

    Output shape:
        `(..., h * w * c)`, in [0, 1] where there is a range.

    Raises:
        ValueError: for a shape or a range that is none.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import PixelSource

    pixels = PixelSource((8, 8, 1))
    assert pixels(np.full((2, 8, 8, 1), 255.0)).shape == (2, 64)
    ```
    """

    differentiable = True

    def __init__(
        self,
        target_shape: tuple[int, ...],
        *,
        target_range: tuple[float, float] | None = (0.0, 255.0),
        name: str = "pixels",
    ) -> None:
        target_shape = checks.data_shape("target_shape", target_shape)
        if target_range is not None or checks.is_image(target_shape):
            target_range = checks.value_range("target_range", target_range)
        super().__init__(
            target_shape,
            math.prod(target_shape),
            value_range=target_range,
            score_kind=PIXELS,
            name=name,
        )
        self.built = True

    def answer(self, images: Any) -> Any:
        low, high = self.probe_range
        return ops.reshape((images - low) / (high - low), (-1, self.num_labels))

    @property
    def fingerprint(self) -> str:
        facts = ["pixels", self.source_shape, self.value_range]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def get_config(self) -> dict[str, Any]:
        return {
            "target_shape": self.source_shape,
            "target_range": self.value_range,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="keras_reprogram")
class PlacedSource(Source):
    """A source as a reader of target images: its own program places them, and never changes.

    `join_sources` makes one of each network beside the asked source.

    Args:
        source: a `Source` that runs in a graph.
        program: a `Program` for it; its weights stay as they are.
        name: layer name; `None` takes the source's.

    Call arguments:
        images: `(..., h, w, c)` in the program's `target_range`.

    Output shape:
        `(..., num_views * S)`.

    Raises:
        ValueError: for a source that runs as Python code, and a program that does not fit it.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import FrozenSource, ProgramLayer
    from keras_reprogram.source import PlacedSource

    network = FrozenSource.from_application("MobileNetV2", weights=None, input_shape=(96, 96, 3))
    program = ProgramLayer((8, 8, 1), (96, 96, 3), source_range=(0, 255), placement="full")
    assert PlacedSource(network, program)(np.zeros((2, 8, 8, 1))).shape == (2, 1000)
    ```
    """

    def __init__(self, source: Source, program: Any, *, name: str | None = None) -> None:
        if not source.in_graph:
            raise ValueError(
                "A source beside another must run in a graph: a `FrozenSource`, or a "
                f"`SavedModelSource`. Received: {type(source).__name__}, which runs as Python "
                "code and may cost queries. Put it first: that is the one that is asked."
            )
        if program.target_range is None:
            raise ValueError(
                "The program of a source beside another must know its range. Received: a "
                f"{type(program).__name__} without `target_range`. Pass `target_range=`."
            )
        if tuple(program.source_shape) != source.source_shape or (
            program.source_range != source.value_range
        ):
            raise ValueError(
                f"The program must write images {source.source_shape} in {source.value_range}, "
                f"which {source.name} reads. Received: {tuple(program.source_shape)} in "
                f"{program.source_range}. Build it with the source's shape and range."
            )
        super().__init__(
            program.target_shape,
            program.num_views * source.num_labels,
            value_range=program.target_range,
            score_kind=source.score_kind,
            sum_tolerance=None,
            name=name or source.name,
        )
        self.score_kind = source.score_kind
        self.score_step = source.score_step
        self.source, self.program = source, program
        self.differentiable, self.exportable = source.differentiable, source.exportable
        self.answers_at_random = source.answers_at_random
        self.built = True

    def answer(self, images: Any) -> Any:
        return ops.reshape(self.source(self.program(images)), (-1, self.num_labels))

    @property
    def num_views(self) -> int:
        """Source images of a target image."""
        return self.program.num_views

    @property
    def fingerprint(self) -> str:
        program = keras.saving.serialize_keras_object(self.program)["config"]
        digest = hashlib.sha256(json.dumps(program, sort_keys=True, default=str).encode())
        for weight in self.program.weights:
            digest.update(ops.convert_to_numpy(weight.value).tobytes())
        digest.update(self.source.fingerprint.encode())
        return digest.hexdigest()

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "source": serialize(self.source),
            "program": serialize(self.program),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PlacedSource:
        parts = {
            key: keras.saving.deserialize_keras_object(config[key]) for key in ("source", "program")
        }
        return cls(**parts, name=config["name"])
