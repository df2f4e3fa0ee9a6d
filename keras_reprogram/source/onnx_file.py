"""ONNXFile: what an `.onnx` file says of itself, and the sessions that run it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.fingerprints import sha256_of

# ONNX's names of the types that pixels and scores may have.
_PIXELS = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_SCORES = ("tensor(float)", "tensor(float16)", "tensor(double)")
# A table of scores by class name for each image, as Custom Vision's exports have it.
_NAMED_SCORES = ("seq(map(string,tensor(float)))", "seq(map(int64,tensor(float)))")
# ONNX's metadata of images (docs/MetadataProps.md), whose keys and values are of any case.
_RANGES = {
    "nominalrange_0_255": (0.0, 255.0),
    "normalized_0_1": (0.0, 1.0),
    "normalized_1_1": (-1.0, 1.0),
}
_CHANNEL_ORDERS = {"rgb8": "rgb", "rgba8": "rgb", "bgr8": "bgr", "bgra8": "bgr"}
_ERRORS_ONLY = 3


class ONNXFile:
    """One `.onnx` file: its single image input, its output of scores, and sessions to run it.

    Args:
        path: the file.
        output: which output holds the scores; may be left out if there is one, or one that names
            them.
        num_threads: threads of a session that answers alone.

    Attributes:
        value_range: of the pixels, as the file's metadata say; `None` if they do not.
        channel_order: `"rgb"` or `"bgr"`, likewise.
        score_names: of an output that names its scores, once it was run; else `None`.

    Raises:
        ImportError: without onnxruntime and onnx.
        ValueError: if the file is no ONNX model that onnxruntime runs, or none of images.
    """

    def __init__(self, path: Path, output: str | None, num_threads: int) -> None:
        self.path, self.num_threads = path, num_threads
        self._sessions: dict[int, Any] = {}
        self._opening = threading.Lock()
        session = self._session(1)
        image = _image_input(session.get_inputs(), path)
        self.input_name, self.dtype = image.name, np.dtype(_PIXELS[image.type])
        # Symbolic dimensions are texts.
        self.input_shape = [size if isinstance(size, int) else None for size in image.shape]
        self.output_name = _score_output(session.get_outputs(), output, path)
        self.metadata = dict(session.get_modelmeta().custom_metadata_map)
        said = {key.lower(): value.lower() for key, value in self.metadata.items()}
        self.value_range = _RANGES.get(said.get("image.nominalpixelrange", ""))
        self.channel_order = _CHANNEL_ORDERS.get(said.get("image.bitmappixelformat", ""))
        self.score_names: tuple[str, ...] | None = None

    def run(self, pixels: np.ndarray, *, alone: bool) -> np.ndarray:
        """The scores of one batch, float32 `(n, num_labels)`; may be called by several threads."""
        session = self._session(self.num_threads if alone else 1)
        try:
            (answer,) = session.run([self.output_name], {self.input_name: pixels})
        except Exception as error:  # onnxruntime's own errors have no common class but this.
            raise ValueError(
                f"{self.path} cannot answer images of this number and size. Received: shape "
                f"{pixels.shape} ({_first_line(error)}). Check `image_size` (--source-size) and "
                "`data_format` (--data-format), or export the network anew."
            ) from error
        rows = np.asarray(self._by_name(answer), np.float32)
        if rows.ndim < 1 or len(rows) != len(pixels) or max((*rows.shape[1:], 1)) != rows[0].size:
            raise ValueError(
                f"{self.path} must answer with one row of scores for each image. Received: "
                f"{self.output_name!r} of shape {rows.shape} for {len(pixels)} images. Choose "
                "another `output` (--score-output)."
            )
        return rows.reshape(len(pixels), -1)

    def _by_name(self, answer: Any) -> Any:
        """Tables of named scores as rows, in the order of the first one; other answers as is."""
        if not isinstance(answer, list):
            return answer
        names = list(answer[0])
        self.score_names = tuple(map(str, names))
        return [[row[name] for name in names] for row in answer]

    def _session(self, num_threads: int) -> Any:
        with self._opening:
            if num_threads not in self._sessions:
                self._sessions[num_threads] = _open(self.path, num_threads)
            return self._sessions[num_threads]


def onnx_sha256(path: Path, expected: str | None) -> str:
    """The hash of a file and of the files that hold its weights, if they are outside of it."""
    found = sha256_of(path)
    if outside := external_files(path):
        digest = hashlib.sha256(found.encode())
        for name in outside:
            digest.update(f"{name}\0{sha256_of(path.parent / name)}".encode())
        found = digest.hexdigest()
    if expected is not None and found != expected:
        raise ValueError(
            f"The source at {path} is not the one expected. Expected sha256 {expected}. "
            f"Received: sha256 {found}. Put the right file there, or leave `sha256` out to "
            "accept this one."
        )
    return found


def external_files(path: Path) -> list[str]:
    """Names of the files beside a model that hold its weights."""
    with needs_extra("onnx", "onnx"):
        import onnx
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # Protocol buffers raise errors of their own.
        raise ValueError(_not_onnx(path, error)) from error
    places = (
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    )
    return sorted(set(places))


def _open(path: Path, num_threads: int) -> Any:
    with needs_extra("onnxruntime", "onnx"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait take the processors of others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common class but this.
        raise ValueError(_not_onnx(path, error)) from error


def _not_onnx(path: Path, error: Exception) -> str:
    return (
        f"{path} is not an ONNX model that onnxruntime runs. Received: {_first_line(error)} "
        "Export the network again, with operations and an opset that your onnxruntime knows."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.')}." if lines else f"{type(error).__name__}."


def _image_input(inputs: Sequence[Any], path: Path) -> Any:
    if len(inputs) != 1:
        names = sorted(each.name for each in inputs)
        raise ValueError(
            f"{path} must take one image input. Received: {len(inputs)} inputs, {names}. Wrap the "
            "model in a function of images for `OpaqueSource` (--source FILE.py:NAME)."
        )
    if inputs[0].type not in _PIXELS:
        raise ValueError(
            f"{path} must take float or integer pixels. Received: an input of {inputs[0].type}. "
            "Wrap the model in a function of images for `OpaqueSource` (--source FILE.py:NAME)."
        )
    return inputs[0]


def _score_output(outputs: Sequence[Any], output: str | None, path: Path) -> str:
    types = {each.name: each.type for each in outputs}
    named = [name for name, kind in types.items() if kind in _NAMED_SCORES]
    if output is None and len(types) == 1:
        (output,) = types
    if output is None and len(named) == 1:
        (output,) = named
    if output is None or output not in types:
        raise ValueError(
            f"Pass `output=` (--score-output) to say which output of {path} holds the scores. "
            f"It has: {sorted(types)}. Received: output={output!r}."
        )
    if types[output] not in (*_SCORES, *_NAMED_SCORES):
        raise ValueError(
            f"{path} must answer with scores. Received: {output!r} of {types[output]}, such as a "
            "class number. Choose another `output` (--score-output), or export the model without "
            "its `argmax`."
        )
    return output
