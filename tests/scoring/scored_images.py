"""What the tests of scoring share: a tiny export, image files, and a look into the output."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image
from small_models import TARGET_SHAPE, small_model

from keras_reprogram import ReprogrammedModel, export_saved_model, save_program
from keras_reprogram.export import saved_model


class TinyExport(NamedTuple):
    model: ReprogrammedModel
    folder: Path
    program: Path


def export_tiny(folder: Path) -> TinyExport:
    """An export of four by four grey pixels, without the check in a fresh process."""
    model = small_model(class_names=["dark", "grey", "light"])
    checked, saved_model.check_reloaded = saved_model.check_reloaded, lambda *arguments: (0.0, 0)
    try:
        exported = export_saved_model(model, folder / "tiny", batch_sizes=(1,))
    finally:
        saved_model.check_reloaded = checked
    return TinyExport(model, exported.folder, save_program(model, folder / "tiny.reprogram"))


def pixels(number: int) -> np.ndarray:
    """A picture of its own for each number."""
    return np.random.default_rng(number).integers(0, 256, TARGET_SHAPE[:2], np.uint8)


def write_images(folder: Path, count: int) -> Path:
    for number in range(count):
        file = folder / f"{number % 2}" / f"{number:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(file)
    return folder


def png(number: int) -> bytes:
    return tf.io.encode_png(pixels(number)[..., None]).numpy()


def example(feature: str, content: bytes) -> bytes:
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    features = tf.train.Features(feature={feature: value})
    return tf.train.Example(features=features).SerializeToString()


def write_records(file: Path, contents: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for content in contents:
            writer.write(content)
    return file


def lines(folder: Path) -> list[dict]:
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def scores(output: Path) -> dict[str, dict]:
    """Rows by image, each once."""
    rows = lines(output / "scores")
    found = {row["image"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def bad(output: Path) -> dict[str, str]:
    rows = lines(output / "bad")
    assert len({row["image"] for row in rows}) == len(rows)
    return {row["image"]: row["reason"] for row in rows}


def assert_each_once(output: Path, names: list[str]) -> None:
    """None twice and none lost, over `scores` and `bad`."""
    counted = Counter(row["image"] for part in ("scores", "bad") for row in lines(output / part))
    assert counted == Counter(names)
