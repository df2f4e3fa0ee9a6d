"""Does an `ONNXSource` answer faster with parts on several threads, or with threads in a session?

    python examples/benchmark/onnx_threads.py my_model.onnx --value-range 0,255

The same uint8 images go through four ways in turn: one session of one thread and one of several,
each given whole calls of 64 images, and the source with one thread and with several. What is
reported are ratios inside a round. Threads save wall time only where processors are free: on a
busy machine the processor time shows what the threads cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from litert_threads import Row, Times, spread, table, timed

from keras_reprogram import ONNXSource

IMAGES_A_CALL = 64


def main(
    file: Annotated[Path, typer.Argument(help="An `.onnx` file that takes any batch.")],
    value_range: Annotated[str, typer.Option(help="Pixels of FILE.")] = "0,255",
    images: Annotated[int, typer.Option(help="Images a round.")] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds that are timed, after one that is not.")] = 3,
    threads: Annotated[int, typer.Option(help="Where there are several.")] = 2,
) -> None:
    """Times four ways of using processors for an ONNX file; Markdown goes to stdout."""
    low, high = (float(end) for end in value_range.split(","))
    options = {"value_range": (low, high), "max_batch": IMAGES_A_CALL}
    one = ONNXSource(file, num_threads=1, **options)
    ways = {
        "whole calls, 1 thread": whole_calls(one, 1),
        f"whole calls, {threads} threads inside": whole_calls(one, threads),
        "parts, 1 thread": lambda pixels: np.asarray(one(pixels)),
    }
    several = ONNXSource(file, num_threads=threads, **options)
    ways[f"parts, {threads} threads"] = lambda pixels: np.asarray(several(pixels))
    pixels = np.random.default_rng(0).integers(0, 256, (images, *one.source_shape), np.uint8)
    scores = {way: ask(pixels) for way, ask in ways.items()}
    times: dict[str, list[Times]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, ask in ways.items():
            times[way].append(timed(lambda ask=ask: ask(pixels)))
    rows = compare(times, scores, images)
    print(table(rows, f"{images} uint8 images {list(one.source_shape)} through {file.name}"))


def whole_calls(source: ONNXSource, threads: int) -> Any:
    """One session that gets whole calls."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(source.model_path), options, providers=["CPUExecutionProvider"]
    )

    def ask(pixels: np.ndarray) -> np.ndarray:
        starts = range(0, len(pixels), IMAGES_A_CALL)
        calls = (source.encode(pixels[start : start + IMAGES_A_CALL]) for start in starts)
        names = [source.file.output_name]
        return np.concatenate(
            [session.run(names, {source.file.input_name: call})[0] for call in calls]
        )

    return ask


def compare(times: dict[str, list[Times]], scores: dict[str, np.ndarray], count: int) -> list[Row]:
    """Each way beside the first."""
    first = next(iter(times))
    return [
        Row(
            way,
            count / spread([each.wall for each in own])[0],
            1000 * spread([each.processor for each in own])[0] / count,
            spread([old.wall / new.wall for old, new in zip(times[first], own, strict=True)]),
            spread(
                [old.processor / new.processor for old, new in zip(times[first], own, strict=True)]
            ),
            float(np.abs(scores[way] - scores[first]).max()),
        )
        for way, own in times.items()
    ]


if __name__ == "__main__":
    typer.run(main)
