"""Target tasks: images, labels and where they came from."""

from keras_reprogram.datasets.abide import load_abide
from keras_reprogram.datasets.cifar10 import load_cifar10
from keras_reprogram.datasets.digits import load_digits
from keras_reprogram.datasets.gtsrb import load_gtsrb, load_gtsrb_tracks
from keras_reprogram.datasets.ham10000 import load_ham10000
from keras_reprogram.datasets.image_folder import load_image_folder
from keras_reprogram.datasets.load_target import KNOWN_TARGETS, load_target
from keras_reprogram.datasets.mnist import load_mnist
from keras_reprogram.datasets.split import split_train_test, split_validation
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds_target import load_tfds

__all__ = [
    "KNOWN_TARGETS",
    "TargetData",
    "load_abide",
    "load_cifar10",
    "load_digits",
    "load_gtsrb",
    "load_gtsrb_tracks",
    "load_ham10000",
    "load_image_folder",
    "load_mnist",
    "load_target",
    "load_tfds",
    "split_train_test",
    "split_validation",
]
