"""What a method is given, what it gives back, and how the two are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sources import SourceChoice

from keras_reprogram import ProgramLayer, ReprogrammedModel
from keras_reprogram.datasets import TargetData, split_validation
from keras_reprogram.program import suggested_style
from keras_reprogram.source import Source

MOST_LABELS_PER_CLASS = 10
VALIDATION_SHARE = 0.2
# Where the image does not fill the canvas, so that a program has room around it.
CENTER_SHARE = 0.75
# Weights a side of the program that zeroth-order steps move.
GRID = 16


def plain_program(
    data: TargetData, source: Source, num_views: int, *, seed: int, style: str | None = None
) -> ProgramLayer:
    """The image on the whole canvas, and further views of it; weights on a coarse grid."""
    style = style or suggested_style(data.target_shape[2], source.num_labels)
    return ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="views" if style == "bold" else "gentle_views",
        num_views=num_views,
        grid=GRID,
        masked=False,
        seed=seed,
    )


@dataclass(frozen=True)
class Task:
    """One run's source, images and seed.

    Attributes:
        choice: the source.
        data: training and test images.
        seed: of splits, views, directions and batches.
        quick: whether expensive methods are cut short.
    """

    choice: SourceChoice
    data: TargetData
    seed: int
    quick: bool = False

    @property
    def num_classes(self) -> int:
        """Classes of the target."""
        return len(self.data.class_names)

    @property
    def num_train(self) -> int:
        """Training images, the held-out ones included."""
        return len(self.data.train_labels)

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the training and of the held-out images; groups stay together."""
        images, labels = self.data.train_images, self.data.train_labels
        return split_validation(images, labels, VALIDATION_SHARE, self.seed, self.data.train_groups)

    def part(self, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of one of the two parts."""
        rows = self.parts[1 if held_out else 0]
        return self.data.train_images[rows], self.data.train_labels[rows]

    def labels_per_class(self, num_labels: int) -> int:
        """Source labels a class in the papers' maps; 0 where there are too few labels."""
        return min(MOST_LABELS_PER_CLASS, num_labels // self.num_classes)

    def plain_program(
        self, source: Source, num_views: int = 1, style: str | None = None
    ) -> ProgramLayer:
        """As the function, with this task's images and seed."""
        return plain_program(self.data, source, num_views, seed=self.seed, style=style)

    def framing_program(self, source: Source) -> ProgramLayer:
        """The papers' program: one weight a pixel, around an image in the middle."""
        height, width, _ = source.source_shape
        return ProgramLayer(
            self.data.target_shape,
            source.source_shape,
            source_range=source.value_range,
            target_range=self.data.target_range,
            placement="center",
            image_size=(round(CENTER_SHARE * height), round(CENTER_SHARE * width)),
        )

    def predict(self, model: ReprogrammedModel) -> np.ndarray:
        """Probabilities of the test images: the one look at them."""
        return model.predict(self.data.test_images, batch_size=64, verbose=0)


@dataclass(frozen=True)
class Outcome:
    """What a method reached.

    Attributes:
        probabilities: `(n_test, classes)` of the test images.
        validation_accuracy: on the held-out images, before any last fit on all of them.
        queries_training: image queries of training, validation included; `None` if none.
        queries_pilot: image queries spent on choosing settings.
        views: source images that a target image becomes; `None` where no source is asked.
        choices: what was chosen on validation.
        notes: what a reader should know.
    """

    probabilities: np.ndarray
    validation_accuracy: float | None
    queries_training: int | None = None
    queries_pilot: int | None = None
    views: int | None = None
    choices: str = ""
    notes: str = ""


Method = Callable[[Task], Outcome]


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose largest probability is the label's."""
    return float((np.asarray(probabilities).argmax(axis=1) == labels).mean())
