"""German traffic signs (GTSRB) of 32x32, whose training frames come in tracks."""

from dataclasses import replace

import numpy as np

from keras_reprogram.datasets.original_files import VARIABLE, data_file, npz_arrays
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds import load_known_tfds

FILE_NAME = "gtsrb_32_sub.npz"
SOURCE = (
    "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/published-archive.html"
)
KEYS = ("train_image", "train_label", "train_track", "test_image", "test_label")
TRACKS_NOTE = "Training frames come in tracks of one sign: split validation by track."
CLASS_NAMES = (
    "speed limit 20",
    "speed limit 30",
    "speed limit 50",
    "speed limit 60",
    "speed limit 70",
    "speed limit 80",
    "end of speed limit 80",
    "speed limit 100",
    "speed limit 120",
    "no overtaking",
    "no overtaking by trucks",
    "priority at next crossing",
    "priority road",
    "give way",
    "stop",
    "no vehicles",
    "no trucks",
    "no entry",
    "danger",
    "bend to the left",
    "bend to the right",
    "double bend",
    "uneven road",
    "slippery road",
    "road narrows",
    "road works",
    "traffic lights",
    "pedestrians",
    "children",
    "bicycles",
    "ice or snow",
    "wild animals",
    "end of all limits",
    "turn right",
    "turn left",
    "straight on",
    "straight on or right",
    "straight on or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no overtaking",
    "end of no overtaking by trucks",
)


def load_gtsrb() -> TargetData:
    """Loads 43 classes of traffic signs from `gtsrb_32_sub.npz` in `KERAS_REPROGRAM_DATA`.

    Without the file, the TFDS set `gtsrb/32x32` of this package's builders is used (the whole
    benchmark), prepared now if its original files are there.

    Returns:
        A `TargetData` of shape (32, 32, 3); its `train_groups` are the tracks of
        `load_gtsrb_tracks`.

    Raises:
        ValueError: If the files are missing or corrupt, or if the file lacks one of its arrays.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_gtsrb, split_validation

        if "KERAS_REPROGRAM_DATA" in os.environ:
            signs = load_gtsrb()
            train, validation = split_validation(
                signs.train_images, signs.train_labels, groups=signs.train_groups
            )
        ```
    """
    path = data_file(FILE_NAME)
    if path is None:
        target = load_known_tfds(
            "gtsrb/32x32",
            copy=f"the file {FILE_NAME} in the folder that {VARIABLE} names",
            train_split="train+validation",
        )
        return replace(target, name="gtsrb", notes=(TRACKS_NOTE, *target.notes))
    arrays = npz_arrays(path, KEYS)
    return TargetData(
        "gtsrb",
        arrays["train_image"],
        arrays["train_label"].astype(np.int64),
        arrays["test_image"],
        arrays["test_label"].astype(np.int64),
        class_names=CLASS_NAMES,
        origin=f"A part of the German Traffic Sign Recognition Benchmark in {path}.",
        notes=(TRACKS_NOTE,),
        train_groups=_track_numbers(arrays),
    )


def load_gtsrb_tracks() -> np.ndarray:
    """Numbers the tracks of the GTSRB training images.

    The files count tracks from zero in every class; here each (class, track) has a number of its
    own.

    Returns:
        Integer array of shape `(num_train,)`, aligned with `load_gtsrb().train_images`.

    Raises:
        ValueError: As `load_gtsrb`.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_gtsrb_tracks

        if "KERAS_REPROGRAM_DATA" in os.environ:
            print(load_gtsrb_tracks().max() + 1)  # 1307
        ```
    """
    path = data_file(FILE_NAME)
    groups = load_gtsrb().train_groups if path is None else _track_numbers(npz_arrays(path, KEYS))
    return np.asarray(groups)


def _track_numbers(arrays: dict[str, np.ndarray]) -> np.ndarray:
    pairs = np.stack([arrays["train_label"], arrays["train_track"]], axis=1)
    _, numbers = np.unique(pairs, axis=0, return_inverse=True)
    return numbers.ravel()
