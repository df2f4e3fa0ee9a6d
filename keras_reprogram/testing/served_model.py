"""ServedModel: what TF Serving knows of a model, whichever interface asks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_reprogram.serving.request_checks import check_inputs
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.signature_parts import signature_definition, tensor_info
from keras_reprogram.testing.faults import Fault
from keras_reprogram.testing.hosted_model import BadImageError, HostedModel

# Signature -> its input, and what that is: those of `export_saved_model` that take images.
SIGNATURES = {
    "serving_default": ("image", "pixels"),
    "image_bytes": ("image_bytes", "encoded"),
}


class ServedModel:
    """What both interfaces know: names, versions, signatures, and the model."""

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str,
        versions: Sequence[int],
        version_labels: Mapping[str, int] | None,
        signatures: Mapping[str, tuple[str, str]] | None,
        output_names: Sequence[str],
    ) -> None:
        self.hosted, self.name, self.versions = hosted, model_name, tuple(versions)
        self.labels = dict(version_labels or {})
        self.output_names = tuple(output_names)
        self.signature_defs = {
            name: self._definition(*one) for name, one in (signatures or SIGNATURES).items()
        }

    def version(self, name: str, version: int | None, label: str | None) -> int:
        """The version that answers."""
        if label and label not in self.labels:
            raise ServingError(f"Unrecognized servable version label: {label}")
        wanted = self.labels[label] if label else version
        if name != self.name or wanted not in (None, *self.versions):
            which = f"Latest({name})" if wanted is None else f"Specific({name}, {wanted})"
            raise ServingError(f"Servable not found for request: {which}", "NOT_FOUND")
        return max(self.versions) if wanted is None else wanted

    def statuses(self, name: str, version: int | None) -> list[int]:
        """The versions that a question about the status is about."""
        if name != self.name:
            raise ServingError(f"Could not find any versions of model {name}", "NOT_FOUND")
        if version is not None and version not in self.versions:
            raise ServingError(f"Could not find version {version} of model {name}", "NOT_FOUND")
        return [one for one in self.versions if version in (None, one)]

    def signature(self, name: str, code: str = "INVALID_ARGUMENT") -> Any:
        """The `SignatureDef` of this name."""
        if name not in self.signature_defs:
            raise ServingError(f'Serving signature name: "{name}" not found in signature def', code)
        return self.signature_defs[name]

    def outputs(
        self, signature: Any, inputs: Mapping[str, np.ndarray], fault: Fault
    ) -> dict[str, np.ndarray]:
        """Output -> a row an image; `classes` are the labels, any other name the scores."""
        check_inputs(signature, inputs)
        (images,) = inputs.values()
        if images.dtype == object:
            files = images.tolist()
        else:
            files = encoded_pixels(images, self.hosted.value_range)
        try:
            scores, labels = self.hosted.score(files, fault)
        except BadImageError:
            raise ServingError(
                "Unknown image file format. One of JPEG, PNG, GIF, BMP required."
            ) from None
        names = np.array([label.encode() for label in labels], object)
        classes = np.tile(names, (len(scores), 1))
        return {
            name: classes if name == "classes" else np.asarray(scores, np.float32)
            for name in self.output_names
        }

    def _definition(self, input_name: str, kind: str) -> Any:
        is_text = kind != "pixels"
        shape = () if is_text else self.hosted.source_shape
        labels = (len(self.hosted.labels),)
        return signature_definition(
            {input_name: tensor_info(is_text=is_text, row_shape=shape)},
            {
                name: tensor_info(is_text=name == "classes", row_shape=labels)
                for name in self.output_names
            },
        )


def encoded_pixels(pixels: np.ndarray, value_range: tuple[float, float]) -> list[bytes]:
    """PNG files of pixels, rounded to 8 bits: equal pixels give equal files.

    Args:
        pixels: `(n, H, W, C)`.
        value_range: `(low, high)` of them.
    """
    low, high = value_range
    codes = np.round((pixels - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
    return [_png(image[..., 0] if image.shape[-1] == 1 else image) for image in codes]


def check_key(key: str | None, sent: str | None) -> None:
    """Raises a `ServingError` unless the key was sent, or none is needed."""
    # Repeats what was sent, as careless services do: clients must not pass it on.
    if key is not None and sent != f"Bearer {key}":
        raise ServingError(f"Unauthenticated: {sent}", "UNAUTHENTICATED")


def _png(codes: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(codes).save(stream, "png")
    return stream.getvalue()
