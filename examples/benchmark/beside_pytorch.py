"""How fast is a white-box training step, beside the same step in PyTorch?

    pip install torch       # of this script only
    export KERAS_HOME=...   # only where there is no network: MobileNetV2's weights
    python examples/benchmark/beside_pytorch.py --json beside_pytorch.json

ILM-VP (Chen et al. 2023) trains a frame around CIFAR-sized tasks on MobileNetV2: our preset by
`fit`, and a step that `mobilenet_in_pytorch.py` writes from the paper, on a copy of the same
weights whose logits are compared first. PyTorch runs in its own layout of channels and in
`channels_last`. Images are drawn at random: the time of a step does not depend on them.

Each way has a process of its own, so that its peak memory is its own; the processes take turns,
and what is compared are ratios inside a round. The Markdown goes to stdout.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from resumable import progress_bars
from rounds import fresh_process, in_turns, machine, machine_line, ratios, spread_text

# Neither library is imported up here: the memory of a process would hold both.

CLASSES = 10
# Where PyTorch would begin to disagree with Keras about a logit.
SAME_LOGITS = 1e-4
WARM_UP_ROUNDS = 2


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        size: side of the network's images; target images take 4/7 of it, as in the paper.
        batch_size: images a step.
        steps: in a round.
        alpha: width of MobileNetV2.
        trained: ImageNet's weights, else random ones.
        threads: of both libraries; 0 for their own choice.
    """

    size: int
    batch_size: int
    steps: int
    alpha: float = 1.0
    trained: bool = True
    threads: int = 0

    @property
    def image_size(self) -> int:
        return self.size * 4 // 7

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """A round's uint8 images and their labels."""
        random = np.random.default_rng(0)
        count = self.steps * self.batch_size
        shape = (count, self.image_size, self.image_size, 3)
        return random.integers(0, 256, shape, np.uint8), np.arange(count) % CLASSES


@dataclass(frozen=True)
class Round:
    """One way through one round.

    Attributes:
        seconds: of wall time.
        processor_seconds: of all threads.
        loss: mean over the round's steps.
        peak_megabytes: of the process since it started.
    """

    seconds: float
    processor_seconds: float
    loss: float
    peak_megabytes: float


def main(
    sizes: Annotated[list[int] | None, typer.Option("--size", help="May come again.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="Steps a round.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that are timed.")] = 7,
    alpha: Annotated[float, typer.Option(help="Width of MobileNetV2.")] = 1.0,
    trained: Annotated[
        bool, typer.Option(help="ImageNet's weights; without them they are random, as fast.")
    ] = True,
    threads: Annotated[int, typer.Option(min=0, help="Of each library; 0 for its own choice.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the figures are written.")
    ] = None,
) -> None:
    """Times a white-box training step beside PyTorch's."""
    if steps * batch_size < CLASSES:
        raise typer.BadParameter(
            f"A round must have an image of each of {CLASSES} classes. Received: {steps} steps of "
            f"{batch_size}.",
            param_hint="--steps",
        )
    cases = [Case(size, batch_size, steps, alpha, trained, threads) for size in sizes or [128, 224]]
    found = [measure(case, rounds) for case in cases]
    print(table(found))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Rounds of one size, by way."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        processes = {name: stack.enter_context(fresh_process()) for name in WAYS}
        # Ours first: it writes the weights that PyTorch copies.
        differences = {
            name: process.submit(prepare, name, case, folder).result()
            for name, process in processes.items()
        }
        for name, difference in differences.items():
            if difference > SAME_LOGITS:
                raise ValueError(
                    f"Expected {name} to answer as Keras does, within {SAME_LOGITS} of a logit. "
                    f"Received: a difference of {difference:.2g}. Check the copied weights."
                )
        bars = stack.enter_context(progress_bars())
        bar = bars.add_task(f"{case.size} pixels", total=rounds + WARM_UP_ROUNDS)
        times = in_turns(
            {name: partial(_result, process) for name, process in processes.items()},
            rounds,
            warm_up=WARM_UP_ROUNDS,
            done=lambda number: bars.update(bar, completed=number),
        )
    ways = {name: [asdict(one) for one in own] for name, own in times.items()}
    facts = {"rounds": rounds, "logits_differ_by": differences} | machine()
    return asdict(case) | facts | {"ways": ways}


def _result(process: Any) -> Round:
    return process.submit(one_round).result()


# What a process has prepared: a round of its way.
_prepared: list[Callable[[], float]] = []


def prepare(name: str, case: Case, folder: str) -> float:
    """Builds a way in its process; the largest difference of its logits from Keras's."""
    difference, steps = WAYS[name](case, Path(folder))
    _prepared.append(steps)
    return difference


def one_round() -> Round:
    """A round of the way that this process has prepared."""
    start, start_processor = time.perf_counter(), time.process_time()
    loss = _prepared[0]()
    seconds, processor = time.perf_counter() - start, time.process_time() - start_processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Round(seconds, processor, loss, peak)


def ours(case: Case, folder: Path) -> tuple[float, Callable[[], float]]:
    """The preset `ilm_vp_2023` by `fit`; writes weights and logits for the others."""
    import keras
    import tensorflow as tf
    from folding import mobilenet_v2

    from keras_reprogram.methods import build_method

    if case.threads:
        tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    source = mobilenet_v2(case.size, case.alpha, case.trained)
    network = source.model
    layers = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    arrays = {
        f"{name}/{number:02d}": array
        for name, own in layers.items()
        for number, array in enumerate(own)
    }
    pixels = np.random.default_rng(1).uniform(-1, 1, (4, case.size, case.size, 3))
    scores = keras.ops.convert_to_numpy(network(pixels.astype(np.float32), training=False))
    np.savez(folder / "weights.npz", **arrays)
    np.savez(folder / "expected.npz", pixels=pixels, scores=scores)

    images, labels = case.images()
    shape = (case.image_size, case.image_size, 3)
    method = build_method("ilm_vp_2023", source, shape, CLASSES, image_size=case.image_size)

    def steps() -> float:
        options = {"epochs": 1, "batch_size": case.batch_size, "verbose": 0}
        return method.fit(images, labels, **options).history["loss"][0]

    return 0.0, steps


def pytorch(
    case: Case, folder: Path, channels_last: bool = False
) -> tuple[float, Callable[[], float]]:
    """The step that is written from the paper."""
    import torch
    from mobilenet_in_pytorch import ILMVP, MobileNetV2, frequent_labels

    if case.threads:
        torch.set_num_threads(case.threads)
    weights: dict[str, list[np.ndarray]] = {}
    with np.load(folder / "weights.npz") as arrays:
        for key in sorted(arrays):
            weights.setdefault(key.partition("/")[0], []).append(arrays[key])
    network = MobileNetV2(weights)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    with np.load(folder / "expected.npz") as expected, torch.no_grad():
        pixels = torch.from_numpy(expected["pixels"].transpose(0, 3, 1, 2).astype(np.float32))
        logits = network(pixels.contiguous(memory_format=layout))
        # A softmax's logits, up to the constant that it drops.
        differences = torch.log_softmax(logits, dim=1).numpy() - np.log(expected["scores"])
    images, labels = case.images()
    targets = torch.from_numpy(labels)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255.0)
    x = x.contiguous(memory_format=layout)
    with torch.no_grad():
        blank = ILMVP(network, case.image_size, case.size, np.zeros(CLASSES, np.int64))
        first = torch.cat([network(blank.source_images(part)) for part in x.split(case.batch_size)])
    num_labels = first.shape[1]
    start = frequent_labels(first.argmax(dim=1).numpy(), labels, num_labels, CLASSES)
    method = ILMVP(network, case.image_size, case.size, start)

    def steps() -> float:
        order = torch.randperm(len(x))
        losses, first, seen = [], [], []
        for rows in order.split(case.batch_size):
            loss, labels_first = method.step(x[rows], targets[rows])
            # As a loop that prints its loss reads it.
            losses.append(loss.item())
            first.append(labels_first.numpy())
            seen.append(labels[rows.numpy()])
        method.renew_labels(np.concatenate(first), np.concatenate(seen), num_labels)
        return float(np.mean(losses))

    return float(np.abs(differences).max()), steps


WAYS: dict[str, Callable[[Case, Path], tuple[float, Callable[[], float]]]] = {
    "ours": ours,
    "PyTorch": pytorch,
    "PyTorch, channels_last": partial(pytorch, channels_last=True),
}


def table(found: list[dict[str, Any]]) -> str:
    """Markdown of what `measure` found."""
    lines = [
        "| MobileNetV2 | images a second | times PyTorch's rate | the same in processor time "
        "| peak memory | logits differ by |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in found:
        images = case["steps"] * case["batch_size"]
        for name, own in case["ways"].items():
            rates = [images / one["seconds"] for one in own]
            faster = (
                ratios([one[kind] for one in case["ways"]["PyTorch"]], [one[kind] for one in own])
                for kind in ("seconds", "processor_seconds")
            )
            lines.append(
                f"| {case['size']} pixels, batch {case['batch_size']}: {name} "
                f"| {spread_text(rates, 1)} | {' | '.join(map(spread_text, faster))} "
                f"| {own[-1]['peak_megabytes']:,.0f} MB | {case['logits_differ_by'][name]:.1g} |"
            )
    return "\n".join([*lines, "", machine_line()])


if __name__ == "__main__":
    typer.run(main)
