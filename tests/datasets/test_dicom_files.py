"""DICOM files, written by pydicom: windows, patients, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from dicom_writer import write_dicom  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_windowing, pixel_array  # noqa: E402

from keras_reprogram.datasets import load_image_folder, load_manifest  # noqa: E402
from keras_reprogram.datasets.image_files import decode_image  # noqa: E402

CHEST = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 100, "WindowWidth": 401}


def scan(number: int = 0) -> np.ndarray:
    """12-bit levels that differ from scan to scan."""
    random = np.random.default_rng(number)
    return random.integers(300, 900, (9, 7), dtype=np.uint16)


def codes(path: Path) -> np.ndarray:
    return decode_image(path, str(path), grey=True)[..., 0]


def test_levels_are_rescaled_and_windowed_as_pydicom_does_it(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", scan(), **CHEST)
    units = apply_modality_lut(pixel_array(path), pydicom.dcmread(path))
    shown = apply_windowing(units, pydicom.dcmread(path))
    ends = apply_windowing(np.array([-1e9, 1e9]), pydicom.dcmread(path))
    expected = np.rint(255 * (shown - ends[0]) / (ends[1] - ends[0]))
    np.testing.assert_array_equal(codes(path), expected)
    # PS3.3 C.11.2.1.2.1 in its own numbers: 100 - 200 and less is black, 100 + 199.5 white.
    assert (codes(path)[units <= -100] == 0).all()
    assert (codes(path)[units > 300] == 255).all()
    assert 0.2 < (codes(path) % 255 > 0).mean() < 0.8


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    bright = codes(write_dicom(tmp_path / "1.dcm", scan(), **CHEST))
    kind = {"PhotometricInterpretation": "MONOCHROME1"}
    dark = codes(write_dicom(tmp_path / "2.dcm", scan(), **CHEST, **kind))
    np.testing.assert_array_equal(dark, 255 - bright)


def test_a_table_in_the_file_is_a_window(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [1024, 0, 16]
    table.LUTData = (np.arange(1024) ** 2 // 16).astype(np.uint16).tobytes()
    path = write_dicom(tmp_path / "1.dcm", scan())
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00283010, "SQ", [table])
    dataset.save_as(path)
    expected = np.rint(255 * (scan().astype(float) ** 2 // 16) / 65535)
    np.testing.assert_array_equal(codes(path), expected)


def test_colours_are_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path = write_dicom(tmp_path / "1.dcm", colours)
    np.testing.assert_array_equal(decode_image(path, "1", grey=False), colours)


def write_study(folder: Path, ending: str = ".dcm", **elements: object) -> None:
    """Two classes of ten files, two files a patient."""
    for name in ("ill", "well"):
        for number in range(10):
            patient = {"PatientID": f"{name}-{number // 2}"} | elements
            write_dicom(folder / name / f"{number}{ending}", scan(number), **patient)


@pytest.mark.parametrize("ending", [".dcm", "", ".DICOM"])
def test_a_folder_is_split_by_patient(tmp_path: Path, ending: str) -> None:
    write_study(tmp_path, ending, **CHEST)
    target = load_image_folder(tmp_path)
    assert (target.target_shape, target.train_images.dtype) == ((9, 7, 1), np.uint8)
    assert "No test folder: split 80/20 by group, seed 0." in target.notes
    assert np.unique(target.train_groups, return_counts=True)[1].tolist() == [2] * 8
    assert target.image_reading.dicom_window is None
    assert any("not DICOM: save the images" in note for note in target.notes)
    assert not any("ill-" in str(said) for said in (target.notes, target.origin))


def test_without_patients_a_note_says_so(tmp_path: Path) -> None:
    write_study(tmp_path, **CHEST, PatientID="")
    target = load_image_folder(tmp_path)
    assert target.train_groups is None
    assert any("20 of 20 files name no PatientID" in note for note in target.notes)


def test_a_manifest_takes_patients_too(tmp_path: Path) -> None:
    write_study(tmp_path, **CHEST)
    rows = [f"{name}/{n}.dcm,{name}" for name in ("ill", "well") for n in range(10)]
    (tmp_path / "study.csv").write_text("\n".join(["path,label", *rows]))
    target = load_manifest(tmp_path / "study.csv")
    assert np.unique(target.train_groups, return_counts=True)[1].tolist() == [2] * 8


def test_a_window_is_found_where_files_state_none(tmp_path: Path) -> None:
    padding = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelPaddingValue": 0}
    write_study(tmp_path, **padding)
    levels = scan(3)
    levels[0] = 0
    write_dicom(tmp_path / "ill" / "3.dcm", levels, PatientID="ill-1", **padding)
    target = load_image_folder(tmp_path)
    low, high = target.image_reading.dicom_window
    assert (low, high) == pytest.approx((300 - 1024, 899 - 1024), abs=8)
    assert any("state" in note and f"{low:g}..{high:g}" in note for note in target.notes)
    found = load_image_folder(tmp_path, reading=target.image_reading)
    np.testing.assert_array_equal(found.test_images, target.test_images)
    path = tmp_path / "well" / "0.dcm"
    one = decode_image(path, "0", grey=True, reading=target.image_reading)
    expected = 255 * (scan(0).astype(float) - 1024 - low) / (high - low)
    np.testing.assert_array_equal(one[..., 0], np.rint(expected.clip(0, 255)))
    with pytest.raises(ValueError, match="0.dcm.*without a window"):
        decode_image(path, "0.dcm", grey=True)


def test_what_is_no_single_picture_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, **CHEST)
    frames = np.zeros((3, 9, 7, 1), np.uint16)
    write_dicom(tmp_path / "ill" / "0.dcm", frames, **CHEST)
    with pytest.raises(ValueError, match=r"ill/0.dcm.*3 frames.*files of their own"):
        load_image_folder(tmp_path)
    path = write_dicom(tmp_path / "ill" / "0.dcm", scan(), **CHEST, Rows=None)
    with pytest.raises(ValueError, match=r"ill/0.dcm.*without an image \(CT Image Storage\)"):
        load_image_folder(tmp_path)
    path.write_bytes(bytes(128) + b"DICM" + bytes(400))
    with pytest.raises(ValueError, match=r"ill/0.dcm.*a DICOM file without an image"):
        load_image_folder(tmp_path)
    path.write_text("no image at all")
    with pytest.raises(ValueError, match=r"ill/0.dcm.*DICOM file"):
        load_image_folder(tmp_path)
    whole = write_dicom(path, scan(), **CHEST).read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"ill/0.dcm.*DICOM pixels that cannot be read"):
        load_image_folder(tmp_path)
    write_dicom(path, scan(), **{**CHEST, "WindowWidth": 0})
    with pytest.raises(ValueError, match=r"ill/0.dcm.*window cannot be applied"):
        load_image_folder(tmp_path)


def test_an_index_of_a_disc_is_no_image(tmp_path: Path) -> None:
    write_study(tmp_path, **CHEST)
    (tmp_path / "ill" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert any("1 file(s) that are not images" in n for n in load_image_folder(tmp_path).notes)


def test_pictures_may_lie_beside(tmp_path: Path) -> None:
    write_study(tmp_path, **CHEST)
    Image.new("L", (7, 9), 200).save(tmp_path / "ill" / "picture.png")
    target = load_image_folder(tmp_path)
    assert any("1 of 21 files name no PatientID: each" in note for note in target.notes)


def test_without_pydicom_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path, **CHEST)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"keras-reprogram\[dicom\]"):
        load_image_folder(tmp_path)
