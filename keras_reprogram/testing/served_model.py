"""ServedModel: what TF Serving knows of a model, whichever interface asks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_reprogram.testing.faults import Fault
from keras_reprogram.testing.hosted_model import BadImageError, HostedModel

# Signature -> its input, and what that is: those of `export_saved_model` that take images.
SIGNATURES = {
    "serving_default": ("image", "pixels"),
    "image_bytes": ("image_bytes", "encoded"),
}


class RefusedError(Exception):
    """What the server says no with: the text, and gRPC's name of the code."""

    def __init__(self, text: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(text)
        self.text, self.code = text, code


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
        self.labels, self.signatures = dict(version_labels or {}), dict(signatures or SIGNATURES)
        self.output_names = tuple(output_names)

    def version(self, name: str, version: int | None, label: str | None) -> int:
        """The version that answers."""
        if label and label not in self.labels:
            raise RefusedError(f"Unrecognized servable version label: {label}")
        wanted = self.labels[label] if label else version
        if name != self.name or wanted not in (None, *self.versions):
            which = f"Latest({name})" if wanted is None else f"Specific({name}, {wanted})"
            raise RefusedError(f"Servable not found for request: {which}", "NOT_FOUND")
        return max(self.versions) if wanted is None else wanted

    def statuses(self, name: str, version: int | None) -> list[int]:
        """The versions that a question about the status is about."""
        if name != self.name:
            raise RefusedError(f"Could not find any versions of model {name}", "NOT_FOUND")
        if version is not None and version not in self.versions:
            raise RefusedError(f"Could not find version {version} of model {name}", "NOT_FOUND")
        return [one for one in self.versions if version in (None, one)]

    def input_of(self, signature_name: str) -> tuple[str, str]:
        """Name and kind of a signature's input."""
        if signature_name not in self.signatures:
            raise RefusedError(
                f'Serving signature name: "{signature_name}" not found in signature def'
            )
        return self.signatures[signature_name]

    def outputs(self, images: Sequence[bytes] | np.ndarray, fault: Fault) -> dict[str, list[Any]]:
        """Output -> a row an image; `classes` are the labels, any other name the scores."""
        if isinstance(images, np.ndarray):
            images = encoded_pixels(images, self.hosted.value_range)
        try:
            scores, labels = self.hosted.score(images, fault)
        except BadImageError:
            raise RefusedError(
                "Unknown image file format. One of JPEG, PNG, GIF, BMP required."
            ) from None
        return {
            name: [labels] * len(scores) if name == "classes" else scores.tolist()
            for name in self.output_names
        }

    def check_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the pixels, or refuses a shape that is not the model's."""
        if pixels.shape[1:] != self.hosted.source_shape:
            wanted = ",".join(map(str, self.hosted.source_shape))
            received = ",".join(map(str, pixels.shape))
            raise RefusedError(f"Expected shape [?,{wanted}] but got [{received}]")
        return pixels

    def check_input_names(self, sent: set[str], signature_name: str) -> None:
        """Refuses inputs that are not the signature's one."""
        wanted = {self.input_of(signature_name)[0]}
        if sent != wanted:
            raise RefusedError(
                f"input size does not match signature: {len(sent)}!={len(wanted)} "
                f"len({_braced(sent)}) != len({_braced(wanted)}). "
                f"Sent extra: {_braced(sent - wanted)}. "
                f"Missing but required: {_braced(wanted - sent)}."
            )

    def check_output_names(self, wanted: Iterable[str]) -> None:
        """Refuses outputs that the model does not have."""
        for name in wanted:
            if name not in self.output_names:
                raise RefusedError(
                    f"output tensor alias not found in signature: {name} Outputs expected to be "
                    f"in the set {_braced(self.output_names)}."
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
    """Raises a `RefusedError` unless the key was sent, or none is needed."""
    # Repeats what was sent, as careless services do: clients must not pass it on.
    if key is not None and sent != f"Bearer {key}":
        raise RefusedError(f"Unauthenticated: {sent}", "UNAUTHENTICATED")


def _png(codes: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(codes).save(stream, "png")
    return stream.getvalue()


def _braced(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
