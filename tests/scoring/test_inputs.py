"""Which images there are, and how they are cut into shards."""

import gzip
from pathlib import Path

import pytest
from scored_images import example, png, write_images, write_records

from keras_reprogram.scoring.inputs import list_images


def test_shards_cover_each_image_once_in_one_order(photos):
    listing = list_images([photos], shard_size=4)
    assert [len(shard.part) for shard in listing.shards] == [4, 4, 2]
    assert [shard.number for shard in listing.shards] == [0, 1, 2]
    names = [image.name for shard in listing.shards for image in shard.part.read()]
    assert names == sorted(map(str, photos.rglob("*.png")))
    again = list_images([*reversed(names), photos / "0", names[0]], shard_size=4)
    assert again == listing
    assert list_images([photos], shard_size=5).digest != listing.digest


def test_globs_folders_and_hidden_files(photos):
    (photos / "notes.txt").write_text("no image")
    (photos / ".hidden.png").write_bytes(b"")
    (photos / ".cache").mkdir()
    (photos / ".cache" / "0.png").write_bytes(b"")
    assert list_images([photos]).num_images == 10
    assert list_images([f"{photos}/**/*.png"]).num_images == 10
    assert list_images([f"{photos}/1/*2*", f"{photos}/1/*[13].png"]).num_images == 2


def test_inputs_without_images(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", f"{tmp_path}/*.jpg"):
        with pytest.raises(ValueError, match="no images in"):
            list_images([nothing])
    with pytest.raises(FileNotFoundError, match="There is no image nowhere.png"):
        list_images(["nowhere.png"])
    write_records(photos / "some.tfrecord", [b"0"])
    with pytest.raises(ValueError, match="Received: images and tfrecord"):
        list_images([photos])
    write_records(tmp_path / "empty" / "none.tfrecord", [])
    with pytest.raises(ValueError, match="1 tfrecord files without a record"):
        list_images([tmp_path / "empty"])


def test_records_are_found_at_their_places(tmp_path):
    contents = [example("image/encoded", png(number)) for number in range(7)]
    file = write_records(tmp_path / "a.tfrecord", contents)
    listing = list_images([file], shard_size=3)
    images = [image for shard in listing.shards for image in shard.part.read()]
    assert [image.content for image in images] == [png(number) for number in range(7)]
    assert [len(shard.part) for shard in listing.shards] == [3, 3, 1]


def test_broken_tfrecords(tmp_path):
    file = write_records(tmp_path / "a.tfrecord", [b"x" * 50] * 3)
    content = file.read_bytes()
    for cut in (1, 5, 60):
        file.write_bytes(content[:-cut])
        with pytest.raises(ValueError, match="be record 2"):
            list_images([file])
    file.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="one of gzip"):
        list_images([file])
    file.write_text("a text that is longer than the head of a record")
    with pytest.raises(ValueError, match="be record 0"):
        list_images([file])


def test_broken_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    file = tmp_path / "a.parquet"
    file.write_text("no table")
    with pytest.raises(ValueError, match="to be a Parquet file"):
        list_images([file])


def test_names_come_from_the_paths_as_given(tmp_path, monkeypatch):
    write_images(tmp_path / "photos", 2)
    monkeypatch.chdir(tmp_path)
    (shard,) = list_images(["photos"]).shards
    assert [image.name for image in shard.part.read()] == [
        str(Path("photos") / "0" / "00000.png"),
        str(Path("photos") / "1" / "00001.png"),
    ]
