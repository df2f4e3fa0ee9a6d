"""GatewayServable: program and output map from files, the source model from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.export.serving_graph import EXAMPLE_FEATURE
from keras_reprogram.image_range import check_range
from keras_reprogram.serving.classification import CLASSIFY_METHOD
from keras_reprogram.serving.exported_servable import ExportedServable
from keras_reprogram.serving.gateway_checks import check_halves
from keras_reprogram.serving.servable import Servable
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.signature_parts import signature_definition, tensor_info
from keras_reprogram.serving.source_failures import source_failure
from keras_reprogram.serving.tensor_protos import array_of_texts
from keras_reprogram.source import LiteRTSource, Source

# One call at a time, whichever version asks: sources are not made for more.
_asking = threading.Lock()


class GatewayServable(Servable):
    """What `export_halves` wrote, with a live source between the halves.

    It has the signatures of a whole export.

    Args:
        program: version folder of the program.
        output_map: version folder of the output map.
        version: their number.
        source: answers between them.

    Raises:
        ValueError: if the halves were not made for this source.
    """

    def __init__(self, program: Path, output_map: Path, version: int, source: Source) -> None:
        self.version, self._source = version, source
        self._program = ExportedServable(program, version)
        self._map = ExportedServable(output_map, version)
        check_halves(self._program, self._map, source)
        self.facts = self._program.facts
        # Whatever else runs as Python code may ask somebody who charges for it.
        self.costs_queries = not (source.in_graph or isinstance(source, LiteRTSource))
        self._names = array_of_texts([name.encode() for name in self.facts["class_names"]])
        self.signature_defs = self._definitions()

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature_name == "classify":
            inputs = {"image_bytes": _files(inputs["inputs"])}
        of_files = signature_name in ("classify", "image_bytes")
        if not of_files:
            self._check_pixels(inputs)
        images = self._program.run("image_bytes" if of_files else "serving_default", inputs)
        source_scores = self._ask(images["source_images"])
        scores = self._map.run("serving_default", {"source_scores": source_scores})["scores"]
        if signature_name == "steps":
            return {**images, "source_scores": source_scores, "scores": scores}
        if not of_files:
            return {"scores": scores}
        return {"classes": np.tile(self._names, (len(scores), 1)), "scores": scores}

    def _check_pixels(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Pixels on another scale would be asked, and paid for, in vain."""
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
        steps = {
            "source_images": program["serving_default"].outputs["source_images"],
            "source_scores": output_map["serving_default"].inputs["source_scores"],
            "scores": scores,
        }
        image = program["serving_default"].inputs
        found = {
            "serving_default": signature_definition(image, {"scores": scores}),
            "steps": signature_definition(image, steps),
        }
        if "image_bytes" in program:
            files = program["image_bytes"].inputs
            answers = {
                "classes": tensor_info(is_text=True, row_shape=(len(self._names),)),
                "scores": scores,
            }
            found["image_bytes"] = signature_definition(files, answers)
            examples = {"inputs": files["image_bytes"]}
            found["classify"] = signature_definition(examples, answers, CLASSIFY_METHOD)
        return found


def _files(examples: np.ndarray) -> np.ndarray:
    """The image files in serialized examples."""
    from google.protobuf.message import DecodeError

    files = []
    for number, text in enumerate(examples):
        try:
            feature = tf.train.Example.FromString(text).features.feature
        except DecodeError:
            raise ServingError(f"Could not parse example input number {number}.") from None
        values = feature[EXAMPLE_FEATURE].bytes_list.value
        if len(values) != 1:
            raise ServingError(
                f"Feature: {EXAMPLE_FEATURE} (data type: string) is required but could not be "
                f"found in example number {number}."
            )
        files.append(values[0])
    return array_of_texts(files)
