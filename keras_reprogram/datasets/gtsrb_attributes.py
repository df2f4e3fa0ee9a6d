"""Attributes of traffic signs: several findings an image, from the classes of GTSRB."""

from dataclasses import replace

import numpy as np

from keras_reprogram.datasets.gtsrb import CLASS_NAMES, load_gtsrb
from keras_reprogram.datasets.target_data import TargetData

_SPEEDS = tuple(name for name in CLASS_NAMES if name.startswith("speed limit"))
_ENDS = tuple(name for name in CLASS_NAMES if name.startswith("end of"))
_ORDERS = (
    *("turn right", "turn left", "straight on", "straight on or right", "straight on or left"),
    *("keep right", "keep left", "roundabout"),
)
_BENDS = ("bend to the left", "bend to the right", "double bend")
_TRIANGLES = (
    *("priority at next crossing", "danger", *_BENDS, "uneven road", "slippery road"),
    *("road narrows", "road works", "traffic lights", "pedestrians", "children", "bicycles"),
    *("ice or snow", "wild animals"),
)
_NO_OVERTAKING = ("no overtaking", "no overtaking by trucks")
_TRUCKS = ("no overtaking by trucks", "no trucks", "end of no overtaking by trucks")
# Attribute -> the signs that have it. White and black signs and plain ones have few, or none.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "number": (*_SPEEDS, "end of speed limit 80"),
    "arrow": (*_ORDERS, *_BENDS, "priority at next crossing"),
    "red triangle": (*_TRIANGLES, "give way"),
    "red ring": (*_SPEEDS, *_NO_OVERTAKING, "no vehicles", "no trucks"),
    "blue": _ORDERS,
    "cars or trucks": (*_NO_OVERTAKING, "end of no overtaking", *_TRUCKS, "slippery road"),
    "truck": _TRUCKS,
    "living being": ("road works", "pedestrians", "children", "bicycles", "wild animals"),
    "end of a rule": _ENDS,
    "yellow": ("priority road",),
    "left": ("bend to the left", "turn left", "straight on or left", "keep left"),
    "right": ("bend to the right", "turn right", "straight on or right", "keep right"),
    "filled with red": ("stop", "no entry"),
    "text": ("stop",),
}


def load_gtsrb_attributes() -> TargetData:
    """Loads traffic signs with the attributes of their class: 14 findings, any number an image.

    The images are those of `load_gtsrb`. The labels follow from the classes (`ATTRIBUTES`): what is
    drawn on a sign, its shape and its colours.

    Returns:
        A `TargetData` of shape (32, 32, 3) whose labels are `(n, 14)` of 0 and 1.

    Raises:
        ValueError: As `load_gtsrb`.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_gtsrb_attributes

        if "KERAS_REPROGRAM_DATA" in os.environ:
            signs = load_gtsrb_attributes()
            print(signs.train_labels.shape[1], signs.class_names[:3])
        ```
    """
    signs = load_gtsrb()
    table = attribute_table(signs.class_names)
    return replace(
        signs,
        name="gtsrb_attributes",
        train_labels=table[signs.train_labels],
        test_labels=table[signs.test_labels],
        class_names=tuple(ATTRIBUTES),
        notes=(*signs.notes, "Attributes follow from the class of a sign."),
    )


def attribute_table(signs: tuple[str, ...]) -> np.ndarray:
    """Which sign has which attribute, `(signs, 14)` of 0 and 1."""
    return np.array([[sign in having for having in ATTRIBUTES.values()] for sign in signs], int)
