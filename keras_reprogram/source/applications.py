"""Builds `keras.applications` classifiers with their preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Channels = float | tuple[float, ...]

_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Converts pixels in [0, 255] to a network's input: `x * scale + offset`."""

    scale: Channels
    offset: Channels
    channel_order: str = "rgb"


# [-1, 1].
_SYMMETRIC = Preprocessing(1 / 127.5, -1.0)
# [0, 1], then standardised with ImageNet's channel statistics.
_TORCH = Preprocessing(
    tuple(1 / (255 * std) for std in _TORCH_STD),
    tuple(-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)),
)
# BGR with ImageNet's channel means taken off. After the turn to BGR, hence in that order.
_CAFFE = Preprocessing(1.0, (-103.939, -116.779, -123.68), "bgr")
# The network rescales by itself.
_INSIDE = Preprocessing(1.0, 0.0)

# name -> (input size in pixels, preprocessing). Every family of keras.applications.
APPLICATIONS: dict[str, tuple[int, Preprocessing]] = {
    **{f"ConvNeXt{size}": (224, _INSIDE) for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
    **{f"DenseNet{depth}": (224, _TORCH) for depth in (121, 169, 201)},
    **{
        f"EfficientNetB{index}": (size, _INSIDE)
        for index, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    **{
        f"EfficientNetV2B{index}": (size, _INSIDE)
        for index, size in enumerate((224, 240, 260, 300))
    },
    "EfficientNetV2S": (384, _INSIDE),
    "EfficientNetV2M": (480, _INSIDE),
    "EfficientNetV2L": (480, _INSIDE),
    "InceptionResNetV2": (299, _SYMMETRIC),
    "InceptionV3": (299, _SYMMETRIC),
    "MobileNet": (224, _SYMMETRIC),
    "MobileNetV2": (224, _SYMMETRIC),
    "MobileNetV3Large": (224, _INSIDE),
    "MobileNetV3Small": (224, _INSIDE),
    "NASNetLarge": (331, _SYMMETRIC),
    "NASNetMobile": (224, _SYMMETRIC),
    **{f"ResNet{depth}": (224, _CAFFE) for depth in (50, 101, 152)},
    **{f"ResNet{depth}V2": (224, _SYMMETRIC) for depth in (50, 101, 152)},
    "VGG16": (224, _CAFFE),
    "VGG19": (224, _CAFFE),
    "Xception": (299, _SYMMETRIC),
}


@dataclass(frozen=True)
class LoadedApplication:
    """A built application, its preprocessing, and ImageNet's class names where it has them."""

    model: keras.Model
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None


def application_names() -> tuple[str, ...]:
    """The names that `FrozenSource.from_application` knows, sorted.

    Returns:
        Names such as `"MobileNetV2"`.

    Example:
    ```python
    from keras_reprogram import application_names

    assert "MobileNetV2" in application_names()
    ```
    """
    return tuple(sorted(APPLICATIONS))


def load_application(name: str, *, weights: str | None, **options: Any) -> LoadedApplication:
    """Builds a classifier of `keras.applications`."""
    if name not in APPLICATIONS:
        raise ValueError(
            f"Unknown application. Received: {name!r}. Choose one of: "
            f"{', '.join(application_names())}."
        )
    # Late, so that a command can name the applications without TensorFlow.
    import keras

    from keras_reprogram.inner_networks import float32_policy

    size, preprocessing = APPLICATIONS[name]
    options.setdefault("input_shape", (size, size, 3))
    # Under a policy of half precision its weights would be rounded.
    with float32_policy():
        model = getattr(keras.applications, name)(weights=weights, **options)
    class_names = imagenet_labels() if weights == "imagenet" else None
    return LoadedApplication(model, preprocessing, class_names)


def imagenet_labels() -> tuple[str, ...]:
    """ImageNet's 1,000 class names in order, as `decode_predictions` knows them."""
    import keras
    import numpy as np

    decoded = keras.applications.imagenet_utils.decode_predictions(
        np.arange(1000, 0, -1, dtype="float32")[None], top=1000
    )[0]
    return tuple(name for _, name, _ in decoded)
