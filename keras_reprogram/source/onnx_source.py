"""ONNXSource: an `.onnx` file as an opaque source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.source.answer_probe import probe_images, warn_if_still
from keras_reprogram.source.network_input import (
    check_channel_order,
    check_whole_pixels,
    in_calls_of,
    preprocessing_or_none,
    read_network_input,
    told_data_format,
    which_range,
)
from keras_reprogram.source.onnx_file import ONNXFile, onnx_sha256
from keras_reprogram.source.python_source import PythonSource
from keras_reprogram.source.shared_work import SharedWork
from keras_reprogram.source.source import check_answer
from keras_reprogram.threads import allowed_threads

# Rounding by which a batch may differ from its images alone, as a share of the largest score.
_SAME = 1e-3


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ONNXSource(PythonSource):
    """An `.onnx` classifier, from PyTorch or elsewhere, run by onnxruntime: only scores are seen.

    The order of axes is read from the file: callers send `(..., H, W, C)` in any case. Pixels are
    in `value_range`; the network gets `pixels * scale + offset` where `preprocessing` says so.
    A network of whole numbers gets them rounded, and uint8 pixels as they are.

    A call is split into parts of a few images, which the threads answer at the same time: the
    scores do not depend on `num_threads`. A file of a fixed batch is asked in such batches, the
    last one filled up; one that answers several images otherwise than each alone is asked one
    image at a time. Needs `pip install 'keras-reprogram[onnx]'`.

    Args:
        path: the `.onnx` file, images in, a row of scores for each out. Weights in files beside
            it are found, and are part of the fingerprint.
        value_range: `(low, high)` of the pixels that callers send. `None`: what the file's
            metadata say (`Image.NominalPixelRange`), or `(0, 255)` for a uint8 input; any other
            needs to be told.
        preprocessing: `(scale, offset)`, each a number or one a channel, from `value_range` to
            what the network expects. `None` if that is `value_range` itself.
        channel_order: `"rgb"`, or `"bgr"` for networks from Caffe: channels are reversed before
            the preprocessing. `None`: what the metadata say (`Image.BitmapPixelFormat`), or
            `"rgb"`. What contradicts the metadata is refused, unless `preprocessing` is given too.
        sha256: the file's expected hash, or `None`.
        output: which of its outputs holds the scores; may be left out if there is one, or one
            that names its scores.
        class_names: names of the scores; `None`: those that the output gives, if it does.
        score_kind: `"probabilities"`, `"independent"`, `"logits"` or `"independent_logits"`; see
            `Source`. `None` takes probabilities, or what `sum_tolerance=None` says.
        score_step: distance of neighbouring scores where they are rounded.
        sum_tolerance: how far a row may sum from 1; `None` for partial lists of scores.
        max_batch: most images a call.
        num_threads: threads that answer one call. `None` takes as many as the process may use
            processors, at most `TF_NUM_INTRAOP_THREADS` or `OMP_NUM_THREADS` where these are set.
            A call of one image is answered by a session of its own with `num_threads` threads,
            which holds the weights once more.
        data_format: `"channels_first"` or `"channels_last"`, for a file whose shape does not tell.
        image_size: side, or `(height, width)`, for a file that takes images of any size.
        name: layer name.

    Raises:
        ImportError: without onnxruntime and onnx.
        FileNotFoundError: if there is no file.
        ValueError: if the file is not an image classifier that onnxruntime runs, if it does not
            say what was left out here, if it is another than `sha256` says, or if it answers with
            something else than it declares.

    Example:
    ```python
    import numpy as np
    import onnx
    from keras_reprogram import ONNXSource

    network = onnx.parser.parse_model('''
    <ir_version: 8, opset_import: ["" : 17]>
    main_colour (float[n, 3, 16, 16] image) => (float[n, 3] scores) {
        mean = ReduceMean <axes = [2, 3], keepdims = 0> (image)
        scores = Softmax <axis = 1> (mean)
    }''')
    onnx.save(network, "main_colour.onnx")
    source = ONNXSource("main_colour.onnx", value_range=(0, 255), preprocessing=(0.1, 0))
    scores = source(np.zeros((5, 16, 16, 3), "float32"))
    assert scores.shape == (5, 3) and source.queries_used == 5
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
        channel_order: str | None = None,
        sha256: str | None = None,
        output: str | None = None,
        class_names: Sequence[str] | None = None,
        score_kind: str | None = None,
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        num_threads: int | None = None,
        data_format: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        name: str = "source",
    ) -> None:
        self.model_path = Path(path)
        self.sha256 = onnx_sha256(self.model_path, sha256)
        self._work = SharedWork(num_threads or allowed_threads())
        self.file = ONNXFile(self.model_path, output, self._work.threads)
        shape, who = self.file.input_shape, str(self.model_path)
        self.data_format, self.image_size = data_format, image_size
        self.network_input = read_network_input(
            shape,
            who,
            data_format=data_format or told_data_format(shape, who),
            image_size=image_size,
        )
        if preprocessing is None:
            value_range, channel_order = _as_said(self.file, value_range, channel_order)
        value_range = _value_range(value_range, self.file.dtype, who)
        channel_order = channel_order or "rgb"
        check_channel_order(channel_order)
        self.channel_order, self.num_threads = channel_order, num_threads
        self.preprocessing = preprocessing_or_none(
            preprocessing, self.network_input.source_shape[2], self.file.dtype, who
        )
        # A file may say that it takes any batch, and answer several images wrongly.
        self.images_a_call = self.network_input.batch_size
        images = probe_images(self.network_input.source_shape, value_range)
        answers = self._answer_singly(images)
        super().__init__(
            self.network_input.source_shape,
            answers.shape[1],
            value_range=value_range,
            class_names=class_names or self.file.score_names,
            score_kind=score_kind,
            score_step=score_step,
            sum_tolerance=sum_tolerance,
            max_batch=max_batch,
            name=name,
        )
        check_answer(
            answers, len(images), self.num_labels, self.sum_tolerance, who, self.score_kind
        )
        if self.images_a_call is None and not self._answers_alike(images, answers):
            self.images_a_call = 1
        warn_if_still(answers, self.score_kind, who)

    def ask(self, images: np.ndarray) -> np.ndarray:
        parts = in_calls_of(self.images_a_call, len(images))
        if self.images_a_call is None:
            size = self._work.images_a_part(len(images), self.source_shape)
            parts = [(rows, 0) for rows, _ in in_calls_of(size, len(images))]

        def answer(part: tuple[slice, int]) -> np.ndarray:
            rows, missing = part
            pixels = self.encode(images[rows])
            filled = np.concatenate([pixels, *[pixels[-1:]] * missing]) if missing else pixels
            return self.file.run(filled, alone=len(parts) == 1)[: len(pixels)]

        return np.concatenate(self._work.map(answer, parts))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Images `(n, H, W, C)` in `value_range` as the file takes them."""
        if self.channel_order == "bgr":
            images = images[..., ::-1]
        if self.preprocessing is not None:
            scale, offset = (np.asarray(part, np.float32) for part in self.preprocessing)
            images = images.astype(np.float32) * scale + offset
        if self.network_input.axes is not None:
            images = images.transpose(self.network_input.axes)
        if self.file.dtype.kind != "f" and images.dtype.kind == "f":
            limits = np.iinfo(self.file.dtype)
            images = np.clip(np.round(images), limits.min, limits.max)
        return np.ascontiguousarray(images, self.file.dtype)

    @property
    def fingerprint(self) -> str:
        facts = f"{self.sha256}:{self.file.output_name}:{self.value_range}:{self.preprocessing}"
        chosen = [self.network_input.chosen, "bgr" * (self.channel_order == "bgr")]
        return ":".join([facts, *filter(None, chosen)])

    def get_config(self) -> dict[str, Any]:
        return self.base_config() | {
            "path": str(self.model_path),
            "preprocessing": self.preprocessing,
            "channel_order": self.channel_order,
            "sha256": self.sha256,
            "output": self.file.output_name,
            "score_step": self.score_step,
            "num_threads": self.num_threads,
            "data_format": self.data_format,
            "image_size": self.image_size,
        }

    def _answer_singly(self, images: np.ndarray) -> np.ndarray:
        """The answers to images that are asked one after the other."""
        size = self.images_a_call or 1
        parts = [np.repeat(image[None], size, axis=0) for image in self.encode(images)]
        return np.concatenate([self.file.run(part, alone=False)[:1] for part in parts])

    def _answers_alike(self, images: np.ndarray, answers: np.ndarray) -> bool:
        """Whether images in one batch get the same answers as alone."""
        try:
            together = self.file.run(self.encode(images), alone=False)
        except ValueError:
            return False
        return np.allclose(together, answers, rtol=0, atol=_SAME * np.abs(answers).max())


def _as_said(
    file: ONNXFile, value_range: tuple[float, float] | None, channel_order: str | None
) -> tuple[tuple[float, float] | None, str | None]:
    """Range and order of channels, by the caller or else by the file's metadata."""
    given_range = None if value_range is None else tuple(map(float, value_range))
    for name, key, own, given in (
        ("value_range", "Image.NominalPixelRange", file.value_range, given_range),
        ("channel_order", "Image.BitmapPixelFormat", file.channel_order, channel_order),
    ):
        if None not in (own, given) and own != given:
            raise ValueError(
                f"{file.path} says of itself that it takes {own} ({key} in its metadata). "
                f"Received: {name}={given}. Leave `{name}` (--{name.replace('_', '-')}) out, or "
                "overrule the file by saying `preprocessing=(scale, offset)` (--pixel-scale 1 for "
                "none) beside it."
            )
    return value_range or file.value_range, channel_order or file.channel_order


def _value_range(
    value_range: tuple[float, float] | None, dtype: np.dtype, who: str
) -> tuple[float, float]:
    """The range of the pixels that callers send; a ValueError where nobody says it."""
    if value_range is None and dtype != np.uint8:
        raise ValueError(which_range(who))
    low, high = (float(end) for end in value_range or (0.0, 255.0))
    if dtype.kind != "f":
        check_whole_pixels(dtype.name, (low, high), who)
    return low, high
