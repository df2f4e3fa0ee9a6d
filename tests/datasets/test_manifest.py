"""Manifests: tables with one image file a row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_reprogram.datasets import load_manifest, load_target
from keras_reprogram.datasets.target_data import Draw

pandas = pytest.importorskip("pandas")


def write_images(folder: Path, count: int = 20) -> list[str]:
    """Grey files whose every pixel is ten times their number."""
    (folder / "scans").mkdir(parents=True)
    names = [f"scans/{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.new("L", (3, 2), 10 * number).save(folder / name)
    return names


def table(folder: Path, count: int = 20) -> Any:
    """A DataFrame of `count` images of two classes."""
    labels = [("well", "ill")[number % 2] for number in range(count)]
    return pandas.DataFrame({"path": write_images(folder, count), "label": labels})


def of_pixels(images: np.ndarray) -> list[int]:
    """The numbers of the files that images came from."""
    return (images[:, 0, 0, 0] // 10).tolist()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".CSV"])
def test_all_columns_are_read_from_every_kind_of_table(tmp_path: Path, ending: str) -> None:
    rows = table(tmp_path)
    rows["split"] = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    rows["group"] = [f"patient {number // 2}" for number in range(20)]
    rows["weight"] = np.arange(20) / 4
    rows["age"] = 40
    path = tmp_path / f"study{ending}"
    if ending == ".parquet":
        rows.to_parquet(path)
    else:
        rows.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ";")
    target = load_target(str(path))
    assert (target.name, target.class_names) == ("study", ("ill", "well"))
    assert of_pixels(target.train_images) == list(range(16))
    assert of_pixels(target.test_images) == [16, 17, 18, 19]
    assert target.train_labels.tolist() == [1, 0] * 8
    assert target.validation_rows.tolist() == [False] * 12 + [True] * 4
    assert target.train_weight.tolist() == (np.arange(16) / 4).tolist()
    first, second = target.train_groups[:4:2]
    assert target.train_groups[:4].tolist() == [first, first, second, second]
    assert len(set(target.train_groups)) == 8
    assert target.notes == ("Columns that were not used: age.",)
    assert target.origin == f"20 image files in the table {path}."


def test_rows_without_parts_are_split_by_group(tmp_path: Path) -> None:
    rows = table(tmp_path)
    rows["group"] = np.arange(20) // 4
    target = load_manifest(rows, folder=tmp_path, seed=1)
    assert target.notes == ("No test rows: split 80/20 by group, seed 1.",)
    groups = {number // 4 for number in of_pixels(target.test_images)}
    assert len(groups) == 1
    assert groups.isdisjoint(number // 4 for number in of_pixels(target.train_images))


def test_validation_rows_stay_when_a_test_part_is_split_off(tmp_path: Path) -> None:
    rows = table(tmp_path)
    rows["split"] = ["training"] * 15 + ["val"] * 5
    target = load_manifest(rows, folder=tmp_path)
    held = of_pixels(target.train_images[target.validation_rows])
    assert held == [15, 16, 17, 18, 19]
    assert len(target.test_images) == 3
    assert max(of_pixels(target.test_images)) < 15


def test_several_columns_are_findings(tmp_path: Path) -> None:
    rows = table(tmp_path).drop(columns="label")
    rows["Mass"] = [number % 3 == 0 for number in range(20)]
    rows["Nodule"] = [float(number % 5 == 0) for number in range(20)]
    rows["split"] = ["train"] * 16 + ["test"] * 4
    target = load_manifest(rows, folder=tmp_path)
    assert target.is_multi_label
    assert target.class_names == ("Mass", "Nodule")
    assert target.train_labels.shape == (16, 2)
    assert target.train_labels[[0, 3, 5, 7]].tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]]
    assert target.test_labels.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]
    drawn = target.draw(6, None, seed=0)
    assert drawn.train_labels.shape == (6, 2)
    assert drawn.train_labels.sum(axis=0).min() > 0


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    rows = table(tmp_path).rename(columns={"path": "Image Index", "label": "Diagnosis"})
    rows["label"] = "unknown"
    columns = {"path": "Image Index", "label": "Diagnosis"}
    target = load_manifest(rows, folder=tmp_path, columns=columns)
    assert target.class_names == ("ill", "well")


def test_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    rows = table(tmp_path)
    rows["label"] = [(2, 10)[number % 2] for number in range(20)]
    assert load_manifest(rows, folder=tmp_path).class_names == ("2", "10")


def test_a_draw_opens_only_its_files(tmp_path: Path) -> None:
    rows = table(tmp_path)
    rows["split"] = ["train"] * 16 + ["test"] * 4
    kept = load_manifest(rows, folder=tmp_path).draw(6, 2, seed=3)
    wanted = {*of_pixels(kept.train_images), *of_pixels(kept.test_images)}
    for number in set(range(20)) - wanted:
        (tmp_path / f"scans/{number}.png").write_bytes(b"no image")
    drawn = load_manifest(rows, folder=tmp_path, draw=Draw(6, 2, 3))
    np.testing.assert_array_equal(drawn.train_images, kept.train_images)
    assert drawn.notes == kept.notes
    with pytest.raises(ValueError, match="scans/.*to be a readable image"):
        load_manifest(rows, folder=tmp_path)


WRONG = {
    "missing": ("path", 3, "scans/none.png", r"20 files.*1 that do not exist, such as .*none.png"),
    "twice": ("path", 3, "scans/0.png", "row 4 of .*scans/0.png, which is row 1 too"),
    "no path": ("path", 0, "", "a path in row 1 of .*an empty cell"),
    "no label": ("label", 5, None, "a label in row 6 of .*an empty cell"),
    "part": ("split", 2, "later", "train, validation or test in row 3 .*'later'"),
    "leak": ("group", 0, "p19", "scans/0.png in train and .*scans/19.png in test.*group p19"),
    "no group": ("group", 1, "", "a group in row 2 .*an empty cell"),
    "weight": ("weight", 1, "-1", "a weight of 0 or more in row 2 .*'-1'"),
    "no weight": ("weight", 1, "", "a weight of 0 or more in row 2 .*''"),
}


@pytest.mark.parametrize(("column", "row", "value", "expected"), WRONG.values(), ids=list(WRONG))
def test_wrong_cells_are_named_before_an_image_is_opened(
    tmp_path: Path, column: str, row: int, value: Any, expected: str
) -> None:
    rows = table(tmp_path)
    rows["split"] = ["train"] * 16 + ["test"] * 4
    rows["group"] = [f"p{number}" for number in range(20)]
    rows["weight"] = [str(number) for number in range(20)]
    rows.loc[row, column] = value
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no image")
    rows.to_csv(tmp_path / "study.csv", index=False)
    with pytest.raises(ValueError, match=expected):
        load_manifest(tmp_path / "study.csv")


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("file,label\n", {}, "to have rows"),
        ("file,label\na.png,x", {}, r"column 'path'. Received: the columns file, label.*--column"),
        ("path,label\na.png", {}, "2 cells in line 2 .*Received: 1"),
        ("path,path\na.png,b", {}, "'path' twice"),
        ("path,age\na.png,33", {}, "a column 'label', or two or more columns of findings"),
        ("path,age,sex\na.png,33,m", {}, r"0 or 1 .* row 1 .*'33' in the column 'age'"),
        ("path,label\na.png,x", {}, "two or more classes .*'x' in every row"),
        ("path,label\na.png,x", {"label": "dx"}, "a column 'dx' in .*for label"),
        ("path,label\na.png,x", {"labels": "dx"}, "Columns .* are path, .*'labels'"),
        ("path,label,split\na.png,x,test\nb.png,y,test", {}, "whose split is train"),
    ],
)
def test_wrong_tables_are_refused(
    tmp_path: Path, text: str, columns: dict[str, str], expected: str
) -> None:
    for name in ("a", "b"):
        Image.new("L", (2, 2)).save(tmp_path / f"{name}.png")
    (tmp_path / "study.csv").write_text(text)
    with pytest.raises(ValueError, match=expected):
        load_manifest(tmp_path / "study.csv", columns=columns)


def test_unreadable_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "study.csv").write_bytes("path,label\né.png,x".encode("utf-16"))
    with pytest.raises(ValueError, match="study.csv to be a text in UTF-8"):
        load_manifest(tmp_path / "study.csv")
    (tmp_path / "study.parquet").write_bytes(b"PAR2")
    with pytest.raises(ValueError, match="study.parquet to be a Parquet file"):
        load_manifest(tmp_path / "study.parquet")
    with pytest.raises(ValueError, match="none.csv, no such file"):
        load_manifest(tmp_path / "none.csv")


def test_what_is_said_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.csv").write_text("path,label\n")
    with pytest.raises(ValueError, match="a manifest; name its column `group`"):
        load_target(str(tmp_path / "study.csv"), groups="groups.csv")
    with pytest.raises(ValueError, match="--column is for a manifest.*a known data set"):
        load_target("digits", columns={"path": "file"})
    (tmp_path / "study.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"manifest .*study.xlsx"):
        load_target(str(tmp_path / "study.xlsx"))
