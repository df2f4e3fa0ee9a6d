"""NIfTI files: one slice of a volume on its own scale, as radiologists look at it."""

from __future__ import annotations

import gzip
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.datasets.level_window import Window, codes_of, shares_of
from keras_reprogram.optional_packages import needs_extra

NIFTI_SUFFIXES = (".nii", ".nii.gz")
_GZIP_MARK = b"\x1f\x8b"
# `sizeof_hdr` of version 2, in both byte orders; version 1 has 348.
_VERSION_2 = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
_AXIAL = 2
_ADVICE = "Save the slices that matter as files of their own (`volume.slicer[:, :, i : i + 1]`)"


def is_nifti(name: str) -> bool:
    """Whether a file is called like a NIfTI file."""
    return name.lower().endswith(NIFTI_SUFFIXES)


class NiftiFacts(NamedTuple):
    """Facts from the header: `(height, width)`, whether it states a window, slices to choose of."""

    size: tuple[int, int]
    has_window: bool
    num_slices: int


def nifti_facts(content: bytes) -> NiftiFacts:
    """Reads the header; a `ValueError` says why there is no slice in the file."""
    image = _read(content)
    sides = _sides(image)
    height, width = (sides[axis] for axis in reversed(_plane(sides)))
    return NiftiFacts((height, width), _stated(image) is not None, sides[_across(sides)])


def nifti_values(content: bytes) -> np.ndarray:
    """The slice `(h, w)` on the file's own scale, such as Hounsfield units; all finite values."""
    values = _slice(_read(content))
    return values[np.isfinite(values)]


def nifti_codes(content: bytes, window: Window | None) -> np.ndarray:
    """The slice as 8-bit codes `(h, w, 1)`; without a window it is the file's `cal_min, cal_max`.

    A file of one slice is that slice, any other its middle axial one. Front or head are at the
    top, the patient's right is on the left, as in DICOM. What is no number is black.
    """
    image = _read(content)
    window = window or _stated(image)
    if window is None:
        raise ValueError(
            "a NIfTI file without a window (cal_min, cal_max), which no `image_reading` says either"
        )
    values = _slice(image)
    return codes_of(shares_of(window, np.where(np.isnan(values), window[0], values)))[..., None]


def _read(content: bytes) -> Any:
    with needs_extra("nibabel", "nifti"):
        import nibabel
    try:
        if content.startswith(_GZIP_MARK):
            content = gzip.decompress(content)
        kind = nibabel.Nifti2Image if content[:4] in _VERSION_2 else nibabel.Nifti1Image
        image = kind.from_bytes(content)
    except Exception as error:  # gzip, zlib and nibabel raise whatever they meet.
        raise ValueError(f"a NIfTI file that cannot be read ({error})") from error
    _check_is_a_volume(image)
    return image


def _check_is_a_volume(image: Any) -> None:
    if image.get_data_dtype().kind not in "iuf":
        raise ValueError(
            f"a NIfTI file of {image.get_data_dtype()}, which are no grey levels; save it as PNG"
        )
    shape = image.shape
    if len(shape) < 2 or 0 in shape or np.prod(shape[3:], dtype=int) > 1:
        raise ValueError(
            f"a NIfTI file of shape {shape}, which is no volume of (x, y, z). {_ADVICE}, grouped "
            "by patient"
        )


def _orientation(image: Any) -> np.ndarray:
    """How the file's axes become left to right, back to front, feet to head."""
    import nibabel

    return nibabel.io_orientation(image.affine)


def _sides(image: Any) -> list[int]:
    """The sides of the volume in the order left to right, back to front, feet to head."""
    sides, shape = [1, 1, 1], (*image.shape, 1, 1)[:3]
    for side, (axis, _) in zip(shape, _orientation(image), strict=True):
        sides[int(axis)] = side
    return sides


def _across(sides: list[int]) -> int:
    """The axis across the slice: the only one of one slice, or else feet to head."""
    single = [axis for axis, side in enumerate(sides) if side == 1]
    return single[0] if len(single) == 1 else _AXIAL


def _plane(sides: list[int]) -> list[int]:
    return [axis for axis in range(3) if axis != _across(sides)]


def _slice(image: Any) -> np.ndarray:
    """The slice `(h, w)`, rows from front or head, columns from the patient's right or front."""
    import nibabel

    try:
        values = np.asarray(image.dataobj, np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"NIfTI values that cannot be read ({error})") from error
    volume = nibabel.apply_orientation(
        values.reshape((*image.shape, 1, 1)[:3]), _orientation(image)
    )
    axis = _across(list(volume.shape))
    return volume.take(volume.shape[axis] // 2, axis)[::-1, ::-1].T


def _stated(image: Any) -> Window | None:
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    return (low, high) if high > low else None
