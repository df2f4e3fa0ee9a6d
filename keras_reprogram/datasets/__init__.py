"""Target tasks: images, labels and where they came from."""

from keras_reprogram.datasets.abide import load_abide
from keras_reprogram.datasets.aptos2019 import load_aptos2019
from keras_reprogram.datasets.cifar import load_cifar10, load_cifar100
from keras_reprogram.datasets.digits import load_digits
from keras_reprogram.datasets.gtsrb import load_gtsrb, load_gtsrb_tracks
from keras_reprogram.datasets.gtsrb_attributes import load_gtsrb_attributes
from keras_reprogram.datasets.ham10000 import load_ham10000
from keras_reprogram.datasets.image_folder import load_image_folder
from keras_reprogram.datasets.load_target import KNOWN_TARGETS, load_target
from keras_reprogram.datasets.manifest import load_manifest
from keras_reprogram.datasets.medmnist import load_medmnist
from keras_reprogram.datasets.mnist import load_fashion_mnist, load_mnist
from keras_reprogram.datasets.series_files import load_aeon_series, load_series
from keras_reprogram.datasets.squares_counting import draw_squares, load_squares_counting
from keras_reprogram.datasets.target_data import TargetData, split_train_test
from keras_reprogram.datasets.text_table import load_texts
from keras_reprogram.datasets.tfds import load_tfds
from keras_reprogram.fitting.validation import split_validation

__all__ = [
    "KNOWN_TARGETS",
    "TargetData",
    "draw_squares",
    "load_abide",
    "load_aeon_series",
    "load_aptos2019",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_fashion_mnist",
    "load_gtsrb",
    "load_gtsrb_attributes",
    "load_gtsrb_tracks",
    "load_ham10000",
    "load_image_folder",
    "load_manifest",
    "load_medmnist",
    "load_mnist",
    "load_series",
    "load_squares_counting",
    "load_target",
    "load_texts",
    "load_tfds",
    "split_train_test",
    "split_validation",
]
