"""Image files that are listed with labels: split and drawn by the list, then read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_reprogram.arguments import image_size_or_none
from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.datasets.dicom_files import is_dicom, patient_of
from keras_reprogram.datasets.image_files import (
    IMAGE_SUFFIXES,
    PICTURE_RANGE,
    ImageFacts,
    decode_image,
    image_facts,
    stored_levels,
)
from keras_reprogram.datasets.level_window import LevelWindow, depth_of, range_of_depth
from keras_reprogram.datasets.parts import (
    Part,
    check_groups,
    draw_parts,
    held_out_rows,
    numbered,
    split_parts,
)
from keras_reprogram.datasets.target_data import Draw, TargetData

# What the signature `image_bytes` of an export decodes.
SERVED_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png"))
LARGEST_SIDE = 224
# A change of the aspect ratio that is worth a warning.
SQUASHED = 1.1


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
        fit: str = "stretch",
        reading: ImageReading | None = None,
    ) -> TargetData:
        """Splits and draws by the list; only the files that are drawn are opened."""
        return with_patients(self)._read(
            image_size, seed, target_range, draw, reading or ImageReading(fit), reading is None
        )

    def _read(
        self,
        image_size: int | tuple[int, int] | None,
        seed: int,
        target_range: tuple[float, float] | None,
        draw: Draw | None,
        reading: ImageReading,
        finds: bool,
    ) -> TargetData:
        check_groups(self.name, [*map(str, self.paths)], self.parts, self.groups)
        train, test, split_notes = split_parts(
            self.labels, self.parts, self.groups, seed, self.unit
        )
        drawn: tuple[str, ...] = ()
        if draw is not None:
            train, test, drawn = draw_parts(self.name, self.labels, train, test, draw)
        rows = np.concatenate([train, test])
        files = _Files.of([self.paths[row] for row in rows], len(train))
        size, notes = choose_size([fact.size for fact in files.facts], image_size)
        warn_of_squashed([fact.size for fact in files.facts], size, reading.fit)
        if finds:
            reading, target_range, found = find_reading(files, reading, target_range)
            notes += found
        target_range = target_range or PICTURE_RANGE
        images = files.decode(size, target_range, reading)
        groups = None if self.groups is None else numbered(self.groups)[train]
        return TargetData(
            self.name,
            images[: len(train)],
            self.labels[train],
            images[len(train) :],
            self.labels[test],
            class_names=self.class_names,
            origin=self.origin,
            notes=self.notes + split_notes + notes + _not_served(files) + drawn,
            train_groups=groups,
            target_range=target_range,
            image_reading=reading,
            train_weight=None if self.weight is None else self.weight[train],
            validation_rows=held_out_rows(self.parts, train),
        )


def with_groups(listed: ListedImages, groups: Sequence[object] | np.ndarray) -> ListedImages:
    """The same list, each image with its group."""
    return replace(listed, groups=np.asarray(groups))


def with_patients(listed: ListedImages) -> ListedImages:
    """The same list, DICOM files grouped by patient where nothing else groups them."""
    if listed.groups is not None:
        return listed
    # Files that are called like pictures are not opened for it.
    dicom = [p.suffix.lower() not in IMAGE_SUFFIXES and is_dicom(p) for p in listed.paths]
    patients = [patient_of(p) if d else "" for p, d in zip(listed.paths, dicom, strict=True)]
    if not any(dicom):
        return listed
    unknown = patients.count("")
    note = f"{unknown:,} of {len(patients):,} files name no PatientID"
    if unknown == len(patients):
        notes = (*listed.notes, f"{note}: images of one patient may be in several parts.")
        return replace(listed, notes=notes)
    groups = [patient or f"file {row}" for row, patient in enumerate(patients)]
    notes = (*listed.notes, f"{note}: each of them is a group.") if unknown else listed.notes
    return replace(with_groups(listed, groups), notes=notes)


class _Files(NamedTuple):
    """Files to read, the first `num_train` of them for training, and their headers."""

    paths: Sequence[Path]
    facts: Sequence[ImageFacts]
    num_train: int

    @classmethod
    def of(cls, paths: Sequence[Path], num_train: int) -> _Files:
        return cls(paths, [image_facts(path) for path in paths], num_train)

    def rows(self, name: str) -> list[int]:
        """The files of which a fact is true."""
        return [row for row, fact in enumerate(self.facts) if getattr(fact, name)]

    def decode(
        self, size: tuple[int, int], target_range: tuple[float, float], reading: ImageReading
    ) -> np.ndarray:
        """Images `(n, h, w, c)`, grey if all are grey."""
        grey = all(fact.is_grey for fact in self.facts)
        dtype = np.uint8 if target_range == PICTURE_RANGE else np.float32
        images = np.empty((len(self.paths), *size, 1 if grey else 3), dtype)
        for row, path in enumerate(self.paths):
            images[row] = decode_image(
                path,
                str(path),
                grey=grey,
                size=size,
                target_range=target_range,
                reading=reading,
            )
        return images


def find_reading(
    files: _Files, reading: ImageReading, target_range: tuple[float, float] | None
) -> tuple[ImageReading, tuple[float, float] | None, tuple[str, ...]]:
    """The bits and windows of the files: bits over all, windows over the training images."""
    notes: tuple[str, ...] = ()
    scans = files.rows("scan")
    notes += _chosen_slices(files)
    if scans and not all(files.facts[row].has_window for row in scans):
        window = LevelWindow()
        # A test image has no say, unless there is nothing else.
        for row in [row for row in scans if row < files.num_train] or scans:
            window.add(stored_levels(files.paths[row]))
        low, high = window.ends
        reading = replace(reading, dicom_window=(low, high))
        notes += (
            f"Not every {' or '.join(_kinds(files, scans))} file states a window: "
            f"{low:g}..{high:g} became black and white, at "
            "least 99 % of each training image.",
        )
    deep = files.rows("is_deep")
    if deep and target_range is None:
        depth, target_range, note = _depth(files, deep)
        return replace(reading, depth=depth), target_range, (*notes, note)
    return reading, target_range, notes


def _kinds(files: _Files, rows: Sequence[int]) -> list[str]:
    return sorted({files.facts[row].scan for row in rows})


def _chosen_slices(files: _Files) -> tuple[str, ...]:
    """What is said of volumes, of which one slice is read."""
    volumes = sum(fact.num_slices > 1 for fact in files.facts)
    if not volumes:
        return ()
    return (
        f"{volumes:,} of {len(files.facts):,} files are volumes of several slices: the middle "
        "axial one of each was read.",
    )


def _depth(files: _Files, deep: Sequence[int]) -> tuple[int, tuple[float, float], str]:
    """Bits and range of 16-bit files, and what is said of them."""
    window, highest = LevelWindow(), []
    for row in deep:
        levels = stored_levels(files.paths[row])
        highest.append(int(levels.max()))
        if row < files.num_train or deep[0] >= files.num_train:
            window.add(levels)
    depth = depth_of(max(highest))
    shallow = sorted(set(range(len(files.paths))) - set(deep))
    if depth > 8 and shallow:
        raise ValueError(
            "Expected all files of a folder to have 8 bits, or all 16. Received: "
            f"{len(deep):,} of 16 bits with levels up to {max(highest):,}, such as "
            f"{files.paths[deep[0]]}, and {len(shallow):,} of 8 bits, such as "
            f"{files.paths[shallow[0]]}. Their brightness cannot be compared: save all of them "
            "with the same number of bits."
        )
    low, high = range_of_depth(depth, window)
    note = (
        f"{len(deep):,} files of 16 bits were read as {depth} bits, 0..{2**depth - 1:,}: the "
        f"highest level is {max(highest):,}, half of the files reach "
        f"{sorted(highest)[len(highest) // 2]:,}."
    )
    if (low, high) != (0, 2**depth - 1):
        ends = f"{low:,.0f}..{high:,.0f}"
        note += f" {ends} became black and white, at least 99 % of each training image."
    return depth, (low, high), note


def _not_served(files: _Files) -> tuple[str, ...]:
    kinds = {
        fact.scan or path.suffix.lower()
        for path, fact in zip(files.paths, files.facts, strict=True)
    }
    if not (others := sorted(kinds - SERVED_SUFFIXES)):
        return ()
    return (
        f"An exported model takes JPEG, PNG and plain BMP files, not {', '.join(others)}: save the "
        "images that it will classify as PNG.",
    )


def warn_of_squashed(
    sizes: Sequence[tuple[int, int]], size: tuple[int, int], fit: str, *, is_learned: bool = False
) -> None:
    """One warning with the share of images whose aspect ratio was changed."""
    way = 'fit="crop" cuts the longer side, fit="pad" adds black (--fit crop, --fit pad).'
    if is_learned:
        way = "Cut the files to that aspect ratio, or train with --fit crop or --fit pad."
    ratios = np.array([height * size[1] / (width * size[0]) for height, width in sizes])
    squashed = int((np.abs(np.log(ratios)) > np.log(SQUASHED)).sum())
    if fit == "stretch" and squashed:
        warnings.warn(
            f"{squashed:,} of {len(sizes):,} images ({squashed / len(sizes):.0%}) were stretched "
            f"by more than {SQUASHED - 1:.0%} to {size[0]}x{size[1]}: what is round is not round "
            f"any more. {way}",
            stacklevel=2,
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
