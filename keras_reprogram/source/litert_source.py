"""LiteRTSource: a .tflite file as an opaque source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.arguments import is_image
from keras_reprogram.source.answer_probe import probe_images, warn_if_still
from keras_reprogram.source.fingerprints import check_sha256
from keras_reprogram.source.litert_interpreters import Interpreters, open_interpreter
from keras_reprogram.source.litert_metadata import LiteRTMetadata, read_litert_metadata
from keras_reprogram.source.network_input import (
    check_channel_order,
    check_has_colours,
    in_calls_of,
    preprocessing_or_none,
    read_network_input,
    which_range,
)
from keras_reprogram.source.pixel_codes import pixel_codes
from keras_reprogram.source.python_source import PythonSource
from keras_reprogram.source.shared_work import SharedWork
from keras_reprogram.source.source import check_answer
from keras_reprogram.threads import allowed_threads

# Ends of a range that differ by less, as a share of it, are the same: -1 to 0.992, say.
_RANGE_SLACK = 0.02


@keras.saving.register_keras_serializable(package="keras_reprogram")
class LiteRTSource(PythonSource):
    """A `.tflite` classifier: only its scores are seen.

    It takes images, or with another number of axes series and the like, such as `(n, samples)`.

    Quantised files are handled: pixels become codes by the file's own scale and zero point where
    these stand for numbers in `value_range`, else `value_range` is spread over the codes (0 to 255
    for a network of -1 to 1). An 8-bit output is turned back into scores, whose step becomes
    `score_step`. uint8 images enter an 8-bit file as they are, without a copy in float32.

    A call is split into parts of a few images, which the threads answer at the same time, each
    with an interpreter of its own: the scores do not depend on `num_threads`. A file of a fixed
    batch of several images is asked in such batches, the last one filled up; one that refuses
    other batch sizes than 1 is asked one image at a time. The source keeps as many interpreters
    as have worked at the same time, and three for other batch sizes.

    Args:
        path: the `.tflite` file, images (or series) in, a row of scores for each out.
        value_range: `(low, high)` of the pixels that callers send, which the network expects if
            there is no `preprocessing`. `None` is `(0, 255)` for an 8-bit input, and for a float
            input whose metadata say how such pixels are normalised; others need to be told. Of
            series `None` is what the codes of an 8-bit input stand for; a float one has no range.
        preprocessing: `(scale, offset)`, each a number or one a channel: a float network sees
            `images * scale + offset`. `None`: as the file's metadata say if they state
            `value_range` too, else nothing.
        channel_order: `"rgb"`, or `"bgr"` to turn the channels round before that.
        sha256: the file's expected hash, or `None`.
        class_names: names of the scores; `None`: those in the file's metadata, if there are.
        score_kind: `"probabilities"`, `"independent"`, `"logits"` or `"independent_logits"`; see
            `Source`. `None` takes probabilities, or what `sum_tolerance=None` says.
        sum_tolerance: how far a row may sum from 1; `"auto"` knows the scores' step.
        max_batch: most images a call.
        num_threads: threads that answer one call. `None` takes as many as the process may use
            processors, at most `TF_NUM_INTRAOP_THREADS` or `OMP_NUM_THREADS` where these are set.
            One image alone is answered by an interpreter with `num_threads` threads, or LiteRT's
            default.
        data_format: `"channels_first"` for a file that takes `(n, C, H, W)`; callers send
            `(..., H, W, C)` in any case. `None` raises an error if the sizes suggest it.
        image_size: side, or `(height, width)`, for a file that takes images of any size; of series
            the length, where it is open.
        name: layer name.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is not a LiteRT image classifier, or another than `sha256` says.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import LiteRTSource, embedded_path

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    scores = source(np.zeros((3, 32, 32, 3), "float32"))
    assert scores.shape == (3, 43) and source.queries_used == 3
    ```
    """

    takes_bytes = True
    costs_queries = False

    def __init__(
        self,
        path: str | Path,
        *,
        value_range: tuple[float, float] | None = None,
        preprocessing: tuple[Any, Any] | None = None,
        channel_order: str = "rgb",
        sha256: str | None = None,
        class_names: Sequence[str] | None = None,
        score_kind: str | None = None,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        num_threads: int | None = None,
        data_format: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        name: str = "source",
    ) -> None:
        self.model_path = Path(path)
        self.sha256 = check_sha256(self.model_path, sha256)
        interpreter = open_interpreter(self.model_path, num_threads)
        self.input_details = _only(interpreter.get_input_details(), "input", self.model_path)
        self.output_details = _only(interpreter.get_output_details(), "output", self.model_path)
        is_float = _check_types(self.input_details, self.output_details, self.model_path)
        said, who = read_litert_metadata(self.model_path), str(self.model_path)
        if is_float and preprocessing is None:
            value_range, preprocessing = _as_said(said, value_range, who)
        check_channel_order(channel_order)
        self.data_format, self.image_size = data_format, image_size
        self.network_input = read_network_input(
            _open_shape(self.input_details),
            who,
            data_format=data_format,
            image_size=image_size,
            images_only=False,
        )
        check_has_colours(channel_order, self.network_input.source_shape)
        if value_range is None:
            value_range = _unsaid_range(self.input_details, self.network_input.source_shape, who)
        if not is_image(self.network_input.source_shape):
            _check_has_rows(self.output_details, self.model_path)
        num_labels = int(self.output_details["shape"][-1])
        if class_names is None and len(said.class_names) == num_labels:
            class_names = said.class_names
        super().__init__(
            self.network_input.source_shape,
            num_labels,
            value_range=value_range,
            class_names=class_names,
            score_kind=score_kind,
            score_step=_step(self.output_details),
            sum_tolerance=sum_tolerance,
            max_batch=max_batch,
            name=name,
        )
        self.num_threads, self.channel_order = num_threads, channel_order
        self.preprocessing = preprocessing_or_none(
            preprocessing,
            self.network_input.channels,
            np.dtype(np.float32) if is_float else np.dtype(self.input_details["dtype"]),
            who,
        )
        details = self.input_details
        self.pixel_codes = (
            None
            if is_float
            else pixel_codes(details["dtype"], self.probe_range, details["quantization"])
        )
        # The batch size of the file, unless it is 1: most such files take other sizes too.
        fixed = self.network_input.batch_size
        self._images_a_call = fixed if fixed != 1 else None
        self._interpreters = Interpreters(self.model_path)
        self._work = SharedWork(num_threads or allowed_threads())
        if is_image(self.source_shape):
            warn_if_still(self._probe(who), self.score_kind, who)

    def ask(self, images: np.ndarray) -> np.ndarray:
        if self._images_a_call is None and len(images) > 1:
            size = self._work.images_a_part(len(images), self.source_shape)
            parts = [(rows, 0) for rows, _ in in_calls_of(size, len(images))]
            try:
                return self._answer_parts(images, parts)
            except ValueError:
                # Some files cannot be resized (XNNPACK fails to reshape a node). Then the images
                # are asked one by one, which costs nothing: the model is on this machine.
                self._images_a_call = 1
        return self._answer_parts(images, in_calls_of(self._images_a_call, len(images)))

    @property
    def fingerprint(self) -> str:
        facts = f"{self.sha256}:{self.value_range}"
        if self.network_input.chosen:
            facts += f":{self.network_input.chosen}"
        if self.pixel_codes is not None and not self.pixel_codes.is_as_spread:
            # Before 2026-11-29 no file's own codes were looked at: these scores are others.
            facts += ":own codes"
        if self.preprocessing is not None:
            facts += f":{self.preprocessing}"
        if self.channel_order == "bgr":
            facts += ":bgr"
        return facts

    def get_config(self) -> dict[str, Any]:
        return self.base_config() | {
            "path": str(self.model_path),
            "preprocessing": self.preprocessing,
            "channel_order": self.channel_order,
            "sha256": self.sha256,
            "num_threads": self.num_threads,
            "data_format": self.data_format,
            "image_size": self.image_size,
        }

    def _probe(self, who: str) -> np.ndarray:
        """The checked answers to the probe images, asked one by one, which every file allows."""
        images = probe_images(self.source_shape, self.value_range)
        parts = in_calls_of(self._images_a_call or 1, len(images))
        answers = self._answer_parts(images, parts)
        return check_answer(
            answers, len(images), self.num_labels, self.sum_tolerance, who, self.score_kind
        )

    def _answer_parts(self, images: np.ndarray, parts: list[tuple[slice, int]]) -> np.ndarray:
        """Scores of parts of the images, each filled up by so many copies of its last image."""
        # Threads inside an interpreter wait for each other at every layer.
        threads = 1 if len(parts) > 1 else self.num_threads

        def answer(part: tuple[slice, int]) -> np.ndarray:
            rows, missing = part
            codes = self._encode(images[rows])
            filled = np.concatenate([codes, *[codes[-1:]] * missing]) if missing else codes
            return self._decode(self._invoke(filled, threads))[: len(codes)]

        return np.concatenate(self._work.map(answer, parts))

    def _invoke(self, codes: np.ndarray, num_threads: int | None) -> np.ndarray:
        try:
            with self._interpreters.lent(codes.shape, num_threads) as interpreter:
                interpreter.set_tensor(self.input_details["index"], codes)
                interpreter.invoke()
                return interpreter.get_tensor(self.output_details["index"])
        except RuntimeError as error:
            if "Select TensorFlow op" in str(error):
                raise ValueError(
                    f"{self.model_path} must have LiteRT's own operations alone. Received: a file "
                    f"with TensorFlow's ({str(error).rpartition('Node ')[2]}). Convert the network "
                    "anew, without `SELECT_TF_OPS`."
                ) from error
            raise ValueError(
                f"{self.model_path} cannot answer images of this number and size. Received: shape "
                f"{codes.shape} ({error}). Check `image_size` (--source-size), or convert the "
                "network anew."
            ) from error

    def _encode(self, images: np.ndarray) -> np.ndarray:
        """Images as the file takes them, in its own type and order of axes."""
        if self.channel_order == "bgr":
            images = images[..., ::-1]
        if self.preprocessing is not None:
            scale, offset = (np.asarray(part, np.float32) for part in self.preprocessing)
            images = images.astype(np.float32) * scale + offset
        if self.network_input.axes is not None:
            images = images.transpose(self.network_input.axes)
        if self.pixel_codes is None:
            return images.astype(self.input_details["dtype"])
        return self.pixel_codes.encode(images)

    def _decode(self, output: np.ndarray) -> np.ndarray:
        output = output.reshape(len(output), -1)
        if np.issubdtype(output.dtype, np.floating):
            return output
        scale, zero_point = self.output_details["quantization"]
        return ((output.astype(np.float32) - zero_point) * scale).astype(np.float32)


def _as_said(
    said: LiteRTMetadata, value_range: tuple[float, float] | None, who: str
) -> tuple[tuple[float, float] | None, tuple[Any, Any] | None]:
    """Range and preprocessing of float pixels, by the caller or else by the file's metadata."""
    own = said.preprocessing
    if own is None:
        return value_range, None
    if value_range is None:
        return (0.0, 255.0), own
    scale, offset = (np.asarray(part, float) for part in own)
    darkest, brightest = np.min(offset), np.max(255 * scale + offset)
    slack = _RANGE_SLACK * (brightest - darkest)
    if not np.allclose(value_range, (darkest, brightest), rtol=0, atol=slack):
        raise ValueError(
            f"{who} says in its metadata that it takes (pixel - mean) / std of pixels from 0 to "
            f"255, mean {said.mean} and std {said.std}, so from {darkest:.3g} to {brightest:.3g}. "
            f"Received: value_range={tuple(value_range)}. Leave `value_range` (--value-range) out "
            "to send pixels from 0 to 255, or say otherwise by `preprocessing=(scale, offset)` "
            "(--pixel-scale 1 for none) beside it."
        )
    return value_range, None


def _unsaid_range(
    details: dict[str, Any], source_shape: tuple[int, ...], who: str
) -> tuple[float, float] | None:
    """The range of inputs that nobody stated: of series what the file's codes stand for."""
    is_float = np.issubdtype(details["dtype"], np.floating)
    if is_image(source_shape):
        if is_float:
            raise ValueError(which_range(who))
        return 0.0, 255.0
    scale, zero_point = details["quantization"]
    if is_float or not scale:
        return None
    limits = np.iinfo(details["dtype"])
    return float(scale * (limits.min - zero_point)), float(scale * (limits.max - zero_point))


def _open_shape(details: dict[str, Any]) -> tuple[int | None, ...]:
    """The input's shape, `None` for what is open: `shape` itself has 1 there."""
    signature = details.get("shape_signature")
    shape = details["shape"] if signature is None or not len(signature) else signature
    return tuple(None if size < 0 else int(size) for size in shape)


def _only(details: list[dict[str, Any]], what: str, path: Path) -> dict[str, Any]:
    if len(details) != 1:
        raise ValueError(f"{path} must have one {what}. Received: {len(details)}.")
    return details[0]


def _check_has_rows(output_details: dict[str, Any], path: Path) -> None:
    if len(output_details["shape"]) < 2:
        raise ValueError(
            f"{path} must answer with a row of scores for each series, (n, labels). Received: an "
            f"output of shape {tuple(map(int, output_details['shape']))}. Convert a classifier."
        )


def _check_types(input_details: dict, output_details: dict, path: Path) -> bool:
    """Whether the input takes floats; raises a ValueError for types that are no image's."""
    is_float = bool(np.issubdtype(input_details["dtype"], np.floating))
    scaled = input_details["dtype"] == np.int16 and input_details["quantization"][0]
    if not (is_float or scaled) and input_details["dtype"] not in (np.uint8, np.int8):
        raise ValueError(
            f"{path} must take float or 8-bit pixels. "
            f"Received: {np.dtype(input_details['dtype'])} input. Convert the network with float "
            "inputs, or wrap it in a function for `OpaqueSource` (--source FILE.py:NAME)."
        )
    is_score = np.issubdtype(output_details["dtype"], np.floating)
    if not is_score and not output_details["quantization"][0]:
        raise ValueError(
            f"{path} must answer with scores. Received: {np.dtype(output_details['dtype'])} output "
            "without a scale, such as a class number. Convert the model without its `argmax`."
        )
    return is_float


def _step(details: dict[str, Any]) -> float:
    is_float = np.issubdtype(details["dtype"], np.floating)
    return 0.0 if is_float else float(details["quantization"][0])
