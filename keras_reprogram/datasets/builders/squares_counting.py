"""Counting squares as a builder of TensorFlow Datasets."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from keras_reprogram.datasets.builders.parts import labelled_images
from keras_reprogram.datasets.squares_counting import (
    CLASS_NAMES,
    GRID,
    SQUARE,
    TEST_IMAGES,
    TEST_SEED,
    TRAIN_IMAGES,
    TRAIN_SEED,
    draw_squares,
)


class SquaresCounting(tfds.core.GeneratorBasedBuilder):
    """The generated images of `load_squares_counting`; nothing is downloaded.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_reprogram.datasets.builders

        print(tfds.builder("squares_counting").info.features["image"].shape)  # (36, 36, 3)
        ```
    """

    name = "squares_counting"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {
        "1.0.0": "10,000 training and 2,000 test images.",
        "1.1.0": "New test images, because the number of training images was chosen on the first "
        "ones.",
    }

    def _info(self) -> Any:
        return labelled_images(
            self,
            tfds.features.Image(shape=(GRID * SQUARE, GRID * SQUARE, 3)),
            CLASS_NAMES,
            description="How many white squares are there, 1 to 10? Generated.",
            homepage="https://arxiv.org/abs/1806.11146",
            citation=(
                "Elsayed, Goodfellow, Sohl-Dickstein, Adversarial Reprogramming of Neural "
                "Networks, ICLR 2019"
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {
            "train": self._generate_examples(TRAIN_IMAGES, TRAIN_SEED),
            "test": self._generate_examples(TEST_IMAGES, TEST_SEED),
        }

    def _generate_examples(
        self, num_images: int, seed: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        images, labels = draw_squares(num_images, seed)
        for k in range(num_images):
            yield k, {"image": images[k], "label": int(labels[k])}
