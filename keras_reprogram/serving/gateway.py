"""GatewayServable: serves a split export around any source."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_reprogram.asking.images import check_range
from keras_reprogram.export.raw_inputs import FILES, raw_input_named
from keras_reprogram.export.verdicts import ALL_NAMES, OF_FILES, OF_SCORES
from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.request_checks import CLASSIFY_METHOD
from keras_reprogram.serving.servable import ExportedServable, Servable, map_answers
from keras_reprogram.serving.tensors import array_of_texts
from keras_reprogram.source import BudgetSpentError, Source, UnknownFateError
from keras_reprogram.source.remote import (
    SourceDriftedError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.source import fingerprinted_kind

# One call at a time, whichever version asks: sources are not made for more.
_asking = threading.Lock()


class GatewayServable(Servable):
    """The two parts of a split export, with a source that is asked in between.

    It has the signatures of a whole export.
    """

    def __init__(self, program: Path, output_map: Path, version: int, source: Source) -> None:
        self.version, self._source = version, source
        self._program = ExportedServable(program, version)
        self._map = ExportedServable(output_map, version)
        check_halves(self._program, self._map, source)
        self.facts = self._program.facts
        self.costs_queries = source.costs_queries
        self._raw = raw_input_named(self._program.signature_defs)
        self._names = array_of_texts([name.encode() for name in self.facts["class_names"]])
        self.signature_defs = self._definitions()

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature_name in OF_SCORES:
            return self._map.run(signature_name, inputs)
        asked = "serving_default"
        if self._raw is not None and signature_name in ("classify", self._raw.signature, *OF_FILES):
            asked = self._raw.signature
            if signature_name == "classify":
                inputs = {asked: _raw_inputs(inputs["inputs"], self._raw.feature)}
        else:
            self._check_pixels(inputs)
        images = self._program.run(asked, inputs)
        source_scores = self._ask(images["source_images"])
        answers = {"source_scores": map_answers({**images, "source_scores": source_scores})}
        for names in ALL_NAMES:
            if signature_name in names:
                return self._map.run(names.of_scores, answers)
        scores = self._map.run("serving_default", answers)["scores"]
        if signature_name == "steps":
            return {**images, "source_scores": source_scores, "scores": scores}
        if asked == "serving_default":
            return {"scores": scores}
        return {"classes": np.tile(self._names, (len(scores), 1)), "scores": scores}

    def _check_pixels(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Refuses pixels on another scale before they are paid for."""
        target_range = self.facts.get("target_range")
        for images in inputs.values():
            if not np.isfinite(images).all():
                raise ServingError("Images must be finite. Received: NaN or infinity.")
            if target_range is None or not images.size:
                continue
            low, high = target_range
            try:
                check_range(images, (float(low), float(high)))
            except ValueError as error:
                raise ServingError(str(error)) from None

    def _ask(self, images: np.ndarray) -> np.ndarray:
        try:
            with _asking:
                return np.asarray(keras.ops.convert_to_numpy(self._source(images)), np.float32)
        except Exception as error:
            raise source_failure(error) from None

    def _definitions(self) -> dict[str, Any]:
        program, output_map = self._program.signature_defs, self._map.signature_defs
        scores = output_map["serving_default"].outputs["scores"]
        shape = (int(self.facts["num_views"]), self._source.num_labels)
        steps = {
            **program["serving_default"].outputs,
            "source_scores": tensor_info(is_text=False, row_shape=shape),
            "scores": scores,
        }
        image = program["serving_default"].inputs
        found = {
            "serving_default": signature_definition(image, {"scores": scores}),
            "steps": signature_definition(image, steps),
        }
        if (raw := self._raw) is not None:
            contents = program[raw.signature].inputs
            answers = {
                "classes": tensor_info(is_text=True, row_shape=(len(self._names),)),
                "scores": scores,
            }
            found[raw.signature] = signature_definition(contents, answers)
            examples = {"inputs": contents[raw.signature]}
            found["classify"] = signature_definition(examples, answers, CLASSIFY_METHOD)
        for names in ALL_NAMES:
            if (judged := output_map.get(names.of_scores)) is None:
                continue
            found[names.of_images] = signature_definition(image, judged.outputs)
            if FILES.signature in program:
                files = program[FILES.signature].inputs
                found[names.of_files] = signature_definition(files, judged.outputs)
            found[names.of_scores] = judged
        return found


def _raw_inputs(examples: np.ndarray, feature_name: str) -> np.ndarray:
    """The image files or texts in serialized examples."""
    from google.protobuf.message import DecodeError

    contents = []
    for number, text in enumerate(examples):
        try:
            feature = tf.train.Example.FromString(text).features.feature
        except DecodeError:
            raise ServingError(f"Could not parse example input number {number}.") from None
        values = feature[feature_name].bytes_list.value
        if len(values) != 1:
            raise ServingError(
                f"Feature: {feature_name} (data type: string) is required but could not be "
                f"found in example number {number}."
            )
        contents.append(values[0])
    return array_of_texts(contents)


def check_halves(program: Servable, output_map: Servable, source: Source) -> None:
    """Refuses halves of two models, and a source that they were not made for."""
    for half, name in ((program, "source_images"), (output_map, "scores")):
        signature = half.signature_defs.get("serving_default")
        if not half.facts.get("source") or signature is None or name not in signature.outputs:
            raise ValueError(
                "A gateway serves the halves that `export_halves` wrote. Received: a SavedModel "
                f"without its facts, or without the output {name!r}. Export the halves again."
            )
    if program.facts["source"] != output_map.facts["source"]:
        raise ValueError(
            "Program and output map must be halves of one model. Received: halves for different "
            "sources. Export both again."
        )
    if wrong := _differences(program.facts["source"], source):
        raise ValueError(
            "The source must be the one that the model was trained on. Received: "
            f"{'; '.join(wrong)}. Pass that source."
        )


def _differences(facts: dict[str, Any], source: Source) -> list[str]:
    if "scores" in facts:
        # Halves keep the reading of their map, even if the source declares another normalisation.
        facts = facts | {"scores": fingerprinted_kind(facts["scores"])}
    given = {
        "source_shape": list(source.source_shape),
        "value_range": None if source.value_range is None else list(source.value_range),
        "num_labels": source.num_labels,
        "scores": source.fingerprinted_scores,
        "labels": list(source.class_names) if source.class_names else None,
    }
    wrong = [
        f"{name} {_cut(value)}, expected {_cut(facts[name])}"
        for name, value in given.items()
        # Names are known of some sources only.
        if facts.get(name) is not None and value is not None and facts[name] != value
    ]
    if not wrong and facts.get("fingerprint") not in (None, source.fingerprint):
        wrong.append(f"fingerprint {source.fingerprint[:16]}, expected {facts['fingerprint'][:16]}")
    return wrong


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


_log = logging.getLogger("keras_reprogram.serving")

# In this order: a busy source is an unavailable one too.
_MEANINGS: tuple[tuple[type[Exception], str, str], ...] = (
    (BudgetSpentError, "RESOURCE_EXHAUSTED", "The budget of the source model is spent."),
    (SourceRefusedError, "FAILED_PRECONDITION", "The source model refuses the server's requests."),
    (UnknownFateError, "FAILED_PRECONDITION", "The ledger of the source model must be settled."),
    (SourceDriftedError, "FAILED_PRECONDITION", "The source model answers unlike before."),
    (SourceUnavailableError, "UNAVAILABLE", "The source model does not answer now."),
    (Exception, "INTERNAL", "The source model failed."),
)


def source_failure(error: Exception) -> ServingError:
    """The error for clients when the source fails."""
    # The source's message stays in the log: it may name the service, its address and secrets.
    _log.error("The source failed (%s): %s", type(error).__name__, error)
    code, text = next(meaning[1:] for meaning in _MEANINGS if isinstance(error, meaning[0]))
    return ServingError(f"{text} The server's log says more.", code)


PREDICT_METHOD = "tensorflow/serving/predict"


def tensor_info(*, is_text: bool, row_shape: Sequence[int]) -> Any:
    """The `TensorInfo` of any number of rows."""
    dtype = tf.string if is_text else tf.float32
    info = meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum)
    for size in (-1, *row_shape):
        info.tensor_shape.dim.add(size=size)
    return info


def signature_definition(
    inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str = PREDICT_METHOD
) -> Any:
    """A `SignatureDef`; inputs and outputs are name -> `TensorInfo`."""
    return meta_graph_pb2.SignatureDef(inputs=inputs, outputs=outputs, method_name=method)
