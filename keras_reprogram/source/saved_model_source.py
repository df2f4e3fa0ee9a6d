"""SavedModelSource: a SavedModel folder as a source, transparent or opaque."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.source.answer_probe import probe_images, warn_if_still
from keras_reprogram.source.fingerprints import check_sha256
from keras_reprogram.source.network_input import (
    NetworkInput,
    check_channel_order,
    check_whole_pixels,
    preprocessing_or_none,
    read_network_input,
    rounded_for,
)
from keras_reprogram.source.source import Source, check_answer

_KEY = "key"


@keras.saving.register_keras_serializable(package="keras_reprogram")
class SavedModelSource(Source):
    """A SavedModel's signature as a source. It runs inside the graph.

    Gradients flow through a SavedModel. `opaque=True` refuses them: the source then counts as a
    black box, learned from by queries alone, and asking for its gradient is an error.

    A signature of a fixed batch is called in such batches, the last one filled up. One that takes
    integers gets rounded pixels, and has no gradient. One that takes encoded images (strings:
    `image_bytes`, also with a `key` beside it, as AutoML exports have) gets them as PNG files.

    A SavedModel is a program: load only folders that you trust, and pass `sha256`.

    Args:
        path: the folder that holds `saved_model.pb`.
        value_range: `(low, high)` of the pixels that callers send, which it expects if there is no
            `preprocessing`.
        preprocessing: `(scale, offset)`, each a number or one a channel: a signature of floats sees
            `images * scale + offset`.
        channel_order: `"rgb"`, or `"bgr"` to turn the channels round before that, as exports of
            Custom Vision need.
        sha256: the folder's expected hash (over all files), or `None`.
        signature: which signature to call.
        output: which of its outputs holds the scores; may be left out if only one holds floats.
        opaque: refuse gradients.
        class_names: names of the scores, or `None`.
        score_kind: `"probabilities"`, `"independent"`, `"logits"` or `"independent_logits"`; see
            `Source`. `None` takes probabilities, or what `sum_tolerance=None` says.
        score_step: distance of neighbouring scores where they are rounded.
        sum_tolerance: how far a row may sum from 1; `None` for partial lists of scores.
        max_batch: most images at once while estimating gradients.
        data_format: `"channels_first"` for a signature that takes `(n, C, H, W)`; callers send
            `(..., H, W, C)` in any case. `None` raises an error if the sizes suggest it.
        image_size: side, or `(height, width)`, for a signature that takes images of any size.
        name: layer name.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: for a folder that is no SavedModel, an unknown signature or output, a hash
            that differs, or answers with something else than it declares.

    Example:
    ```python
    import keras
    from keras_reprogram import SavedModelSource

    model = keras.Sequential([
        keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(5, "softmax")
    ])
    model.export("my_source", verbose=False)
    source = SavedModelSource("my_source", value_range=(0, 1), opaque=True)
    assert source.num_labels == 5 and not source.differentiable
    ```
    """

    def __init__(
        self,
        path: str | Path,
        *,
        value_range: tuple[float, float],
        preprocessing: tuple[Any, Any] | None = None,
        channel_order: str = "rgb",
        sha256: str | None = None,
        signature: str = "serving_default",
        output: str | None = None,
        opaque: bool = False,
        class_names: Sequence[str] | None = None,
        score_kind: str | None = None,
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        data_format: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        name: str = "source",
    ) -> None:
        path = Path(path)
        digest = check_sha256(path, sha256)
        loaded = _load(path)
        function = _signature(loaded, signature, path)
        input_name, spec = _image_input(function, path)
        who = f"The signature {signature!r} of {path}"
        pixels = tf.uint8 if spec.dtype == tf.string else spec.dtype
        if pixels.is_integer:
            check_whole_pixels(pixels.name, value_range, who)
        shape = spec.shape.as_list()
        if spec.dtype == tf.string:
            # A file is an image of any size, in colours.
            shape = [shape[0], None, None, 3]
        network_input = read_network_input(
            shape, who, data_format=data_format, image_size=image_size
        )
        check_channel_order(channel_order)
        preprocessing = preprocessing_or_none(
            preprocessing,
            network_input.source_shape[2],
            np.dtype(np.float32 if pixels.is_floating else pixels.as_numpy_dtype),
            who,
        )
        output_name = _score_output(function, output, path)
        prepare = _Preparation(preprocessing, channel_order)
        call = _Call(function, input_name, output_name, network_input, spec.dtype, prepare)
        images = probe_images(network_input.source_shape, value_range)
        answers = call(tf.constant(images)).numpy()
        super().__init__(
            network_input.source_shape,
            answers.shape[-1],
            value_range=value_range,
            class_names=class_names,
            score_kind=score_kind,
            score_step=score_step,
            sum_tolerance=sum_tolerance,
            max_batch=max_batch,
            name=name,
        )
        self.model_path, self.sha256 = path, digest
        self.signature, self.output_name, self.input_name = signature, output_name, input_name
        self.opaque = opaque
        self.preprocessing, self.channel_order = preprocessing, channel_order
        self.data_format, self.image_size = data_format, image_size
        self.network_input = network_input
        # The loaded object must live as long as its signatures. Keras does not see TensorFlow's
        # own variables, so nothing here becomes trainable.
        self.loaded = loaded
        self._call = call
        check_answer(
            answers, len(images), self.num_labels, self.sum_tolerance, str(path), self.score_kind
        )
        warn_if_still(answers, self.score_kind, str(path))

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        return not self.opaque and self._call.dtype.is_floating

    @property
    def pixel_dtype(self) -> tf.DType:
        """What the signature takes: floats, whole numbers, or strings that are image files."""
        return self._call.dtype

    def answer(self, images: Any) -> Any:
        scores = self._call(tf.convert_to_tensor(images, tf.float32))
        scores = tf.reshape(scores, (-1, self.num_labels))
        return scores if self.differentiable else _refuse_gradient(scores)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(images.shape), dtype="float32")

    @property
    def fingerprint(self) -> str:
        facts = f"{self.sha256}:{self.signature}:{self.output_name}:{self.value_range}"
        chosen = self.network_input.chosen
        prepared = [f"{self.preprocessing}"] * (self.preprocessing is not None)
        prepared += ["bgr"] * (self.channel_order == "bgr")
        return ":".join([facts, *([chosen] if chosen else []), *prepared])

    def get_config(self) -> dict[str, Any]:
        return self.base_config() | {
            "path": str(self.model_path),
            "preprocessing": self.preprocessing,
            "channel_order": self.channel_order,
            "sha256": self.sha256,
            "signature": self.signature,
            "output": self.output_name,
            "opaque": self.opaque,
            "score_step": self.score_step,
            "data_format": self.data_format,
            "image_size": self.image_size,
        }


@dataclass(frozen=True)
class _Preparation:
    """What is done to callers' pixels before a signature sees them."""

    preprocessing: tuple[Any, Any] | None
    channel_order: str

    def __call__(self, images: Any) -> Any:
        if self.channel_order == "bgr":
            images = tf.reverse(images, axis=[-1])
        if self.preprocessing is None:
            return images
        scale, offset = (np.asarray(part, np.float32) for part in self.preprocessing)
        return images * scale + offset


class _Call:
    """One signature as a function of float32 images `(n, H, W, C)`, in its own types and order."""

    def __init__(
        self,
        function: Any,
        input_name: str,
        output_name: str,
        network_input: NetworkInput,
        dtype: tf.DType,
        prepare: _Preparation,
    ) -> None:
        self.prepare = prepare
        self.function, self.names = function, (input_name, output_name)
        self.network_input, self.dtype = network_input, dtype

    def __call__(self, images: Any) -> Any:
        images = self.prepare(images)
        if self.network_input.axes is not None:
            images = tf.transpose(images, self.network_input.axes)
        pixels = tf.uint8 if self.dtype == tf.string else self.dtype
        if not pixels.is_floating:
            images = rounded_for(pixels.name, images)
        images = tf.cast(images, pixels)
        batch = self.network_input.batch_size
        return self._scores(images) if batch is None else self._in_batches(images, batch)

    def _scores(self, images: Any) -> Any:
        input_name, output_name = self.names
        count = tf.shape(images)[0]
        if self.dtype == tf.string:
            images = tf.map_fn(tf.io.encode_png, images, fn_output_signature=tf.string)
        inputs = {input_name: images}
        if _KEY in self.function.structured_input_signature[1]:
            inputs[_KEY] = tf.strings.as_string(tf.range(count))
        return tf.cast(self.function(**inputs)[output_name], tf.float32)

    def _in_batches(self, images: Any, batch: int) -> Any:
        """Calls of exactly `batch` images; the last one is filled up with the last image."""
        count = tf.shape(images)[0]
        missing = tf.math.floormod(-count, batch)
        filler = tf.repeat(images[-1:], missing, axis=0)
        shape = (-1, batch, *self.network_input.image_shape)
        calls = tf.reshape(tf.concat([images, filler], axis=0), shape)
        scores = tf.map_fn(self._scores, calls, fn_output_signature=tf.float32)
        rows = tf.reshape(scores, (count + missing, *scores.shape[2:]))
        return rows[:count]


@tf.custom_gradient
def _refuse_gradient(scores: Any) -> tuple[Any, Any]:
    def refuse(*upstream: Any) -> Any:
        raise ValueError(
            "This source is opaque: its gradient is refused. Give the model a gradient "
            "estimator (`ReprogrammedModel.fit` uses one by default), or load the source with "
            "`opaque=False` if you may use its gradient."
        )

    return tf.identity(scores), refuse


def _load(path: Path) -> Any:
    try:
        return tf.saved_model.load(str(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable SavedModel folder: {error}") from error


def _signature(loaded: Any, name: str, path: Path) -> Any:
    if name not in loaded.signatures:
        raise ValueError(
            f"{path} has no signature {name!r}. It has: {sorted(loaded.signatures)}. "
            "Pass one of them as `signature=` (--signature). If the model has no signature, load "
            "it in Python and pass its function to `OpaqueSource` (--source FILE.py:NAME)."
        )
    return loaded.signatures[name]


def _image_input(function: Any, path: Path) -> tuple[str, Any]:
    inputs = dict(function.structured_input_signature[1])
    if len(inputs) > 1 and inputs.get(_KEY, tf.TensorSpec(())).dtype == tf.string:
        # AutoML's, a text beside each image that comes back with its answer.
        del inputs[_KEY]
    if len(inputs) != 1:
        raise ValueError(
            f"The signature of {path} must take one image input (None, H, W, C). "
            f"Received: inputs {sorted(inputs)}. Choose another `signature=` (--signature), or "
            "wrap the model in a function for `OpaqueSource` (--source FILE.py:NAME)."
        )
    name, spec = next(iter(inputs.items()))
    if spec.dtype == tf.string and spec.shape.rank == 1:
        return name, spec
    if spec.shape.rank is None or not (spec.dtype.is_floating or spec.dtype.is_integer):
        raise ValueError(
            f"The signature of {path} must take one image input, of numbers or of encoded files. "
            f"Received: {spec.dtype.name} of shape {spec.shape}. Choose another `signature=` "
            "(--signature), or wrap the model in a function for `OpaqueSource` (--source "
            "FILE.py:NAME)."
        )
    return name, spec


def _score_output(function: Any, output: str | None, path: Path) -> str:
    outputs = sorted(function.structured_outputs)
    if output is None and len(outputs) == 1:
        return outputs[0]
    # Names, keys and class numbers are no scores.
    floats = [name for name in outputs if function.structured_outputs[name].dtype.is_floating]
    if output is None and len(floats) == 1:
        return floats[0]
    if output is None or output not in outputs:
        raise ValueError(
            f"Pass `output=` (--score-output) to say which output of {path} holds the scores. "
            f"It has: {outputs}. Received: output={output!r}."
        )
    return output
