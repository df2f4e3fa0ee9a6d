"""The tasks, in the sizes that the benchmark uses, and which source gets which."""

from __future__ import annotations

from functools import lru_cache

from sources import SourceChoice

from keras_reprogram.datasets import TargetData, load_target

TARGETS = ("digits", "mnist", "cifar10", "ham10000", "gtsrb", "abide")
MOST_IMAGES = 1000
# The moderation classifier takes 224 x 224 pixels: only these, and fewer images of digits.
MODERATION_TARGETS = {"digits": 500, "abide": MOST_IMAGES}


def is_pair(source: SourceChoice, target: str) -> bool:
    """Whether the benchmark asks this of the source: never a source's own task.

    Args:
        source: the source.
        target: one of `TARGETS`.
    """
    if source.name == "moderation":
        return target in MODERATION_TARGETS
    return target != source.own_task


def draw_target(source_name: str, target: str, seed: int, limit: int = MOST_IMAGES) -> TargetData:
    """Training and test images of one run, drawn by class from the target's own parts.

    Args:
        source_name: the source that will be asked.
        target: one of `TARGETS`.
        seed: decides the draw.
        limit: most images of each part.

    Returns:
        A `TargetData`.
    """
    data = _load(target)
    if source_name == "moderation":
        limit = min(limit, MODERATION_TARGETS[target])
    train = min(limit, len(data.train_labels))
    return data.draw(train, min(limit, len(data.test_labels)), seed)


# Two at once: the larger ones take some hundred megabytes.
@lru_cache(maxsize=2)
def _load(target: str) -> TargetData:
    return load_target(target)
