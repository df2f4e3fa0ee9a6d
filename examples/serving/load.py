"""How fast the server is: gRPC and REST, numbers and image files, beside the model in a process.

Exports MobileNetV2 reprogrammed for 32 x 32 colour images (the map is fitted on noise: speed does
not depend on what was learned), serves it in a process of its own, and asks it from several
threads. Needs the weights of MobileNetV2 (KERAS_HOME) and the extra `server`.

    python examples/serving/load.py --seconds 60
"""

import base64
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

COMMAND = (sys.executable, "-c", "from keras_reprogram.command_line import main; main()")
IN_PROCESS_THREADS = (1, 2, 4)
# Windows alternate, so that whatever else the machine does meets all of them.
ROUNDS = 3


def measure(
    seconds: Annotated[float, typer.Option(help="Of load over gRPC, all rounds together.")] = 60.0,
    clients: Annotated[int, typer.Option(min=1, help="Threads that ask.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Images a request.")] = 8,
    folder: Annotated[
        Path | None, typer.Option(help="An export to serve instead, of 32 x 32 x 3 images.")
    ] = None,
) -> None:
    """Print images a second and latencies."""
    print(json.dumps(load(seconds, clients, batch, folder), indent=1))


def load(seconds: float, clients: int, batch: int, folder: Path | None = None) -> dict[str, Any]:
    """Figures of the ways to ask the same model.

    Args:
        seconds: of load over gRPC; each other way gets a sixth of it.
        clients: threads.
        batch: images a request.
        folder: an export, or `None` to make one.

    Returns:
        Images a second, latencies in milliseconds, errors, and each way's share of in-process.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = folder or export(Path(place) / "mobilenet")
        images = np.random.default_rng(0).uniform(0, 255, (batch, 32, 32, 3)).astype("float32")
        files = png_files(images)
        inside = in_process(folder, images)
        with Server(folder) as server:
            ways = {
                **{f"in_process_{n}": (inside, n, seconds / 6) for n in IN_PROCESS_THREADS},
                "grpc": (over_grpc(server.grpc_address, folder.name, images), clients, seconds),
                "grpc_files": (files_over_grpc(server, folder.name, files), clients, seconds / 6),
                "rest": (over_rest(server.url, images), clients, seconds / 6),
                "rest_files": (files_over_rest(server.url, files), clients, seconds / 6),
            }
            figures = {name: Figures() for name in ways}
            for _ in range(ROUNDS):
                for name, (ask, threads, window) in ways.items():
                    figures[name].add(ask, threads, window / ROUNDS)
    found = {name: figure.summary(batch) for name, figure in figures.items()}
    best = max(found[f"in_process_{n}"]["images_per_second"] for n in IN_PROCESS_THREADS)
    shares = {
        f"{name}_share_of_in_process": round(found[name]["images_per_second"] / best, 3)
        for name in ("grpc", "grpc_files", "rest", "rest_files")
    }
    return found | shares


class Figures:
    """What some threads were answered."""

    def __init__(self) -> None:
        self.latencies, self.errors, self.seconds = [], [], 0.0

    def add(self, ask: Callable[[], Any], threads: int, seconds: float) -> None:
        """Asks from some threads for some seconds; one question before them is not counted."""
        ask()
        started = time.perf_counter()
        workers = [
            threading.Thread(target=self._ask, args=(ask, started + seconds))
            for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.seconds += time.perf_counter() - started

    def _ask(self, ask: Callable[[], Any], until: float) -> None:
        while (begun := time.perf_counter()) < until:
            try:
                ask()
            except Exception as error:
                self.errors.append(repr(error)[:200])
            else:
                self.latencies.append(time.perf_counter() - begun)

    def summary(self, batch: int) -> dict[str, Any]:
        median, late = np.percentile(self.latencies, (50, 99)) * 1000
        return {
            "images_per_second": round(len(self.latencies) * batch / self.seconds, 1),
            "requests": len(self.latencies),
            "median_ms": round(float(median), 1),
            "p99_ms": round(float(late), 1),
            "errors": len(self.errors),
            "first_error": self.errors[0] if self.errors else None,
        }


class Server:
    """`keras-reprogram serve` in a process of its own, on free ports."""

    def __init__(self, folder: Path) -> None:
        self._command = [*COMMAND, "serve", str(folder), "--rest-port", "0", "--grpc-port", "0"]

    def __enter__(self) -> "Server":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        lines = [self._process.stdout.readline().split()[-1:] for _ in range(3)]
        if not all(lines):
            raise SystemExit("The server did not start; see above.")
        _, (self.url,), (self.grpc_address,) = lines
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def export(folder: Path) -> Path:
    """MobileNetV2 with one view of 32 x 32 colour images, for ten classes."""
    from keras_reprogram import (
        DenseMap,
        FrozenSource,
        ProgramLayer,
        ReprogrammedModel,
        export_saved_model,
    )

    source = FrozenSource.from_application("MobileNetV2")
    program = ProgramLayer((32, 32, 3), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(10))
    noise = np.random.default_rng(0).uniform(0, 255, (40, 32, 32, 3))
    model.fit_output_map(noise, np.arange(40) % 10, verbose=0)
    export_saved_model(model, folder)
    return folder


def in_process(folder: Path, images: np.ndarray) -> Callable[[], Any]:
    """Calls the signature itself."""
    import tensorflow as tf

    version = max((path for path in folder.iterdir() if path.name.isdigit()), key=newest)
    loaded = tf.saved_model.load(str(version))
    serve = loaded.signatures["serving_default"]

    def ask() -> Any:
        # Named, so that what was loaded lives as long as its signature.
        return serve(image=tf.constant(images))["scores"].numpy(), loaded

    return ask


def newest(path: Path) -> int:
    return int(path.name)


def over_grpc(address: str, name: str, images: np.ndarray) -> Callable[[], Any]:
    """Predict with a tensor of numbers."""
    request = request_of(name, "serving_default")
    tensor = request.inputs["image"]
    tensor.dtype = 1
    for size in images.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = images.tobytes()
    return ask_over_grpc(address, request, len(images))


def files_over_grpc(server: Server, name: str, files: list[bytes]) -> Callable[[], Any]:
    """Predict with image files as they are."""
    request = request_of(name, "image_bytes")
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=len(files))
    tensor.string_val.extend(files)
    return ask_over_grpc(server.grpc_address, request, len(files))


def request_of(name: str, signature: str) -> Any:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    return request


def ask_over_grpc(address: str, request: Any, rows: int) -> Callable[[], Any]:
    """Sends a request with a channel for each thread, as separate clients have."""
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    own = threading.local()

    def ask() -> Any:
        if not hasattr(own, "stub"):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.insecure_channel(address, options=options)
            own.stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        scores = own.stub.Predict(request, timeout=60).outputs["scores"]
        return np.array(scores.float_val).reshape(rows, -1)

    return ask


def png_files(images: np.ndarray) -> list[bytes]:
    """The images as PNG files."""
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.round().astype("uint8")).save(file, "PNG")
        files.append(file.getvalue())
    return files


def over_rest(url: str, images: np.ndarray) -> Callable[[], Any]:
    """Predict by rows of numbers, the slowest form there is."""
    return ask_over_rest(url, {"instances": images.round(3).tolist()})


def files_over_rest(url: str, files: list[bytes]) -> Callable[[], Any]:
    """Predict by image files in base64."""
    rows = [{"b64": base64.b64encode(file).decode()} for file in files]
    return ask_over_rest(url, {"signature_name": "image_bytes", "instances": rows})


def ask_over_rest(url: str, document: dict[str, Any]) -> Callable[[], Any]:
    body = json.dumps(document).encode()

    def ask() -> Any:
        with urllib.request.urlopen(f"{url}:predict", body, timeout=60) as answer:
            return json.load(answer)["predictions"]

    return ask


if __name__ == "__main__":
    typer.run(measure)
