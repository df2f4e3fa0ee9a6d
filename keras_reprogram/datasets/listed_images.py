"""Image files that are listed with labels: split and drawn by the list, then read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_reprogram.arguments import image_size_or_none
from keras_reprogram.datasets.image_files import (
    PICTURE_RANGE,
    decode_image,
    highest_level,
    image_facts,
)
from keras_reprogram.datasets.target_data import (
    Draw,
    TargetData,
    draw_part,
    drawn_notes,
)
from keras_reprogram.fitting.validation import split_validation

# What the signature `image_bytes` of an export decodes.
SERVED_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png"))
# Bits that instruments use of 16.
DEPTHS = (8, 10, 12, 14, 16)
TEST_FRACTION = 0.2
LARGEST_SIDE = 224


class Part(StrEnum):
    """The part of a task that an image belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class ListedImages:
    """Labelled image files; none of them was read.

    Args:
        name: of the target.
        paths: one file an image.
        labels: `(n,)` integers, or of several findings `(n, K)` of 0 and 1.
        class_names: in label order.
        origin: where the list is from.
        parts: one an image, or `None` where the list says nothing.
        groups: `(n,)`, images of one value stay in one part; or `None`.
        weight: `(n,)` or `None`.
        notes: about the list.
        unit: what a part is made of, for the notes.
    """

    name: str
    paths: tuple[Path, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    origin: str
    parts: tuple[Part, ...] | None = None
    groups: np.ndarray | None = None
    weight: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    unit: str = "folder"

    def read(
        self,
        *,
        image_size: int | tuple[int, int] | None,
        seed: int,
        target_range: tuple[float, float] | None,
        draw: Draw | None,
    ) -> TargetData:
        """Splits and draws by the list; only the files that are drawn are opened."""
        check_groups(self)
        train, test, split_notes = self._split(seed)
        drawn: tuple[str, ...] = ()
        if draw is not None:
            train, train_notes = self._drawn("training", train, draw.train_images, draw.seed)
            test, test_notes = self._drawn("test", test, draw.test_images, draw.seed)
            drawn = train_notes + test_notes
        rows = np.concatenate([train, test])
        decoded = decode_files([self.paths[row] for row in rows], image_size, target_range)
        groups = None if self.groups is None else numbered(self.groups)[train]
        return TargetData(
            self.name,
            decoded.images[: len(train)],
            self.labels[train],
            decoded.images[len(train) :],
            self.labels[test],
            class_names=self.class_names,
            origin=self.origin,
            notes=self.notes + split_notes + decoded.notes + drawn,
            train_groups=groups,
            target_range=decoded.target_range,
            train_weight=None if self.weight is None else self.weight[train],
            validation_rows=self._held_out(train),
        )

    def _split(self, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Positions of training (validation included) and test images."""
        parts = np.array(self.parts or [Part.TRAIN] * len(self.paths))
        train, test = np.flatnonzero(parts != Part.TEST), np.flatnonzero(parts == Part.TEST)
        if len(test):
            return train, test, ()
        # What the list holds out to choose by stays what it is.
        learned, held = np.flatnonzero(parts == Part.TRAIN), np.flatnonzero(parts != Part.TRAIN)
        groups = None if self.groups is None else self.groups[learned]
        kept, out = split_validation(learned, self.labels[learned], TEST_FRACTION, seed, groups)
        by = "class" if groups is None else "group"
        note = f"No test {self.unit}: split 80/20 by {by}, seed {seed}."
        return np.sort(np.concatenate([learned[kept], held])), learned[out], (note,)

    def _drawn(
        self, part: str, rows: np.ndarray, count: int | None, seed: int
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        kept = draw_part(self.name, part, self.labels[rows], count, seed)
        return rows[kept], drawn_notes(part, kept, self.labels[rows], seed)

    def _held_out(self, train: np.ndarray) -> np.ndarray | None:
        if self.parts is None:
            return None
        held = np.array([self.parts[row] == Part.VALIDATION for row in train])
        return held if held.any() and not held.all() else None


def check_groups(listed: ListedImages) -> None:
    """Refuses a group with images in two parts: its images would be learned and tested on."""
    if listed.groups is None or listed.parts is None:
        return
    first: dict[object, int] = {}
    for row, group in enumerate(listed.groups.tolist()):
        before = first.setdefault(group, row)
        if listed.parts[row] != listed.parts[before]:
            raise ValueError(
                f"Expected all images of a group in one part of {listed.name!r}. Received: "
                f"{listed.paths[before]} in {listed.parts[before]} and {listed.paths[row]} in "
                f"{listed.parts[row]}, both of group {group}. Move one of them, leave the parts "
                "out (images are split by group then), or leave the groups out."
            )


def numbered(groups: np.ndarray) -> np.ndarray:
    """Groups of any kind as integers from 0."""
    return np.unique(groups, return_inverse=True)[1].ravel()


def with_groups(listed: ListedImages, groups: Sequence[object] | np.ndarray) -> ListedImages:
    """The same list, each image with its group."""
    return replace(listed, groups=np.asarray(groups))


class Decoded(NamedTuple):
    """Images `(n, h, w, c)` in `target_range`, and notes about how they were read."""

    images: np.ndarray
    target_range: tuple[float, float]
    notes: tuple[str, ...]


def decode_files(
    paths: Sequence[Path],
    image_size: int | tuple[int, int] | None,
    target_range: tuple[float, float] | None,
) -> Decoded:
    """Reads files to images of one size, one range, and one number of channels."""
    facts = [image_facts(path) for path in paths]
    size, notes = choose_size([fact.size for fact in facts], image_size)
    if target_range is None:
        deep = [path for path, fact in zip(paths, facts, strict=True) if fact.is_deep]
        shallow = [path for path, fact in zip(paths, facts, strict=True) if not fact.is_deep]
        target_range, depth_notes = _range_of_levels(deep, shallow)
        notes += depth_notes
    grey = all(fact.is_grey for fact in facts)
    dtype = np.uint8 if target_range == PICTURE_RANGE else np.float32
    images = np.empty((len(paths), *size, 1 if grey else 3), dtype)
    for row, path in enumerate(paths):
        images[row] = decode_image(path, str(path), grey=grey, size=size, target_range=target_range)
    return Decoded(images, target_range, notes + _not_served(paths))


def _range_of_levels(
    deep: list[Path], shallow: list[Path]
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Value range of 16-bit files, from the bits that their highest level uses."""
    if not deep:
        return PICTURE_RANGE, ()
    highest = sorted(map(highest_level, deep))
    depth = next(depth for depth in DEPTHS if highest[-1] < 2**depth)
    if depth > 8 and shallow:
        raise ValueError(
            "Expected all files of a folder to have 8 bits, or all 16. Received: "
            f"{len(deep):,} of 16 bits with levels up to {highest[-1]:,}, such as {deep[0]}, and "
            f"{len(shallow):,} of 8 bits, such as {shallow[0]}. Their brightness cannot be "
            f"compared: save all of them with the same number of bits."
        )
    return (0.0, 2.0**depth - 1), (
        f"{len(deep):,} files of 16 bits were read as {depth} bits, 0..{2**depth - 1:,}: the "
        f"highest level is {highest[-1]:,}, half of the files reach "
        f"{highest[len(highest) // 2]:,}.",
    )


def _not_served(paths: Sequence[Path]) -> tuple[str, ...]:
    kinds = sorted({path.suffix.lower() for path in paths} - SERVED_SUFFIXES)
    if not kinds:
        return ()
    return (
        f"An exported model takes JPEG, PNG and plain BMP files, not {', '.join(kinds)}: save the "
        "images that it will classify as PNG.",
    )


def choose_size(
    sizes: Sequence[tuple[int, int]], image_size: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The common `(height, width)` of images, and notes about the resizing."""
    # Images of equal size keep it. Others get `image_size`, or by default the median height and
    # width, both scaled down by one factor if the longer one exceeds 224.
    asked = image_size_or_none(image_size)
    if len(set(sizes)) == 1:
        return sizes[0], ()
    chosen = asked or _median(sizes)
    low, high = np.min(sizes, axis=0), np.max(sizes, axis=0)
    return chosen, (
        f"Images of different sizes (heights {low[0]} to {high[0]}, widths {low[1]} to {high[1]}) "
        f"were resized to {chosen[0]}x{chosen[1]}.",
    )


def _median(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    height, width = np.median(sizes, axis=0)
    shrink = min(1.0, LARGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))
