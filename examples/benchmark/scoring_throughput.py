"""Images per second of `score` beside the bare model's, and 50,000 images with a kill in between.

    python examples/benchmark/scoring_throughput.py --beam=--runner=DirectRunner

Small pictures (8 x 8) go through an export of digits on the built-in traffic signs. Part one calls
the export's signature on files that are in memory already, and scores the same files, in turns.
Part two starts `keras-reprogram score`, kills it with its workers at half of the images, starts it
again and counts every image in the output.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from rounds import ratios, spread_text

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    ProgramLayer,
    ReprogrammedModel,
    embedded_path,
    export_saved_model,
)
from keras_reprogram.datasets import load_target
from keras_reprogram.scoring import score_images

ROUNDS, BATCH = 5, 64


def main() -> None:
    """Prints both parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--shard-size", type=int, default=1000)
    parser.add_argument("--beam", help="pipeline options of part two; without Beam by default")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export_digits(folder / "digits")
        write_images(folder / "photos", arguments.images)
        figures = {"images": arguments.images, "rates": compare(model, folder, arguments.images)}
        figures["killed"] = kill_and_go_on(model, folder, arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def export_digits(folder: Path) -> Path:
    """An export with one view and an exact map."""
    data = load_target("digits").draw(train_images=300, test_images=10, seed=0)
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255))
    program = ProgramLayer(data.target_shape, source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(10))
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    return export_saved_model(model, folder).folder


def write_images(folder: Path, count: int) -> None:
    """Pictures in one folder a round."""
    random = np.random.default_rng(0)
    for number in range(count):
        file = folder / str(number % ROUNDS) / f"{number:06d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(file)


def compare(model: Path, folder: Path, count: int) -> dict[str, list[float]]:
    """Rates in turns, each on the images of one round: images a second, by round."""
    signature = tf.saved_model.load(str(model)).signatures["image_bytes"]
    score_images(model, folder / "photos" / "0", folder / "warm")
    rates: dict[str, list[float]] = {"bare": [], "score": []}
    for number in range(ROUNDS):
        photos = folder / "photos" / str(number)
        contents = [file.read_bytes() for file in sorted(photos.iterdir())]
        started = time.perf_counter()
        for batch in in_batches(contents):
            signature(image_bytes=tf.constant(batch))["scores"].numpy()
        rates["bare"].append(len(contents) / (time.perf_counter() - started))
        started = time.perf_counter()
        score_images(model, photos, folder / "rounds" / str(number))
        rates["score"].append(len(contents) / (time.perf_counter() - started))
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    for name, values in rates.items():
        print(f"- {name}: {spread_text(values, 0)} images a second")
    shares = spread_text(ratios(rates["score"], rates["bare"]))
    print(f"- score / bare: {shares} in {ROUNDS} rounds of {count // ROUNDS:,} images")
    return rates


def in_batches(contents: list[bytes]) -> Iterator[list[bytes]]:
    """Lists of `BATCH`."""
    return (contents[start : start + BATCH] for start in range(0, len(contents), BATCH))


def kill_and_go_on(model: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Kills a run at half of its shards, repeats it, and counts."""
    output = folder / "killed"
    command = [sys.executable, "-c", "from keras_reprogram.command_line import main; main()"]
    command += ["score", str(model), str(folder / "photos"), "--output", str(output)]
    command += ["--shard-size", str(arguments.shard_size), "--quiet"]
    command += [] if arguments.beam is None else ["--beam", arguments.beam]
    started = time.perf_counter()
    log = folder / "stderr"
    with log.open("w") as errors:
        first = subprocess.Popen(command, start_new_session=True, stderr=errors)
    while parts(output) < arguments.images // arguments.shard_size // 2:
        if first.poll() is not None:
            raise RuntimeError(
                f"Expected `score` to run until it is killed. Received: exit status "
                f"{first.returncode} with {parts(output)} shards done. It said: {log.read_text()}"
            )
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = parts(output)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    files = [*output.glob("scores/*.jsonl"), *output.glob("bad/*.jsonl")]
    lines = (line for file in files for line in file.read_text().splitlines())
    seen = Counter(json.loads(line)["image"] for line in lines)
    expected = {str(file) for file in (folder / "photos").rglob("*.png")}
    lost, twice = len(expected - seen.keys()), sum(count > 1 for count in seen.values())
    print(
        f"- killed with {kept} of {arguments.images // arguments.shard_size} shards done, "
        f"repeated: {len(expected):,} images, {lost} lost, {twice} twice; "
        f"{seconds:.0f} s with both starts"
    )
    return {"shards_kept": kept, "lost": lost, "twice": twice, "seconds": seconds}


def parts(output: Path) -> int:
    """Finished shards."""
    return len(list(output.glob("scores/part-*")))


if __name__ == "__main__":
    main()
