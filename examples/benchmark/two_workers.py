"""How many images a second do two workers train on, beside one?

    python examples/benchmark/two_workers.py --json two_workers.json
    python examples/benchmark/two_workers.py --network MobileNet --alpha 0.25

White-box training of a program on a frozen network. One worker and two workers of a
`MultiWorkerMirroredStrategy` take turns in processes that stay alive; each process has one
processor and one thread, and waits while it is not its turn. A worker gets the same number of
images a step in both cases. What is compared are ratios inside a round. The network's weights are
random, which changes no time. The Markdown goes to stdout.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rounds import in_turns, machine, machine_line, ratios, spread_text

SIDE, CLASSES = 32, 10
_ONE_THREAD = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Work:
    """What every process trains.

    Attributes:
        network: an application of Keras.
        alpha: its width.
        image_size: side of the source's images.
        images: a step and worker.
        steps: that are timed, a round.
    """

    network: str
    alpha: float
    image_size: int
    images: int
    steps: int


@dataclass(frozen=True)
class Reply:
    """What one process measured in one round.

    Attributes:
        images_per_second: of all its workers.
        seconds_per_step: median.
        program: digest of the trained weights.
    """

    images_per_second: float
    seconds_per_step: float
    program: str


def main(
    network: Annotated[str, typer.Option(help="MobileNetV2 or MobileNet.")] = "MobileNetV2",
    alpha: Annotated[float, typer.Option(help="Its width.")] = 1.0,
    image_size: Annotated[int, typer.Option(help="Side of the source's images.")] = 128,
    images: Annotated[int, typer.Option(min=1, help="Images a step and worker.")] = 32,
    steps: Annotated[int, typer.Option(min=2, help="Timed steps a round.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that are timed.")] = 5,
    processors: Annotated[str, typer.Option(help="Of the two workers.")] = "0,1",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the figures here.")
    ] = None,
) -> None:
    """Times training with one worker and with two."""
    work = Work(network, alpha, image_size, images, steps)
    first, second = (int(number) for number in processors.split(","))
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    groups = {
        "one worker": [Worker(work, first, None)],
        "two workers": [
            Worker(work, processor, _cluster(addresses, index))
            for index, processor in enumerate((first, second))
        ],
    }
    ways = {name: partial(_round, workers) for name, workers in groups.items()}
    try:
        # The first round compiles.
        replies: dict[str, list[list[Reply]]] = in_turns(ways, rounds, warm_up=1)
    finally:
        for workers in groups.values():
            for worker in workers:
                worker.stop()
    rates = {
        name: [min(reply.images_per_second for reply in each) for each in found]
        for name, found in replies.items()
    }
    gains = ratios(rates["two workers"], rates["one worker"])
    equal = all(len({reply.program for reply in each}) == 1 for each in replies["two workers"])
    print(table(work, rates, gains, equal))
    if json_file:
        figures = {"work": asdict(work), "rounds": rounds, "images_per_second": rates}
        figures |= {"ratio": gains, "programs_equal": equal} | machine()
        figures["replies"] = {
            name: [[asdict(reply) for reply in each] for each in found]
            for name, found in replies.items()
        }
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def table(work: Work, rates: dict[str, list[float]], gains: list[float], equal: bool) -> str:
    """Markdown."""
    lines = [
        f"{work.network} {work.alpha:g}, {work.image_size} pixels, {work.images} images a step and "
        f"worker, {len(gains)} rounds of {work.steps} steps; programs of both workers "
        f"{'bit-equal' if equal else 'DIFFERENT'}. {machine_line()}",
        "",
        "| | images/s | ratio |",
        "| --- | --- | --- |",
    ]
    for name, own in rates.items():
        gain = spread_text(gains) if name == "two workers" else "1"
        lines.append(f"| {name} | {spread_text(own, 1)} | {gain} |")
    return "\n".join(lines)


# === The processes ===


class Worker:
    """A process of this script with one processor, which trains a round when it is told to."""

    def __init__(self, work: Work, processor: int, cluster: str | None) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        environment |= dict.fromkeys(_ONE_THREAD, "1")
        environment.pop("TF_CONFIG", None)
        if cluster is not None:
            environment["TF_CONFIG"] = cluster
        command = [sys.executable, __file__, "worker", json.dumps(asdict(work)), str(processor)]
        self._process: Any = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start_round(self) -> None:
        """Tells the process to train."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def reply(self) -> Reply:
        """Waits for the end of the round."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"A worker ended with status {self._process.wait()}; its error is above."
            )
        return Reply(**json.loads(line))

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def _round(workers: list[Worker]) -> list[Reply]:
    for worker in workers:
        worker.start_round()
    return [worker.reply() for worker in workers]


def _cluster(addresses: list[str], index: int) -> str:
    return json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def serve(work: Work, processor: int) -> None:
    """Trains a round for each line of stdin, and answers with a line of JSON."""
    os.sched_setaffinity(0, {processor})
    model, arrays, batch_size = _model(work)
    for _ in sys.stdin:
        stamps: list[float] = []
        model.fit(*arrays, batch_size=batch_size, verbose=0, callbacks=[_stamping(stamps)])
        took = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)]
        rate = batch_size * len(took) / (stamps[-1] - stamps[0])
        reply = Reply(rate, statistics.median(took), _digest(model))
        sys.stdout.write(json.dumps(asdict(reply)) + "\n")
        sys.stdout.flush()


def _model(work: Work) -> tuple[Any, tuple[Any, Any], int]:
    import tensorflow as tf

    # Before anything else runs: it connects the processes.
    strategy: Any = tf.distribute.get_strategy()
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()

    import keras
    import numpy as np

    from keras_reprogram import FrozenSource, MultiLabelMap, ProgramLayer, ReprogrammedModel

    keras.utils.set_random_seed(0)
    with strategy.scope():
        shape = (work.image_size, work.image_size, 3)
        source = FrozenSource.from_application(
            work.network, weights=None, alpha=work.alpha, input_shape=shape
        )
        program = ProgramLayer((SIDE, SIDE, 3), shape, source_range=source.value_range)
        output_map = MultiLabelMap(CLASSES, assignment="random")
        model = ReprogrammedModel(program, source, output_map)
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)
    batch_size = work.images * strategy.num_replicas_in_sync
    # The first step of a round opens the data, and is not timed.
    count = batch_size * (work.steps + 1)
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (count, SIDE, SIDE, 3)).astype(np.float32)
    return model, (images, random.integers(0, CLASSES, count)), batch_size


def _stamping(stamps: list[float]) -> Any:
    import keras

    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: stamps.append(time.perf_counter())
    )


def _digest(model: Any) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for variable in model.program.weights:
        digest.update(np.asarray(variable).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        serve(Work(**json.loads(sys.argv[2])), int(sys.argv[3]))
    else:
        typer.run(main)
