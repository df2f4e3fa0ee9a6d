"""DICOM files: levels on their physical scale, windows, and whose image it is."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.datasets.level_window import Window, codes_of, shares_of
from keras_reprogram.optional_packages import needs_extra

DICOM_SUFFIXES = (".dcm", ".dicom")
# Lists the files of a medium, and holds no image.
INDEX_NAME = "DICOMDIR"
_MARK_START, _MARK = 128, b"DICM"
HEAD = _MARK_START + len(_MARK)


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file, as scanners and hospitals store images."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        return path.name != INDEX_NAME and has_dicom_mark(file.read(HEAD))


def has_dicom_mark(content: bytes) -> bool:
    """Whether a file's content starts as that of a DICOM file."""
    return content[_MARK_START:HEAD] == _MARK


class DicomFacts(NamedTuple):
    """Facts from the header: `(height, width)`, whether it is grey, whether it states a window."""

    size: tuple[int, int]
    is_grey: bool
    has_window: bool


def dicom_facts(content: bytes) -> DicomFacts:
    """Reads the header; a `ValueError` says why there is no single picture in the file."""
    header = _read(content, stop_before_pixels=True)
    rows, columns = header.get("Rows"), header.get("Columns")
    if not rows or not columns:
        kind = getattr(header.get("SOPClassUID"), "name", None) or "an unknown kind"
        raise ValueError(f"a DICOM file without an image ({kind})")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ValueError(
            f"a DICOM file of {frames} frames, which are not one image. Save the frames that "
            "matter as files of their own (16-bit PNG, or `pydicom.pixels.pixel_array(path, "
            "index=i)`), grouped by patient"
        )
    has_window = "VOILUTSequence" in header or (
        header.get("WindowCenter") is not None and header.get("WindowWidth") is not None
    )
    return DicomFacts((int(rows), int(columns)), header.get("SamplesPerPixel") == 1, has_window)


def patient_of(path: Path) -> str:
    """A hash of the PatientID; empty where the file has none."""
    header = _read(path.read_bytes(), stop_before_pixels=True, specific_tags=["PatientID"])
    patient = str(header.get("PatientID") or "").strip()
    return hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else ""


def dicom_codes(content: bytes, window: Window | None) -> np.ndarray:
    """The picture as 8-bit codes `(h, w, 1 or 3)`: rescaled, windowed, and white on black.

    Without a window it is the first one that the file states (DICOM PS3.3, C.11.2).
    """
    facts = dicom_facts(content)
    dataset = _read(content)
    pixels = _pixels(dataset)
    kind = str(dataset.get("PhotometricInterpretation", ""))
    if pixels.ndim == 3:
        if pixels.dtype != np.uint8:
            raise ValueError(f"DICOM colours of {pixels.dtype}; save it as PNG of 8 bits")
        return pixels
    if not kind.startswith("MONOCHROME"):
        raise ValueError(f"a DICOM image of kind {kind or 'unknown'}; save it as PNG of 8 bits")
    if window is None and not facts.has_window:
        raise ValueError(
            "a DICOM file without a window (WindowCenter, WindowWidth), which no `image_reading` "
            "says either"
        )
    codes = codes_of(
        _in_stated_window(dataset, pixels)
        if window is None
        else shares_of(window, _rescaled(dataset, pixels))
    )
    return (255 - codes if kind == "MONOCHROME1" else codes)[..., None]


def modality_values(content: bytes) -> np.ndarray:
    """Values on the physical scale, such as Hounsfield units, but for the padding around them."""
    dataset = _read(content)
    pixels = _pixels(dataset)
    values = _rescaled(dataset, pixels)
    padding = dataset.get("PixelPaddingValue")
    return values.ravel() if padding is None else values[pixels != padding]


def _read(content: bytes, **options: Any) -> Any:
    with needs_extra("pydicom", "dicom"):
        import pydicom
    try:
        # Files of old scanners lack the mark.
        return pydicom.dcmread(io.BytesIO(content), force=True, **options)
    except Exception as error:  # pydicom raises whatever a damaged element makes of it.
        raise ValueError(f"a DICOM file that cannot be read ({error})") from error


def _pixels(dataset: Any) -> np.ndarray:
    from pydicom.pixels import pixel_array

    try:
        return pixel_array(dataset)
    except Exception as error:  # As above, and for compressions without their package.
        reason = " ".join(str(error).split())
        raise ValueError(f"DICOM pixels that cannot be read ({reason})") from error


def _rescaled(dataset: Any, pixels: np.ndarray) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    return np.asarray(apply_modality_lut(pixels, dataset), np.float64)


def _in_stated_window(dataset: Any, pixels: np.ndarray) -> np.ndarray:
    """Shares of white in the window or the table that the file states."""
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    values = apply_modality_lut(pixels, dataset)
    try:
        if "VOILUTSequence" in dataset:
            bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
            return apply_voi(values, dataset).astype(np.float64) / (2**bits - 1)
        # The range of its results depends on the file; the ends show it.
        ends = np.array([-1e12, 1e12])
        joined = np.concatenate([ends, np.asarray(values, np.float64).ravel()])
        shown = np.asarray(apply_windowing(joined, dataset), np.float64)
    except Exception as error:  # Windows of width 0, tables of another length.
        raise ValueError(f"a DICOM file whose window cannot be applied ({error})") from error
    black, white = shown[:2]
    return ((shown[2:] - black) / (white - black)).reshape(pixels.shape)
