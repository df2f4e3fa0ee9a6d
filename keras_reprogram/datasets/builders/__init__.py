"""Builders of TensorFlow Datasets for the papers' tasks; importing this registers them.

After `import keras_reprogram.datasets.builders`, `tfds.load("ham10000")` and the like work.
`load_target` and `load_tfds` import it themselves.

Raises:
    ImportError: If tensorflow-datasets is not installed.
"""

import importlib

from keras_reprogram.optional_packages import needs_extra

with needs_extra("tensorflow-datasets", "datasets"):
    importlib.import_module("tensorflow_datasets")

from keras_reprogram.datasets.builders.abide_cc200 import AbideCc200
from keras_reprogram.datasets.builders.aptos2019 import Aptos2019
from keras_reprogram.datasets.builders.caltech101_thesis import Caltech101Thesis
from keras_reprogram.datasets.builders.gtsrb import Gtsrb
from keras_reprogram.datasets.builders.ham10000 import Ham10000
from keras_reprogram.datasets.builders.squares_counting import SquaresCounting

__all__ = [
    "AbideCc200",
    "Aptos2019",
    "Caltech101Thesis",
    "Gtsrb",
    "Ham10000",
    "SquaresCounting",
]
