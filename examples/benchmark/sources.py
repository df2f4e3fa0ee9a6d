"""The classifiers that are reprogrammed: each as a black box and as its white-box equivalent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import keras
from black_box import MAX_BATCH, black_box

from keras_reprogram import FrozenSource, OpaqueSource, embedded_path

CIFAR10_FILE = Path(__file__).parent / "cifar10_source.keras"
PIXELS = (0.0, 255.0)


@dataclass(frozen=True)
class SourceChoice:
    """A source of the benchmark.

    Attributes:
        name: as in the table.
        own_task: the target that it was trained for, which is never asked of it.
        build: `output="scores"` or `"features"` -> a `FrozenSource`.
    """

    name: str
    own_task: str | None
    build: Callable[[str], FrozenSource]

    def transparent(self, output: str = "scores") -> FrozenSource:
        """The white box: gradients and features can be had."""
        return self.build(output)

    def opaque(self) -> OpaqueSource:
        """The black box, with a query count of its own: only scores come out."""
        return black_box(self.transparent(), self.name)


def source_choices(moderation: Path | None = None) -> dict[str, SourceChoice]:
    """The sources by their names.

    Args:
        moderation: the `.keras` file of the moderation classifier, pixels in [0, 1], or `None`
            to leave that source out.

    Returns:
        Name -> `SourceChoice`.

    Raises:
        ValueError: if there is no such file.
    """
    choices = [
        SourceChoice("mobilenet_025_128", None, _mobilenet),
        SourceChoice("traffic_signs", "gtsrb", _traffic_signs),
        SourceChoice("cifar10", "cifar10", _cifar10),
    ]
    if moderation is not None:
        if not moderation.is_file():
            raise ValueError(
                "Expected --moderation to name the .keras file of the moderation classifier. "
                f"Received: {str(moderation)!r}. Correct it or leave it out."
            )
        choices.append(SourceChoice("moderation", None, partial(_moderation, moderation)))
    return {choice.name: choice for choice in choices}


def _mobilenet(output: str) -> FrozenSource:
    return FrozenSource.from_application(
        "MobileNet", output=output, alpha=0.25, input_shape=(128, 128, 3), max_batch=MAX_BATCH
    )


def _traffic_signs(output: str) -> FrozenSource:
    return _from_file(embedded_path("traffic_signs.keras"), PIXELS, output)


def _cifar10(output: str) -> FrozenSource:
    if not CIFAR10_FILE.is_file():
        raise ValueError(
            f"Expected the CIFAR-10 source at {CIFAR10_FILE}. Received: no such file. Make it "
            f"with `python examples/train_cifar10.py --output {CIFAR10_FILE}`."
        )
    return _from_file(CIFAR10_FILE, PIXELS, output)


def _moderation(path: Path, output: str) -> FrozenSource:
    return _from_file(path, (0.0, 1.0), output)


def _from_file(path: Path, value_range: tuple[float, float], output: str) -> FrozenSource:
    network = _network(str(path))
    return FrozenSource(network, value_range=value_range, output=output, max_batch=MAX_BATCH)


@cache
def _network(path: str) -> keras.Model:
    return keras.models.load_model(path, compile=False)
