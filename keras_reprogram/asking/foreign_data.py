"""Errors for data of other packages: what came, and the line that makes arrays of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_reprogram.arguments import is_image


def no_array(x: Any, target_shape: Sequence[int | str]) -> str:
    """The error message where arrays are needed and something else came."""
    package, kind = type(x).__module__.split(".")[0], type(x).__name__
    what = "Images" if is_image(target_shape) else "Targets"
    said = f"{what} must be an array (n, {', '.join(map(str, target_shape))}) here."
    if x is None or isinstance(x, str | bytes):
        advice = "Pass pixels; `load_image_folder` and `load_manifest` read image files."
        return f"{said} Received: {x!r:.60}. {advice}"
    if hasattr(x, "iloc"):
        sides = ", ".join(map(str, target_shape))
        return (
            f"{said} Received: a {kind} of shape {x.shape}. If its columns are pixels: "
            f"`data.to_numpy('float32').reshape(-1, {sides})`; if they are paths and labels: "
            "`load_manifest(data)`."
        )
    if package == "datasets":
        if not hasattr(x, "column_names"):
            return f"{said} Received: a Hugging Face {kind}. Pass `np.asarray(data)`."
        return no_batches_of_hugging_face(said, x, list(x.column_names))
    if package == "torch" and hasattr(x, "__getitem__"):
        return (
            f"{said} Received: a torch {kind}, which gives single images. Pass batches, "
            "`torch.utils.data.DataLoader(data, batch_size=32)`, where data sets are taken, and "
            f"elsewhere arrays: {_COLLECTED.replace('(data)', '(DataLoader(data, 32))')}."
        )
    return (
        f"{said} Received: a {kind}, which yields batches. Collect them first: {_COLLECTED}, with "
        "`*_` behind `y` where there are weights."
    )


# For whatever yields (x, y): torch, grain, tf.data and Keras's own data sets.
_COLLECTED = (
    "`x, y = (np.concatenate([np.asarray(one) for one in parts]) for parts in zip(*(data)))`"
)


def no_batches_of_hugging_face(said: str, x: Any, columns: Sequence[str]) -> str:
    """The error message for a data set whose rows are dictionaries."""
    image, label = (*columns, *columns)[:2] if columns else ("image", "label")
    return (
        f"{said} Received: a Hugging Face {type(x).__name__} with {', '.join(columns)}. "
        f"Pass arrays, `np.stack([np.asarray(one) for one in data[{image!r}]])` and "
        f"`np.asarray(data[{label!r}])`, or batches, `data.with_format('numpy')"
        f".to_tf_dataset(columns={image!r}, label_cols={label!r}, batch_size=32)`. Images of "
        "different sizes or colours need one first: `one.convert('RGB').resize((width, height))`."
    )


def of_several_shapes(images: Any) -> str:
    """The error message for lists that make no array."""
    return (
        f"Images must be one array of one shape. Received: a {type(images).__name__} of parts of "
        "different shapes. Pass images and labels apart, and images of one size."
    )
