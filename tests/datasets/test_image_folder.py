"""Folders of class folders."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from odd_files import HEIGHT, WIDTH, deep_files
from PIL import Image

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.datasets import load_image_folder
from keras_reprogram.datasets.target_data import Draw


def write_image(path: Path, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90 if mode in ("L", "I;16") else (10, 20, 200)).save(path)


def write_classes(root: Path, copies: int = 5, **arguments: object) -> None:
    for name in ("cat", "dog"):
        for copy in range(copies):
            write_image(root / name / f"{copy}.png", **arguments)


def test_class_folders_are_split_stratified_and_seeded(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", copies=10)
    target = load_image_folder(tmp_path / "pets", seed=3)
    assert target.name == "pets"
    assert target.class_names == ("cat", "dog")
    assert target.train_images.shape == (16, 4, 6, 3)
    assert np.bincount(target.test_labels).tolist() == [2, 2]
    assert target.train_images[0, 0, 0].tolist() == [10, 20, 200]
    assert target.notes == ("No test folder: split 80/20 by class, seed 3.",)
    assert str(tmp_path / "pets") in target.origin


@pytest.mark.parametrize("test_name", ["test", "validation", "val"])
def test_train_and_test_folders_are_kept_apart(tmp_path: Path, test_name: str) -> None:
    write_classes(tmp_path / "train", copies=3)
    write_classes(tmp_path / test_name, copies=2)
    target = load_image_folder(tmp_path)
    assert target.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert target.test_labels.tolist() == [0, 0, 1, 1]
    other = f"No test folder: {test_name}/ is the test part."
    assert target.notes == (() if test_name == "test" else (other,))
    assert target.validation_rows is None


def test_test_labels_are_those_of_the_training_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_image(tmp_path / "test" / "dog" / "0.png")
    assert load_image_folder(tmp_path).test_labels.tolist() == [1]


@pytest.mark.parametrize("name", ["validation", "val"])
def test_validation_beside_test_decides(tmp_path: Path, name: str) -> None:
    for part, copies in (("train", 3), ("test", 2), (name, 1)):
        write_classes(tmp_path / part, copies)
    target = load_image_folder(tmp_path)
    assert (target.notes, len(target.test_labels)) == ((), 4)
    assert target.validation_rows.tolist() == [False] * 6 + [True] * 2
    assert target.train_labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]
    assert target.learned().train_labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_beside_train_and_test_are_noted(tmp_path: Path) -> None:
    for part in ("train", "test", "more"):
        write_classes(tmp_path / part)
    assert load_image_folder(tmp_path).notes == ("The folder more/ was not used.",)


def test_groups_of_a_table_stay_together(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", copies=20)
    rows = [f"{name}/{n}.png,owner {n // 4}" for name in ("cat", "dog") for n in range(20)]
    (tmp_path / "owners.csv").write_text("\n".join(["path,group", *rows]))
    target = load_image_folder(tmp_path / "pets", groups=tmp_path / "owners.csv")
    assert target.notes == ("No test folder: split 80/20 by group, seed 0.",)
    assert len(target.test_labels) == 8
    assert sorted(np.bincount(target.train_groups, minlength=5).tolist()) == [0, 8, 8, 8, 8]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["path,group", "cat/0.png,a"], r"none for 9 of 10, such as cat/1.png.*Add a row"),
        (["path,patient", "cat/0.png,a"], r"column 'group'. Received: the columns path, patient"),
        (["path,group", "cat/0.png,"], r"a group in row 1 of .*owners.csv.*an empty cell"),
        (["path,group", "cat/0.png,a", "cat/0.png,b"], "one group an image in row 2"),
        (["path,group"], "to have rows"),
    ],
)
def test_groups_that_are_missing_are_refused(
    tmp_path: Path, rows: list[str], expected: str
) -> None:
    write_classes(tmp_path / "pets")
    (tmp_path / "owners.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=expected):
        load_image_folder(tmp_path / "pets", groups=tmp_path / "owners.csv")


def test_a_group_in_two_folders_is_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_classes(tmp_path / "pets" / part, copies=1)
    files = [f"{part}/{name}/0.png" for part in ("train", "test") for name in ("cat", "dog")]
    rows = [f"{file},{group}" for file, group in zip(files, "abbc", strict=True)]
    (tmp_path / "owners.csv").write_text("\n".join(["path,group", *rows]))
    with pytest.raises(ValueError, match="train/dog/0.png in train and .*test/cat/0.png in test"):
        load_image_folder(tmp_path / "pets", groups=tmp_path / "owners.csv")


def test_only_drawn_files_are_opened(tmp_path: Path) -> None:
    write_classes(tmp_path, copies=10)
    whole = load_image_folder(tmp_path).draw(8, 2, seed=0)
    drawn = load_image_folder(tmp_path, draw=Draw(8, 2, 0))
    np.testing.assert_array_equal(drawn.train_labels, whole.train_labels)
    assert drawn.notes == whole.notes
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no image")
    for path in opened_by_draw(tmp_path):
        write_image(path)
    again = load_image_folder(tmp_path, draw=Draw(8, 2, 0))
    np.testing.assert_array_equal(again.train_images, drawn.train_images)


def opened_by_draw(folder: Path) -> list[Path]:
    """The files of a draw, found by asking for it: each that is opened and broken is named."""
    found: list[Path] = []
    while len(found) < 10:
        with pytest.raises(ValueError, match="to be a readable image") as error:
            load_image_folder(folder, draw=Draw(8, 2, 0))
        found.append(Path(str(error.value).split()[1]))
        write_image(found[-1])
    return found


def test_train_folder_alone_is_split(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    target = load_image_folder(tmp_path)
    assert target.class_names == ("cat", "dog")
    assert len(target.test_images) == 2


def test_class_called_train(tmp_path: Path) -> None:
    for copy in range(5):
        write_image(tmp_path / "bus" / f"{copy}.png")
        write_image(tmp_path / "train" / f"{copy}.png")
    assert load_image_folder(tmp_path).class_names == ("bus", "train")


def test_grey_stays_grey_and_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    write_classes(tmp_path, mode="L")
    assert load_image_folder(tmp_path).target_shape == (4, 6, 1)
    write_image(tmp_path / "cat" / "colour.png")
    assert load_image_folder(tmp_path).target_shape == (4, 6, 3)


def test_sizes_that_agree_are_kept(tmp_path: Path) -> None:
    write_classes(tmp_path, size=(300, 2))
    assert load_image_folder(tmp_path, image_size=8).target_shape == (2, 300, 3)


@pytest.mark.parametrize(
    ("image_size", "shape"), [(None, (4, 6, 3)), (8, (8, 8, 3)), ((5, 7), (5, 7, 3))]
)
def test_sizes_that_differ_become_one(tmp_path: Path, image_size: object, shape: object) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "cat" / "big.png", size=(60, 40))
    target = load_image_folder(tmp_path, image_size=image_size, fit="crop")
    assert target.target_shape == shape
    assert any("heights 4 to 40, widths 6 to 60" in note for note in target.notes)


def test_median_size_is_capped(tmp_path: Path) -> None:
    write_classes(tmp_path, size=(448, 100))
    write_image(tmp_path / "cat" / "small.png", size=(10, 10))
    said = r"1 of 11 images \(9%\) were stretched by more than 10% to 50x224.*--fit crop"
    with pytest.warns(UserWarning, match=said) as warned:
        assert load_image_folder(tmp_path).target_shape == (50, 224, 3)
    assert len(warned) == 1


@pytest.mark.parametrize(("fit", "columns"), [("crop", range(8, 16)), ("pad", range(24))])
def test_aspect_ratios_are_kept(tmp_path: Path, fit: str, columns: range) -> None:
    """Stripes 24 wide and 8 high, in a square of 8 or of 24."""
    stripes = np.arange(24, dtype=np.uint8).repeat(8).reshape(24, 8).T * 10
    for name in ("cat", "dog"):
        for copy in range(5):
            write_image(tmp_path / name / f"{copy}.png", size=(8, 8), mode="L")
            Image.fromarray(stripes).save(tmp_path / name / f"wide {copy}.png")
    side = 8 if fit == "crop" else 24
    target = load_image_folder(tmp_path, image_size=side, fit=fit)
    assert target.image_reading == ImageReading(fit)
    wide = [image for image in target.train_images[..., 0] if len(np.unique(image)) > 2]
    assert len(wide) == 8
    for image in wide:
        band = image if fit == "crop" else image[8:16]
        assert band.tolist() == [[10 * column for column in columns]] * 8
        assert fit == "crop" or not image[:8].any() and not image[16:].any()


def test_another_fit_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    with pytest.raises(ValueError, match=r"`fit` must be one of .*fit='squeeze'"):
        load_image_folder(tmp_path, fit="squeeze")


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_narrow_window_of_sixteen_bits_is_found(tmp_path: Path, kind: str) -> None:
    """12-bit levels between 1,000 and 1,400, and a marker of a few pixels in each."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for copy in range(5):
            levels = random.integers(1000, 1401, (40, 40)).astype(np.uint16)
            levels[0, :3] = 4000
            Image.fromarray(levels).save(tmp_path / name / f"{copy}.{kind}")
    target = load_image_folder(tmp_path)
    low, high = target.target_range
    assert (low, high) == pytest.approx((1000, 1400), abs=8)
    assert target.image_reading == ImageReading(depth=12)
    assert (target.train_images[:, 0, :3] == high).all()
    assert any("12 bits" in note and f"{low:,.0f}..{high:,.0f}" in note for note in target.notes)
    again = load_image_folder(
        tmp_path, target_range=target.target_range, reading=target.image_reading
    )
    np.testing.assert_array_equal(again.test_images, target.test_images)


@pytest.mark.parametrize("image_size", [0, (3,), (3, 0), 2.5, "8"])
def test_bad_image_size_is_refused(tmp_path: Path, image_size: object) -> None:
    write_classes(tmp_path)
    with pytest.raises(ValueError, match="positive integer or"):
        load_image_folder(tmp_path, image_size=image_size)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        for copy in range(3):
            path = tmp_path / name / f"{copy}.jpg"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (6, 4)).save(path, exif=exif)
    assert load_image_folder(tmp_path).target_shape == (6, 4, 3)


def write_levels(folder: Path, highest: int, kind: str = "png", shape: tuple = (4, 6)) -> None:
    """16-bit grey files, two classes, levels spread up to `highest`."""
    levels = np.linspace(0, highest, int(np.prod(shape))).round().reshape(shape).astype(np.uint16)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for copy in range(5):
            # One file alone shows how many bits are used.
            dark = 1 if (name, copy) == ("dog", 0) else 4
            Image.fromarray(levels // dark).save(folder / name / f"{copy}.{kind}")


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(
    ("highest", "depth"), [(1023, 10), (700, 10), (4095, 12), (16383, 14), (65535, 16)]
)
def test_sixteen_bit_files_keep_the_levels_that_they_use(
    tmp_path: Path, highest: int, depth: int, kind: str
) -> None:
    write_levels(tmp_path, highest, kind)
    target = load_image_folder(tmp_path)
    assert target.target_range == (0.0, 2.0**depth - 1)
    assert target.target_shape == (4, 6, 1)
    assert target.train_images.dtype == np.float32
    found = set(np.unique(np.concatenate([target.train_images, target.test_images])))
    levels = np.linspace(0, highest, 24).round().astype(int)
    assert found == set(levels) | set(levels // 4)
    assert any(f"read as {depth} bits" in note and f"{highest:,}" in note for note in target.notes)


def test_eight_bits_in_sixteen_are_eight_bits(tmp_path: Path) -> None:
    write_levels(tmp_path, 250)
    write_image(tmp_path / "cat" / "shallow.png", mode="L")
    target = load_image_folder(tmp_path)
    assert (target.target_range, target.train_images.dtype) == ((0.0, 255.0), np.uint8)
    images = np.concatenate([target.train_images, target.test_images])
    assert {images[row].max() for row in range(11)} == {62, 90, 250}


def test_sixteen_bits_beside_eight_are_refused(tmp_path: Path) -> None:
    write_levels(tmp_path, 4000)
    write_image(tmp_path / "cat" / "shallow.png", mode="L")
    with pytest.raises(ValueError, match=r"10 of 16 bits .* 4,000.*shallow.png.*save all of them"):
        load_image_folder(tmp_path)


def test_sixteen_bit_files_are_resized_without_losing_levels(tmp_path: Path) -> None:
    write_levels(tmp_path, 4095, shape=(20, 20))
    write_levels(tmp_path / "more", 4095)
    target = load_image_folder(tmp_path / "more", image_size=8)
    assert target.target_shape == (4, 6, 1)
    for name in ("cat", "dog"):
        levels = np.full((9, 9), 1001, np.uint16)
        Image.fromarray(levels).save(tmp_path / name / "small.png")
    shutil.rmtree(tmp_path / "more")
    target = load_image_folder(tmp_path, image_size=8)
    images = np.concatenate([target.train_images, target.test_images])
    assert images.shape == (12, 8, 8, 1)
    assert (images == 1001).all(axis=(1, 2, 3)).sum() == 2
    assert len(np.unique(images)) > 60


def test_colours_of_sixteen_bits(tmp_path: Path) -> None:
    """Pillow alone would keep the upper 8 bits: 16 levels of 12-bit files."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for copy in range(3):
            (tmp_path / name / f"{copy}.png").write_bytes(deep_files(4095)["colours"])
    target = load_image_folder(tmp_path)
    assert (target.target_range, target.target_shape) == ((0.0, 4095.0), (HEIGHT, WIDTH, 3))
    expected = tf.io.decode_png(deep_files(4095)["colours"], dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(target.train_images[0], expected)


def test_colours_of_sixteen_bits_in_tiff_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    pixels = np.full((4, 6, 3), 3000, "<u2").tobytes()
    (tmp_path / "cat" / "deep.tif").write_bytes(tiff(6, 4, 16, 3, pixels))
    with pytest.raises(ValueError, match="deep.tif.*colours of 16 bits.*save it as PNG"):
        load_image_folder(tmp_path)


def tiff(width: int, height: int, bits: int, channels: int, pixels: bytes) -> bytes:
    """A TIFF of one strip, which Pillow reads and does not write in 16-bit colours."""
    depths = 8 + 2 + 9 * 12 + 4
    entries = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, depths), (259, 3, 1, 1)),
        *((262, 3, 1, 2), (273, 4, 1, depths + 2 * channels), (277, 3, 1, channels)),
        *((278, 4, 1, height), (279, 4, 1, len(pixels))),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return header + struct.pack("<H", bits) * channels + pixels


def test_files_are_read_in_the_range_that_a_program_wants(tmp_path: Path) -> None:
    write_levels(tmp_path / "dark", 500)
    with pytest.warns(UserWarning, match="use only a part"):
        dark = load_image_folder(tmp_path / "dark", target_range=(0, 4095))
    assert dark.target_range == (0, 4095)
    assert max(dark.train_images.max(), dark.test_images.max()) == 500
    write_classes(tmp_path / "shallow", mode="L")
    shallow = load_image_folder(tmp_path / "shallow", target_range=(-1.0, 1.0))
    np.testing.assert_allclose(np.unique(shallow.train_images), [90 / 127.5 - 1], rtol=1e-6)
    write_levels(tmp_path / "bright", 5000)
    with pytest.raises(ValueError, match=r"levels in 0..4095.*levels up to 5,000"):
        load_image_folder(tmp_path / "bright", target_range=(0, 4095))


def test_kinds_of_files_that_no_export_takes_are_noted(tmp_path: Path) -> None:
    write_classes(tmp_path)
    assert not any("exported" in note for note in load_image_folder(tmp_path).notes)
    for kind in ("webp", "tif", "gif", "bmp"):
        write_image(tmp_path / "cat" / f"other.{kind}")
    notes = load_image_folder(tmp_path).notes
    assert any("not .gif, .tif, .webp: save" in n for n in notes)


def test_images_without_a_fixed_range_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    Image.fromarray(np.ones((4, 6), np.float32)).save(tmp_path / "cat" / "float.tif")
    with pytest.raises(ValueError, match="float.tif.*32-bit numbers.*8 or 16 bits"):
        load_image_folder(tmp_path)


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "._0.png").write_bytes(b"x")
    (tmp_path / "cat" / "notes.txt").write_text("x")
    write_image(tmp_path / "dog" / "more" / "deep.png")
    target = load_image_folder(tmp_path)
    assert len(target.train_images) + len(target.test_images) == 11
    assert "1 file(s) that are not images were left out." in target.notes


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_corrupt_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    write_classes(tmp_path, size=(60, 40))
    path = tmp_path / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(ValueError, match="3.png to be a readable image"):
        load_image_folder(tmp_path)


def test_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "fish").mkdir()
    with pytest.raises(ValueError, match="class folder .*fish. Received: none"):
        load_image_folder(tmp_path)


def test_test_class_that_is_not_trained_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_image(tmp_path / "test" / "fish" / "0.png")
    with pytest.raises(ValueError, match=r"Received: \['fish'\]"):
        load_image_folder(tmp_path)


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png")
    with pytest.raises(ValueError, match="two or more classes. Received: 0"):
        load_image_folder(tmp_path)


def test_single_images_leave_nothing_to_test(tmp_path: Path) -> None:
    write_classes(tmp_path, copies=1)
    with pytest.raises(ValueError, match="at least two images"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(("name", "what"), [("nowhere", "missing"), ("file", "not a folder")])
def test_missing_folder_is_named(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=f"{name}', which is {what}"):
        load_image_folder(tmp_path / name)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_files_of_tifffile_are_read(tmp_path: Path, compression: str | None) -> None:
    tifffile = pytest.importorskip("tifffile")
    if compression == "lzw":
        pytest.importorskip("imagecodecs", reason="tifffile needs it for LZW")
    levels = np.linspace(0, 4095, 48).round().astype(np.uint16).reshape(6, 8)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for copy in range(3):
            place = tmp_path / name / f"{copy}.tif"
            tifffile.imwrite(place, levels, compression=compression)
    target = load_image_folder(tmp_path)
    assert (target.target_range, target.image_reading.depth) == ((0, 4095), 12)
    np.testing.assert_array_equal(target.train_images[0, ..., 0], levels)
    tifffile.imwrite(tmp_path / "cat" / "0.tif", np.stack([levels] * 3), photometric="minisblack")
    with pytest.raises(ValueError, match="cat/0.tif.*3 pages; save those"):
        load_image_folder(tmp_path)
