"""join_sources: several classifiers beside each other, asked as one source."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import keras

from keras_reprogram.source.frozen_source import FrozenSource


def join_sources(sources: Sequence[FrozenSource], *, name: str = "source") -> FrozenSource:
    """One source of several: each sees the same image, their scores stand side by side.

    Networks err differently, so an exact map that reads two of them knows more than from either.
    An image costs what all of them cost. Gradients flow through all, and exports hold all.

    Args:
        sources: two or more `FrozenSource`s of scores, with the same `source_shape`,
            `value_range` and kind of scores.
        name: layer name.

    Returns:
        A `FrozenSource` with the labels of all, in the order of `sources`. Of N sources'
        probabilities each is divided by N, so that a row sums to 1 again; others stay.

    Raises:
        ValueError: if there are fewer than two, or if they do not fit together.

    Example:
    ```python
    from keras_reprogram import FrozenSource, join_sources

    sources = [
        FrozenSource.from_application(name, weights=None, input_shape=(128, 128, 3))
        for name in ("MobileNetV2", "MobileNet")
    ]
    assert join_sources(sources).num_labels == 2000
    ```
    """
    sources = list(sources)
    if len(sources) < 2:
        raise ValueError(f"Expected two or more sources to join. Received: {len(sources)}.")
    for source in sources:
        _check_fits(source, sources[0])
    first = sources[0]
    image = keras.Input(first.source_shape)
    answers = [_named(source, number)(image) for number, source in enumerate(sources)]
    scores = keras.layers.Concatenate()(answers)
    kinds = {source.scores for source in sources}
    if kinds == {"probabilities"}:
        scores = keras.layers.Rescaling(1 / len(sources))(scores)
    labels = [source.labels for source in sources if source.labels is not None]
    tolerances = [source.sum_tolerance for source in sources if source.sum_tolerance is not None]
    batches = [source.max_batch for source in sources if source.max_batch is not None]
    return FrozenSource(
        keras.Model(image, scores),
        value_range=first.value_range,
        # Beside scores that need not sum to 1 the others' do not either.
        scores=first.scores if len(kinds) == 1 else "independent",
        labels=list(chain.from_iterable(labels)) if len(labels) == len(sources) else None,
        sum_tolerance=max(tolerances) if len(tolerances) == len(sources) else None,
        max_batch=min(batches, default=None),
        name=name,
    )


def _named(source: FrozenSource, number: int) -> keras.Model:
    """A source as a model whose name no other has.

    A layer holds the preprocessing, so that the joined model's fingerprint knows of it.
    """
    image = keras.Input(source.source_shape)
    pixels = keras.ops.flip(image, axis=-1) if source.channel_order == "bgr" else image
    scale, offset = source.preprocessing
    scaled = keras.layers.Rescaling(scale, offset)(pixels)
    if source.network_input.axes is not None:
        scaled = keras.layers.Permute((3, 1, 2))(scaled)
    flat = keras.layers.Reshape((source.num_labels,))
    return keras.Model(image, flat(source.model(scaled, training=False)), name=f"source_{number}")


def _check_fits(source: Any, first: Any) -> None:
    if not isinstance(source, FrozenSource):
        raise ValueError(
            f"`join_sources` takes `FrozenSource`s. Received: {type(source).__name__}. Ask opaque "
            "sources in one function, concatenate their scores, and give it to `OpaqueSource`."
        )
    if source.scores == "features":
        raise ValueError(
            "`join_sources` joins scores. Received: a source of features. "
            "Build it with `output='scores'`."
        )
    if source.whole_numbers is not None:
        raise ValueError(
            "`join_sources` joins networks that read fractions of a pixel. Received: "
            f"`{source.model.name}`, which counts with {source.whole_numbers}. Ask them in one "
            "function, concatenate their scores, and give it to `OpaqueSource`."
        )
    for fact in ("source_shape", "value_range", "scores"):
        own, others = getattr(source, fact), getattr(first, fact)
        if own != others and {own, others} != {"probabilities", "independent"}:
            raise ValueError(
                f"Joined sources must have the same `{fact}`. Received: {others} and {own}."
            )
