"""SavedModelSource: a SavedModel folder as a source, transparent or opaque."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.source.answer_checks import check_answer
from keras_reprogram.source.file_hash import check_sha256
from keras_reprogram.source.source import Source


@keras.saving.register_keras_serializable(package="keras_reprogram")
class SavedModelSource(Source):
    """A SavedModel's signature as a source. It runs inside the graph.

    Gradients flow through a SavedModel. `opaque=True` refuses them: the source then counts as a
    black box, learned from by queries alone, and asking for its gradient is an error.

    A SavedModel is a program: load only folders that you trust, and pass `sha256`.

    Args:
        path: the folder that holds `saved_model.pb`.
        value_range: `(low, high)` of the pixels it expects.
        sha256: the folder's expected hash (over all files), or `None`.
        signature: which signature to call.
        output: which of its outputs holds the scores; may be left out if there is one.
        opaque: refuse gradients.
        labels: names of the scores, or `None`.
        scores: `"probabilities"` or `"logits"`.
        score_step: distance of neighbouring scores where they are rounded.
        sum_tolerance: how far a row may sum from 1; `None` for partial lists of scores.
        max_batch: most images at once while estimating gradients.
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
        sha256: str | None = None,
        signature: str = "serving_default",
        output: str | None = None,
        opaque: bool = False,
        labels: Sequence[str] | None = None,
        scores: str = "probabilities",
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        name: str = "source",
    ) -> None:
        path = Path(path)
        digest = check_sha256(path, sha256)
        loaded = _load(path)
        function = _signature(loaded, signature, path)
        input_name, source_shape = _image_input(function, path)
        output_name = _score_output(function, output, path)
        middle = np.full((1, *source_shape), sum(value_range) / 2, np.float32)
        probe = function(**{input_name: tf.constant(middle)})[output_name].numpy()
        super().__init__(
            source_shape,
            probe.shape[-1],
            value_range=value_range,
            labels=labels,
            scores=scores,
            score_step=score_step,
            sum_tolerance=sum_tolerance,
            max_batch=max_batch,
            name=name,
        )
        self.model_path, self.sha256 = path, digest
        self.signature, self.output_name, self.input_name = signature, output_name, input_name
        self.opaque = opaque
        # The loaded object must live as long as its signatures. Keras does not see TensorFlow's
        # own variables, so nothing here becomes trainable.
        self.loaded = loaded
        self._function = function
        check_answer(probe, 1, self.num_labels, self.sum_tolerance, str(path))

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        return not self.opaque

    def answer(self, images: Any) -> Any:
        images = tf.convert_to_tensor(images, tf.float32)
        scores = self._function(**{self.input_name: images})[self.output_name]
        scores = tf.reshape(tf.cast(scores, tf.float32), (-1, self.num_labels))
        return _refuse_gradient(scores) if self.opaque else scores

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(images.shape), dtype="float32")

    @property
    def fingerprint(self) -> str:
        return f"{self.sha256}:{self.signature}:{self.output_name}:{self.value_range}"

    def get_config(self) -> dict[str, Any]:
        return {
            "path": str(self.model_path),
            "value_range": self.value_range,
            "sha256": self.sha256,
            "signature": self.signature,
            "output": self.output_name,
            "opaque": self.opaque,
            "labels": self.labels,
            "scores": self.scores,
            "score_step": self.score_step,
            "sum_tolerance": self.sum_tolerance,
            "max_batch": self.max_batch,
            "name": self.name,
        }


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
            "Pass one of them as `signature=`."
        )
    return loaded.signatures[name]


def _image_input(function: Any, path: Path) -> tuple[str, tuple[int, int, int]]:
    inputs = function.structured_input_signature[1]
    shapes = {name: spec.shape.as_list() for name, spec in inputs.items()}
    if len(shapes) != 1 or any(len(s) != 4 or None in s[1:] for s in shapes.values()):
        raise ValueError(
            f"The signature of {path} must take one image input (None, H, W, C). "
            f"Received: {shapes}."
        )
    name, shape = next(iter(shapes.items()))
    if shape[0] is not None or not inputs[name].dtype.is_floating:
        raise ValueError(
            f"The signature of {path} must take float images in batches of any size. "
            f"Received: {inputs[name]}. Export it with `tf.TensorSpec((None, H, W, C))`."
        )
    return name, tuple(shape[1:])


def _score_output(function: Any, output: str | None, path: Path) -> str:
    outputs = sorted(function.structured_outputs)
    if output is None and len(outputs) == 1:
        return outputs[0]
    if output is None or output not in outputs:
        raise ValueError(
            f"Pass `output=` to say which output of {path} holds the scores. "
            f"It has: {outputs}. Received: output={output!r}."
        )
    return output
