"""NIfTI files, written by nibabel: slices, windows, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel")

from keras_reprogram.datasets import load_image_folder, load_manifest  # noqa: E402
from keras_reprogram.datasets.image_files import decode_image, image_facts  # noqa: E402

SIDES = (6, 9, 5)


def volume(number: int = 0) -> np.ndarray:
    """Even Hounsfield units from left to right, back to front, feet to head."""
    random = np.random.default_rng(number)
    return 2 * random.integers(-400, 300, SIDES).astype(np.int16)


def write(path: Path, values: np.ndarray, window=(0, 0), axes: str = "RAS", kind: int = 1) -> Path:
    """The volume with its axes in this order on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (nibabel.Nifti1Image, nibabel.Nifti2Image)[kind - 1](values, np.eye(4))
    turned = nibabel.orientations.axcodes2ornt(axes)
    image = image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), turned)
    )
    image.header["cal_min"], image.header["cal_max"] = window
    nibabel.save(image, path)
    return path


def codes(path: Path) -> np.ndarray:
    return decode_image(path, str(path), grey=True)[..., 0]


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(255 * ((values.astype(float) - low) / (high - low)).clip(0, 1))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "AIL"])
@pytest.mark.parametrize("name", ["a.nii", "a.NII.GZ"])
def test_the_middle_axial_slice_is_shown_as_radiologists_do(
    tmp_path: Path, axes: str, name: str
) -> None:
    path = write(tmp_path / name, volume(), (-160, 240), axes, kind=1 + (name == "a.nii"))
    assert nibabel.aff2axcodes(nibabel.load(path).affine) == tuple(axes)
    # Front at the top, the patient's right on the left.
    shown = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()[:, :, 2]
    np.testing.assert_array_equal(shown, volume()[:, :, 2])
    np.testing.assert_array_equal(codes(path), windowed(shown[::-1, ::-1].T, -160, 240))
    facts = image_facts(path)
    assert (facts.size, facts.scan, facts.num_slices) == ((9, 6), "NIfTI", 5)
    assert facts.is_grey and facts.has_window
    assert 0.1 < (codes(path) % 255 > 0).mean() < 0.9


@pytest.mark.parametrize(("axis", "size"), [(0, (5, 9)), (1, (5, 6)), (2, (9, 6))])
def test_a_file_of_one_slice_is_that_slice(tmp_path: Path, axis: int, size: tuple) -> None:
    write(tmp_path / "all.nii", volume())
    cut = [slice(None)] * 3
    cut[axis] = slice(1, 2)
    one = nibabel.load(tmp_path / "all.nii").slicer[tuple(cut)]
    one.header["cal_min"], one.header["cal_max"] = -500, 500
    nibabel.save(one, tmp_path / "one.nii.gz")
    facts = image_facts(tmp_path / "one.nii.gz")
    assert (facts.size, facts.num_slices) == (size, 1)
    expected = volume().take(1, axis)[::-1, ::-1].T
    np.testing.assert_array_equal(codes(tmp_path / "one.nii.gz"), windowed(expected, -500, 500))


def test_values_are_on_the_files_own_scale(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(volume() / 7, np.eye(4))
    image.set_data_dtype(np.int16)
    image.header["cal_min"], image.header["cal_max"] = -60, 60
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii")
    assert stored.dataobj.slope < 0.01 and stored.dataobj.inter < -10
    expected = windowed(stored.get_fdata()[::-1, ::-1, 2].T, -60, 60)
    np.testing.assert_array_equal(codes(tmp_path / "a.nii"), expected)
    near = windowed(volume()[::-1, ::-1, 2].T / 7, -60, 60)
    np.testing.assert_allclose(expected, near, atol=1)


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    values = volume().astype(np.float32)
    values[0, 0] = np.nan
    write(tmp_path / "a.nii", values, (-300, 300))
    assert codes(tmp_path / "a.nii")[-1, -1] == 0


def write_study(folder: Path, ending: str = ".nii.gz", **options) -> None:
    for name in ("ill", "well"):
        for number in range(10):
            write(folder / name / f"{number}{ending}", volume(number), **options)


def test_a_window_is_found_where_files_state_none(tmp_path: Path) -> None:
    write_study(tmp_path)
    target = load_image_folder(tmp_path)
    assert (target.target_shape, target.train_images.dtype) == ((9, 6, 1), np.uint8)
    low, high = target.image_reading.dicom_window
    assert -800 <= low < -780 and 570 < high < 600
    assert any(f"NIfTI file states a window: {low:g}..{high:g}" in note for note in target.notes)
    assert any("20 of 20 files are volumes of several slices" in note for note in target.notes)
    assert any("not NIfTI: save the images" in note for note in target.notes)
    path = tmp_path / "well" / "0.nii.gz"
    one = decode_image(path, "0.nii.gz", grey=True, reading=target.image_reading)
    expected = windowed(volume(0)[::-1, ::-1, 2].T, low, high)
    np.testing.assert_array_equal(one[..., 0], expected)
    with pytest.raises(ValueError, match=r"0\.nii\.gz.*without a window"):
        decode_image(path, "0.nii.gz", grey=True)
    again = load_image_folder(tmp_path, reading=target.image_reading)
    np.testing.assert_array_equal(again.test_images, target.test_images)


def test_a_manifest_groups_volumes(tmp_path: Path) -> None:
    write_study(tmp_path, window=(-160, 240))
    rows = [f"{k}/{n}.nii.gz,{k},{k}{n // 2}" for k in ("ill", "well") for n in range(10)]
    (tmp_path / "study.csv").write_text("\n".join(["path,label,group", *rows]))
    target = load_manifest(tmp_path / "study.csv")
    assert target.image_reading.dicom_window is None
    assert np.unique(target.train_groups, return_counts=True)[1].tolist() == [2] * 8


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    series = nibabel.Nifti1Image(np.zeros((4, 4, 3, 7), np.int16), np.eye(4))
    nibabel.save(series, tmp_path / "series.nii")
    colour = np.zeros((4, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "colour.nii")
    (tmp_path / "text.nii").write_bytes(b"no volume")
    (tmp_path / "text.nii.gz").write_bytes(b"\x1f\x8bno volume")
    whole = write(tmp_path / "whole.nii", volume()).read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:400])
    for name, message in {
        "series.nii": r"of shape \(4, 4, 3, 7\), which is no volume.*slicer.*grouped by patient",
        "colour.nii": "no grey levels; save it as PNG",
        "text.nii": "NIfTI file that cannot be read",
        "text.nii.gz": "NIfTI file that cannot be read",
        "cut.nii": "NIfTI values that cannot be read|without a window",
    }.items():
        with pytest.raises(ValueError, match=rf"{name} to be a readable image.*({message})"):
            codes(tmp_path / name)
