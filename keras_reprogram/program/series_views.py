"""SeriesView: where copies of a series lie in the samples that a source hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_reprogram.arguments import positive_integer

# A copy that fills the samples leaves a source of sounds little to hear in: a copy of a drawn view
# is at most so long.
_LONGEST_SHARE = 0.5


@dataclass(frozen=True)
class SeriesView:
    """One fixed way to put a series into the source's samples.

    Args:
        start: first sample of the first copy.
        length: samples that a copy takes: the series is resampled to it. The series' own length
            keeps each of its values.
        copies: how many there are.
        distance: samples from the start of a copy to that of the next; `None` is `length`, side by
            side.

    Raises:
        ValueError: for numbers that are not whole, or copies that overlap.

    Example:
    ```python
    from keras_reprogram import SeriesView

    view = SeriesView(start=0, length=24, copies=3, distance=5328)
    assert view.end == 2 * 5328 + 24
    ```
    """

    start: int
    length: int
    copies: int = 1
    distance: int | None = None

    def __post_init__(self) -> None:
        for name in ("length", "copies"):
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        distance = self.length if self.distance is None else self.distance
        object.__setattr__(self, "distance", positive_integer("distance", distance))
        object.__setattr__(self, "start", int(self.start))
        if self.start < 0 or self._distance < self.length:
            raise ValueError(
                "Copies must start at sample 0 or later and must not overlap. Received: "
                f"start={self.start}, distance={self.distance} for copies of {self.length} samples."
            )

    @property
    def _distance(self) -> int:
        return self.length if self.distance is None else self.distance

    @property
    def end(self) -> int:
        """The sample after the last copy."""
        return self.start + (self.copies - 1) * self._distance + self.length

    @property
    def starts(self) -> range:
        """The first sample of each copy."""
        return range(self.start, self.start + self.copies * self._distance, self._distance)


def repeated_view(length: int, samples: int, copies: int | None = None) -> SeriesView:
    """A series at its own rate, repeated from the first sample on.

    Voice2Series (Yang et al. 2021; its code's `SegZeroPadding1D`) puts m copies at the distances
    `floor(floor(samples / length) / m) * length`.

    Args:
        length: of the series.
        samples: that the source takes.
        copies: m; `None` for as many as fit, side by side.

    Returns:
        A `SeriesView`.

    Raises:
        ValueError: if they do not fit.

    Example:
    ```python
    from keras_reprogram.program import repeated_view

    assert repeated_view(24, 16000, copies=3).starts == range(0, 15984, 5328)
    assert repeated_view(24, 16000).copies == 666
    ```
    """
    room = samples // length
    copies = room if copies is None else positive_integer("copies", copies)
    if not 1 <= copies <= room:
        raise ValueError(
            f"{room} copies of {length} values fit into {samples} samples. Received: "
            f"copies={copies}."
        )
    return SeriesView(0, length, copies, room // copies * length)


def draw_series_views(
    length: int, samples: int, num_views: int, seed: int = 0
) -> tuple[SeriesView, ...]:
    """Views that differ in position, rate and number of copies, drawn at random.

    The first is `repeated_view(length, samples)`, or for a longer series the whole of it resampled
    to all samples. In others a copy takes a length whose logarithm is uniform between the series'
    own and half of the samples, any number of copies that fits, and any start that leaves room;
    the copies stand at equal distances up to the end.

    Args:
        length: of the series.
        samples: that the source takes.
        num_views: how many.
        seed: of the draw; more views of a seed begin with fewer.

    Returns:
        Views, of which the first is the plain one.

    Raises:
        ValueError: for numbers that are not positive.

    Example:
    ```python
    from keras_reprogram import draw_series_views

    views = draw_series_views(24, 16000, num_views=4, seed=0)
    assert views[:2] == draw_series_views(24, 16000, 2, seed=0)
    assert all(view.end <= 16000 for view in views)
    ```
    """
    num_views = positive_integer("num_views", num_views)
    plain = SeriesView(0, samples) if length > samples else repeated_view(length, samples)
    drawn = (_draw(length, samples, [seed, index]) for index in range(1, num_views))
    return (plain, *drawn)


def _draw(length: int, samples: int, seed: Sequence[int]) -> SeriesView:
    random = np.random.default_rng(seed)
    longest = max(1, int(_LONGEST_SHARE * samples))
    shortest = min(length, max(1, longest // 4))
    size = int(round(np.exp(random.uniform(np.log(shortest), np.log(longest)))))
    copies = int(random.integers(1, samples // size + 1))
    start = int(random.integers(0, samples - copies * size + 1))
    return SeriesView(start, size, copies, (samples - start) // copies)


def taps(
    views: Sequence[SeriesView], length: int, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each sample is read from: places and weights `(taps, V, samples)`, and where copies are.

    A sample is the weighted sum of a few neighbouring values of the series: those of a triangle
    over its place, as in `resize_matrix`, but without a matrix of all values times all samples.
    """
    read = {view.length: _resampling(length, view.length) for view in views}
    deepest = max(len(places) for places, _ in read.values())
    places = np.zeros((deepest, len(views), samples), np.int32)
    weights = np.zeros((deepest, len(views), samples), np.float32)
    covered = np.zeros((len(views), samples), np.float32)
    for number, view in enumerate(views):
        own_places, own_weights = read[view.length]
        for start in view.starts:
            here = slice(start, start + view.length)
            places[: len(own_places), number, here] = own_places
            weights[: len(own_weights), number, here] = own_weights
            covered[number, here] = 1.0
    return places, weights, covered


def _resampling(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights `(taps, size)` that resample `length` values to `size`."""
    scale = length / size
    width = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale - 0.5
    first = np.floor(centres - width).astype(int) + 1
    places = first + np.arange(int(np.ceil(2 * width)))[:, None]
    weights = np.maximum(1.0 - np.abs(places - centres) / width, 0.0)
    weights[(places < 0) | (places >= length)] = 0.0
    # What a triangle loses beyond an end, its other values make up for.
    weights /= weights.sum(axis=0)
    return places.clip(0, length - 1), weights
