"""HostedModel: the model behind a fake service, and the service's bill."""

from __future__ import annotations

import io
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from keras_reprogram.arguments import KeepsOldNames, pixels_of_codes


class BadImageError(ValueError):
    """The request holds no image."""


class HostedModel(KeepsOldNames):
    """Decodes images, asks a real model, and bills every image.

    Args:
        model: a `Source`, or anything that turns `(n, H, W, C)` float32 pixels into
            `(n, num_labels)` scores.
        source_shape: `(H, W, C)`; images of another size are resized, as services do.
        class_names: names of the scores.
        value_range: `(low, high)` of the pixels that `model` takes.

    Attributes:
        billed: encoded image -> how many times it was answered.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    hosted = HostedModel.of(signs)
    assert hosted.bill == 0
    ```
    """

    old_names = {"labels": "class_names"}

    def __init__(
        self,
        model: Callable[[np.ndarray], Any],
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        value_range: tuple[float, float] = (0.0, 255.0),
    ) -> None:
        self.model, self.source_shape, self.class_names = model, source_shape, tuple(class_names)
        self.value_range = value_range
        self.billed: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, source: Any) -> HostedModel:
        """Hosts a source, with its shape, range and class names.

        Args:
            source: a `Source`; names that it lacks become `"label 0"`, `"label 1"`, ...
        """
        class_names = source.class_names or [
            f"label {number}" for number in range(source.num_labels)
        ]
        return cls(source, source.source_shape, class_names, value_range=source.value_range)

    @property
    def bill(self) -> int:
        """Images answered, each time counted."""
        return sum(self.billed.values())

    def score(self, encoded: Sequence[bytes], fault: Fault = None) -> tuple[Any, list[str]]:
        """Answers and bills.

        Args:
            encoded: PNG or JPEG images.
            fault: `"nan"` and `"wrong labels"` spoil the answer.

        Returns:
            Scores `(n, labels)` and the names of the labels.

        Raises:
            BadImageError: if one of them is no image; nothing is billed then.
        """
        pixels = np.stack([self._decode(image) for image in encoded])
        with self._lock:
            # One call at a time: LiteRT's interpreters are not for several threads.
            scores = np.array(self.model(pixels), np.float64)
            self.billed.update(encoded)
        if fault == "nan":
            scores[:] = np.nan
        if fault == "wrong labels":
            return scores[:, :-1], [f"other {name}" for name in self.class_names[:-1]]
        return scores, list(self.class_names)

    def _decode(self, encoded: bytes) -> np.ndarray:
        height, width, channels = self.source_shape
        try:
            with Image.open(io.BytesIO(encoded)) as opened:
                picture = opened.convert("L" if channels == 1 else "RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise BadImageError(f"Expected a PNG or JPEG image. Received: {error}.") from error
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32).reshape(height, width, channels)
        return pixels_of_codes(pixels, self.value_range)


Fault = int | str | tuple[int, dict[str, str]] | None

# What a client may not blame on the answer: each is told from a wrong answer.
TRANSPORT_FAULTS: tuple[Fault, ...] = (
    429,
    (429, {"Retry-After": "0"}),
    500,
    503,
    "reset",
    "drip",
)
MALFORMED_ANSWERS: tuple[Fault, ...] = ("truncated", "wrong labels", "nan")


class Faults:
    """Decides the fault of each request: from a list, then at a given rate.

    A fault is a status (429, 500, 503, ...), `(status, headers)`, or a word. `"reset"`: the image
    is billed, the connection breaks before the answer. `"drip"`: the answer comes in small pieces.
    `"truncated"`, `"wrong labels"`, `"nan"`: billed, and the answer is malformed.

    Args:
        listed: taken one a request, first to last.
        share: of the requests after those, between 0 and 1, that get one of `kinds`.
        kinds: what is drawn from.
        seed: of the draw.

    Raises:
        ValueError: for a share outside 0 to 1, or a word that is none.

    Example:
    ```python
    from keras_reprogram.testing import Faults

    faults = Faults([503, "reset"])
    assert [faults.take() for _ in range(3)] == [503, "reset", None]
    ```
    """

    def __init__(
        self,
        listed: Iterable[Fault] = (),
        *,
        share: float = 0.0,
        kinds: Sequence[Fault] = TRANSPORT_FAULTS,
        seed: int = 0,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"`share` must be from 0 to 1. Received: {share}.")
        words: set[str] = {"reset", "drip", *map(str, MALFORMED_ANSWERS)}
        self.left = deque(listed)
        for fault in (*self.left, *kinds):
            if isinstance(fault, str) and fault not in words:
                raise ValueError(f"A fault must be one of {sorted(words)}. Received: {fault!r}.")
        self.share, self.kinds = share, tuple(kinds)
        self._random, self._lock = random.Random(seed), threading.Lock()

    def take(self) -> Fault:
        """The fault of the next request, or `None`."""
        with self._lock:
            if self.left:
                return self.left.popleft()
            if self._random.random() < self.share:
                return self._random.choice(self.kinds)
            return None


class Fake:
    """Base class of `HTTPFake` and `GRPCFake`: model, faults, bill, requests in flight."""

    def __init__(self, hosted: HostedModel, faults: Any, latency: float, key: str | None) -> None:
        self.hosted, self.latency, self.key = hosted, latency, key
        self.faults = faults if isinstance(faults, Faults) else Faults(faults)
        self.most_together, self.requests, self._together = 0, 0, 0
        self._lock = threading.Lock()

    @property
    def bill(self) -> int:
        """Images answered, each time counted."""
        return self.hosted.bill

    @contextmanager
    def in_flight(self) -> Iterator[int]:
        """Counts a request while it is worked on; yields how many there are."""
        with self._lock:
            self.requests += 1
            self._together += 1
            together = self._together
            self.most_together = max(self.most_together, together)
        try:
            yield together
        finally:
            with self._lock:
                self._together -= 1

    def close(self) -> None:
        """Ends the service; its port is free again."""
        raise NotImplementedError(f"{type(self).__name__} must implement `close`.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
