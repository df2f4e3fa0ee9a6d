"""How much faster does a `LiteRTSource` answer with parts and threads than with one interpreter?

    export KERAS_HOME=...   # only where there is no network: MobileNetV2's weights
    python examples/benchmark/litert_threads.py --image-size 96
    python examples/benchmark/litert_threads.py --file my_model.tflite --value-range 0,255

The same uint8 images go through three ways in turn: one interpreter of one thread that gets 256
images a call, made float32 first, and the source with one thread and with several. What is
reported are ratios inside a round. Threads save wall time only where processors are free: on a
busy machine the processor time shows what the parts save and what the threads cost.
The Markdown goes to stdout, `--json` writes the figures into a file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import typer
from ai_edge_litert.interpreter import Interpreter
from rounds import ratios, spread

from keras_reprogram import LiteRTSource, OpaqueSource

IMAGES_A_CALL = 256


@dataclass(frozen=True)
class Times:
    """One way through one round, in seconds."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Row:
    """A way beside one interpreter: ratios above 1 are faster.

    Attributes:
        way: what was timed.
        images_per_second: median over the rounds.
        processor_ms: of all threads, an image; median over the rounds.
        wall_ratio: time of one interpreter / time of this way, in a round: median, least, most.
        processor_ratio: the same in processor time.
        largest_difference: of a score from one interpreter's.
    """

    way: str
    images_per_second: float
    processor_ms: float
    wall_ratio: tuple[float, float, float]
    processor_ratio: tuple[float, float, float]
    largest_difference: float


def main(
    file: Annotated[
        Path | None, typer.Option(help="A `.tflite` file; MobileNetV2 if left out.")
    ] = None,
    value_range: Annotated[str, typer.Option(help="Pixels of FILE.")] = "0,255",
    image_size: Annotated[int, typer.Option(help="Side of MobileNetV2's images.")] = 224,
    images: Annotated[int, typer.Option(help="Images a round.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Rounds that are timed, after one that is not.")] = 5,
    threads: Annotated[int, typer.Option(help="Of the last way.")] = 2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the figures here.")
    ] = None,
) -> None:
    """Times a LiteRT source with one interpreter, with parts, and with threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = file or mobilenet(Path(folder) / "mobilenet_v2.tflite", image_size)
        low, high = (float(end) for end in value_range.split(","))
        rows, shape = compare(path, (low, high), images, rounds, threads)
    name = file.name if file else "MobileNetV2"
    print(table(rows, f"{images} uint8 images {shape} through {name}, {rounds} rounds"))
    if json_file:
        figures = {"file": name, "shape": shape, "images": images, "rounds": rounds}
        figures["rows"] = [asdict(row) for row in rows]
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def mobilenet(path: Path, image_size: int) -> Path:
    """MobileNetV2 as a float32 file of pixels from 0 to 255."""
    trained = keras.applications.MobileNetV2()
    network = keras.applications.MobileNetV2(weights=None, input_shape=(image_size, image_size, 3))
    network.set_weights(trained.get_weights())
    pixels = keras.Input(network.input_shape[1:])
    model = keras.Model(pixels, network(pixels / 127.5 - 1.0))
    # The converter prints the network's signatures, and the figures go to stdout.
    with contextlib.redirect_stdout(io.StringIO()):
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


def compare(
    path: Path, value_range: tuple[float, float], count: int, rounds: int, threads: int
) -> tuple[list[Row], list[int]]:
    """The rows of the table, and the shape of an image."""
    several = LiteRTSource(path, value_range=value_range, num_threads=threads)
    ways = {
        "one interpreter": one_interpreter(several),
        "parts, 1 thread": LiteRTSource(path, value_range=value_range, num_threads=1),
        f"parts, {threads} threads": several,
    }
    pixels = np.random.default_rng(0).integers(0, 256, (count, *several.source_shape), np.uint8)
    scores = {way: np.asarray(source(pixels)) for way, source in ways.items()}
    times: dict[str, list[Times]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, source in ways.items():
            times[way].append(timed(lambda source=source: source(pixels)))
    before = times["one interpreter"]
    expected = scores["one interpreter"]
    rows = [
        Row(
            way,
            count / statistics.median(each.wall for each in own),
            1000 * statistics.median(each.processor for each in own) / count,
            *(
                spread(ratios([getattr(t, kind) for t in before], [getattr(t, kind) for t in own]))
                for kind in ("wall", "processor")
            ),
            float(np.abs(scores[way] - expected).max()),
        )
        for way, own in times.items()
    ]
    return rows, list(several.source_shape)


def one_interpreter(source: LiteRTSource) -> OpaqueSource:
    """The file as one interpreter of one thread answers it, whole calls at a time."""
    inputs, outputs = source.input_details, source.output_details
    interpreters: dict[int, Any] = {}

    def interpreter_of(size: int) -> Any:
        if size not in interpreters:
            opened = Interpreter(model_path=str(source.model_path), num_threads=1)
            opened.resize_tensor_input(inputs["index"], (size, *inputs["shape"][1:]))
            opened.allocate_tensors()
            interpreters[size] = opened
        return interpreters[size]

    def ask(images: np.ndarray) -> np.ndarray:
        codes = source.pixel_codes.encode(images) if source.pixel_codes else images
        size = len(codes) if takes_batches(source) else 1
        answers = []
        for start in range(0, len(codes), size):
            part = codes[start : start + size]
            opened = interpreter_of(len(part))
            opened.set_tensor(inputs["index"], part)
            opened.invoke()
            answers.append(opened.get_tensor(outputs["index"]))
        return as_scores(np.concatenate(answers), outputs)

    return OpaqueSource(
        ask,
        source.source_shape,
        source.num_labels,
        value_range=source.value_range,
        identity="one interpreter",
        score_kind=source.score_kind,
        sum_tolerance=source.sum_tolerance,
        max_batch=IMAGES_A_CALL,
    )


_batches: dict[str, bool] = {}


def takes_batches(source: LiteRTSource) -> bool:
    """Whether the file answers two images at once."""
    path = str(source.model_path)
    if path not in _batches:
        inputs = source.input_details
        interpreter = Interpreter(model_path=path)
        interpreter.resize_tensor_input(inputs["index"], (2, *inputs["shape"][1:]))
        try:
            interpreter.allocate_tensors()
            interpreter.invoke()
            _batches[path] = True
        except RuntimeError:
            _batches[path] = False
    return _batches[path]


def as_scores(output: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Floats as they are, codes by their scale."""
    if np.issubdtype(output.dtype, np.floating):
        return output
    scale, zero_point = details["quantization"]
    return (output.astype(np.float32) - zero_point) * scale


def timed(work: Callable[[], Any]) -> Times:
    """Wall time and processor time of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Times(time.perf_counter() - wall, time.process_time() - processor)


def table(rows: list[Row], title: str) -> str:
    """Markdown."""
    lines = [
        f"{title}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors",
        "",
        "| way | images/s | processor ms an image | wall ratio | processor ratio | difference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratios = [
            f"{median:.2f} ({least:.2f} to {most:.2f})"
            for median, least, most in (row.wall_ratio, row.processor_ratio)
        ]
        lines.append(
            f"| {row.way} | {row.images_per_second:.0f} | {row.processor_ms:.2f} | "
            f"{ratios[0]} | {ratios[1]} | {row.largest_difference:.1g} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
