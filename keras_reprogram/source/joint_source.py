"""JointSource: a source that is asked, and parts beside it that read the target image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reprogram.output_map.blocks import Block
from keras_reprogram.source.ledger.query_ledger import QueryLedger
from keras_reprogram.source.pixel_source import PlacedSource
from keras_reprogram.source.source import Source


@keras.saving.register_keras_serializable(package="keras_reprogram")
class Beside(keras.layers.Layer):
    """The parts beside an asked source: target images `(n, h, w, c)` -> `(n, D)`."""

    def __init__(self, parts: Sequence[Source], *, name: str = "beside") -> None:
        super().__init__(name=name, dtype="float32", trainable=False)
        self.parts = list(parts)
        self.built = True

    @property
    def size(self) -> int:
        """D, the sum of the parts' scores."""
        return sum(part.num_labels for part in self.parts)

    def call(self, target_images: Any) -> Any:
        found = [part(target_images) for part in self.parts]
        return ops.concatenate(found, axis=-1) if len(found) > 1 else found[0]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.size)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class JointSource(Source):
    """A source that is asked under the model's program, and parts beside it; see `join_sources`.

    To a program, a ledger and a bill it is the asked source: `source_shape`, `value_range`,
    `num_labels`, `queries_used`, `ledger` and the answers to source images are that one's. Each
    part beside reads the target image itself. What a `DenseMap` reads is the row of all scores.

    Args:
        asked: any `Source`.
        beside: one or more sources of target images: `PixelSource`, `PlacedSource`.
        name: layer name.

    Call arguments:
        images: `(..., H, W, C)` in the asked source's `value_range`.

    Output shape:
        `(..., S)`, the asked source's scores.

    Raises:
        ValueError: if the parts beside disagree on the shape or range of target images.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, PixelSource, embedded_path
    from keras_reprogram.source import JointSource

    asked = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    source = JointSource(asked, [PixelSource((8, 8, 1))])
    assert source.answer_shape(num_views=8) == (1, 8 * 43 + 64)
    ```
    """

    beside: Beside

    def __init__(self, asked: Source, beside: Sequence[Source], *, name: str = "source") -> None:
        super().__init__(
            asked.source_shape,
            asked.num_labels,
            value_range=asked.value_range,
            class_names=asked.class_names,
            score_kind=asked.score_kind,
            score_step=asked.score_step,
            sum_tolerance=asked.sum_tolerance,
            max_batch=asked.max_batch,
            name=name,
        )
        self._asked = asked
        self.beside = Beside(beside)
        self.target_shape, self.target_range = _of_targets(beside)
        self.differentiable, self.in_graph = asked.differentiable, asked.in_graph
        self.exportable = asked.exportable and all(part.exportable for part in beside)
        self.rounds_images, self.takes_bytes = asked.rounds_images, asked.takes_bytes
        self.answers_at_random = any(part.answers_at_random for part in (asked, *beside))
        self.supports_jit = asked.supports_jit
        self.built = True

    def asked_part(self) -> Source:
        return self._asked

    def with_asked(self, other: Source) -> Source:
        return JointSource(other.asked_part(), self.beside.parts, name=self.name)

    def call(self, images: Any) -> Any:
        return self._asked(images)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        # What runs as Python code cannot be traced.
        return keras.KerasTensor(self.compute_output_shape(images.shape), dtype="float32")

    def blocks(self, num_views: int) -> tuple[Block, ...]:
        asked = self._asked
        facts = (asked.num_labels, asked.score_kind, asked.score_step)
        return (Block("asked", num_views, *facts), *map(_block, self.beside.parts))

    def answer_shape(self, num_views: int) -> tuple[int, int]:
        return 1, num_views * self.num_labels + self.beside.size

    def join(self, scores: Any, beside: Any) -> Any:
        """`(n, V, S)` scores and `(n, D)` of the parts beside -> `(n, 1, V * S + D)`."""
        rows = ops.reshape(scores, (-1, scores.shape[-2] * scores.shape[-1]))
        return ops.concatenate([rows, beside], axis=-1)[:, None]

    # === What it costs ===

    @property
    def queries_used(self) -> int | None:  # type: ignore[override]
        """Those of the asked source: the parts beside cost nothing."""
        return self._asked.queries_used

    @property
    def costs_queries(self) -> bool:
        return self._asked.costs_queries

    @property
    def ledger(self) -> QueryLedger | None:  # type: ignore[override]
        """That of the asked source."""
        return self._asked.ledger

    # === What it is ===

    @property
    def fingerprint(self) -> str:
        parts = [self._asked.fingerprint, *(part.fingerprint for part in self.beside.parts)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def request_options(self) -> str:
        return self._asked.request_options

    def describe(self) -> dict[str, Any]:
        beside = [
            {"name": part.name, **part.describe(), "fingerprint": part.fingerprint}
            for part in self.beside.parts
        ]
        return self._asked.describe() | {"beside": beside}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "asked": serialize(self._asked),
            "beside": [serialize(part) for part in self.beside.parts],
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> JointSource:
        read = keras.saving.deserialize_keras_object
        beside = [read(part) for part in config["beside"]]
        return cls(read(config["asked"]), beside, name=config["name"])


def _block(part: Source) -> Block:
    num_views = part.num_views if isinstance(part, PlacedSource) else 1
    each = part.num_labels // num_views
    return Block(part.name, num_views, each, part.score_kind, part.score_step)


def _of_targets(parts: Sequence[Source]) -> tuple[tuple[int, ...], tuple[float, float] | None]:
    """Shape and range of the target images that all parts read."""
    if not parts:
        raise ValueError("Expected at least one part beside the asked source. Received: none.")
    for what, facts in (
        ("target_shape", [part.source_shape for part in parts]),
        ("target_range", [part.value_range for part in parts]),
    ):
        if len(set(facts)) > 1:
            said = ", ".join(f"{part.name} {fact}" for part, fact in zip(parts, facts, strict=True))
            raise ValueError(
                f"Parts beside a source must read target images of one `{what}`. "
                f"Received: {said}. Build all for the images of the task."
            )
    return parts[0].source_shape, parts[0].value_range
