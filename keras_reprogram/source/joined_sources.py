"""join_sources: one source of several, for one exact map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import keras

from keras_reprogram.arguments import is_image
from keras_reprogram.program.program_layer import ProgramLayer
from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.source.joint_source import JointSource
from keras_reprogram.source.pixel_source import PixelSource, PlacedSource
from keras_reprogram.source.source import Source


def join_sources(
    sources: Sequence[Source],
    *,
    target_shape: tuple[int, ...] | None = None,
    target_range: tuple[float, float] | None = (0.0, 255.0),
    name: str = "source",
) -> FrozenSource | JointSource:
    """One source of several: one exact map reads the scores of all.

    Sources err differently, so a map that reads several knows more than from each. Only one of
    them is asked under the model's program and may cost queries: the opaque one, else the first.
    The bill, the ledger and the budget are that one's. The others stand beside it and read the
    target image: `PixelSource` as it is, a network under one view of the whole image in its own
    size and range (or under a program of its own, as a `PlacedSource`). A `DenseMap` reads each
    part by its own kind of scores and weighs the parts on validation images, where the joint map
    is never worse than its best part.

    Networks alone, without `target_shape`, become one network: all see the same source image, and
    gradients flow through all to the program.

    Args:
        sources: two or more, at most one of which runs as Python code (a `.tflite` file, an HTTP
            service, an `OpaqueSource`).
        target_shape: `(h, w, c)` of target images; `None` takes the `PixelSource`'s.
        target_range: `(low, high)` of target images, where `target_shape` is given.
        name: layer name.

    Returns:
        A `JointSource`: `ReprogrammedModel(program, source, DenseMap(...))` takes it with a
        program for the asked part. Of networks alone a `FrozenSource` with the class names of all,
        in the order of `sources`; of N sources' probabilities each is divided by N, so that a row
        sums to 1 again.

    Raises:
        ValueError: if there are fewer than two, or if they do not fit together.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import (
        DenseMap, LiteRTSource, PixelSource, ProgramLayer, ReprogrammedModel, embedded_path,
        join_sources,
    )

    asked = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    source = join_sources([asked, PixelSource((8, 8, 1))])
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
    x = np.random.default_rng(0).uniform(0, 255, (30, 8, 8, 1))
    fit = model.fit_output_map(x, np.arange(30) % 3, verbose=0)
    assert model.queries_used == 30 and len(fit.part_weights) == 2
    ```
    """
    sources = list(sources)
    if len(sources) < 2:
        raise ValueError(f"Expected two or more sources to join. Received: {len(sources)}.")
    for source in sources:
        if not isinstance(source, Source):
            raise ValueError(
                f"`join_sources` takes sources. Received: {type(source).__name__}. Wrap a Keras "
                "model in `FrozenSource(model, value_range=...)`."
            )
    networks = [source for source in sources if isinstance(source, FrozenSource)]
    if len(networks) == len(sources) and target_shape is None:
        return _one_network(networks, name)
    asked = _asked(sources)
    others = [source for source in sources if source is not asked]
    shape, limits = _target(others, target_shape, target_range)
    return JointSource(asked, [_beside(part, shape, limits) for part in others], name=name)


def _asked(sources: list[Source]) -> Source:
    """The one part that is asked under the model's program."""
    opaque = [source for source in sources if not source.in_graph]
    if len(opaque) > 1:
        names = " and ".join(type(source).__name__ for source in opaque)
        raise ValueError(
            "At most one part of a joint source runs as Python code: that is the one that is "
            f"asked and may cost queries. Received: {names}. Leave one out, or ask both in one "
            "function, concatenate their scores, and give it to `OpaqueSource`."
        )
    could = opaque or [s for s in sources if not isinstance(s, PixelSource | PlacedSource)]
    if not could:
        raise ValueError(
            "A joint source needs a part that is asked. Received: parts that read target images "
            "only. Add a network or an opaque source."
        )
    return could[0]


def _target(
    others: list[Source],
    target_shape: tuple[int, ...] | None,
    target_range: tuple[float, float] | None,
) -> tuple[tuple[int, ...], tuple[float, float] | None]:
    """Shape and range of the target images that the parts beside read."""
    if target_shape is not None:
        return target_shape, target_range
    for part in others:
        if isinstance(part, PixelSource | PlacedSource):
            return part.source_shape, part.value_range
    raise ValueError(
        "A network beside the asked source reads target images of a known shape. Received: no "
        "`target_shape` and no `PixelSource`. Pass `target_shape=(height, width, channels)`."
    )


def _beside(part: Source, target_shape: Any, target_range: tuple[float, float] | None) -> Source:
    """A part as a reader of target images."""
    if isinstance(part, PixelSource | PlacedSource):
        return part
    if not (is_image(target_shape) and is_image(part.source_shape)):
        raise ValueError(
            "Only a network of images is placed beside the asked source by itself. Received: "
            f"{part.name}, which reads {part.source_shape}, for targets {tuple(target_shape)}. "
            "Give it a program: `PlacedSource(source, program)`."
        )
    if target_range is None:
        raise ValueError("`target_range` of images must be (low, high). Received: None.")
    program = ProgramLayer(
        target_shape,
        part.source_shape,
        source_range=part.value_range,
        target_range=target_range,
        placement="full",
    )
    name = part.model.name if isinstance(part, FrozenSource) else part.name
    return PlacedSource(part, program, name=name)


def _one_network(sources: list[FrozenSource], name: str) -> FrozenSource:
    """All networks as one, on one source image."""
    for source in sources:
        _check_fits(source, sources[0])
    first = sources[0]
    image = keras.Input(first.source_shape)
    answers = [_named(source, number)(image) for number, source in enumerate(sources)]
    scores = keras.layers.Concatenate()(answers)
    kinds = {source.score_kind for source in sources}
    if kinds == {"probabilities"}:
        scores = keras.layers.Rescaling(1 / len(sources))(scores)
    class_names = [source.class_names for source in sources if source.class_names is not None]
    tolerances = [source.sum_tolerance for source in sources if source.sum_tolerance is not None]
    batches = [source.max_batch for source in sources if source.max_batch is not None]
    return FrozenSource(
        keras.Model(image, scores),
        value_range=first.value_range,
        # A row with some scores that need not sum to 1 need not sum to 1 either.
        score_kind=first.score_kind if len(kinds) == 1 else "independent",
        class_names=list(chain.from_iterable(class_names))
        if len(class_names) == len(sources)
        else None,
        sum_tolerance=max(tolerances) if len(tolerances) == len(sources) else None,
        max_batch=min(batches, default=None),
        name=name,
    )


def _named(source: FrozenSource, number: int) -> keras.Model:
    """A source as a model whose name no other has."""
    # A layer holds the preprocessing, so that the joined model's fingerprint knows of it.
    image = keras.Input(source.source_shape)
    pixels = keras.ops.flip(image, axis=-1) if source.channel_order == "bgr" else image
    scale, offset = source.preprocessing
    scaled = keras.layers.Rescaling(scale, offset)(pixels)
    if source.network_input.axes is not None:
        scaled = keras.layers.Permute((3, 1, 2))(scaled)
    flat = keras.layers.Reshape((source.num_labels,))
    return keras.Model(image, flat(source.model(scaled, training=False)), name=f"source_{number}")


_OWN_IMAGES = "pass `target_shape=`, and each network sees the target image in its own size"


def _check_fits(source: FrozenSource, first: FrozenSource) -> None:
    if source.score_kind == "features":
        raise ValueError(
            "One network of several joins scores. Received: a source of features. Build it with "
            f"`output='scores'`, or {_OWN_IMAGES}."
        )
    if source.whole_numbers is not None:
        raise ValueError(
            "`join_sources` joins networks that read fractions of a pixel. Received: "
            f"`{source.model.name}`, which computes with {source.whole_numbers}. Ask them in one "
            "function, concatenate their scores, and give it to `OpaqueSource`."
        )
    for fact in ("source_shape", "value_range", "score_kind"):
        own, others = getattr(source, fact), getattr(first, fact)
        if own != others and {own, others} != {"probabilities", "independent"}:
            raise ValueError(
                f"Networks that see the same image must have the same `{fact}`. Received: "
                f"{others} and {own}. Or {_OWN_IMAGES}."
            )
