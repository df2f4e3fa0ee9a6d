"""ExportedServable: a SavedModel's version folder, ours or anybody's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_reprogram.export.model_facts import FACTS_FILE
from keras_reprogram.serving.servable import Servable
from keras_reprogram.serving.serving_error import ServingError, code_name
from keras_reprogram.serving.tensor_types import served_type

_MOST_SHOWN = 1000
_NODE = re.compile(r"\{\{function_node [^}]*\}\} ?")


class ExportedServable(Servable):
    """A SavedModel that runs in this process.

    Args:
        folder: holds `saved_model.pb`.
        version: its number.

    Raises:
        OSError, ValueError: if it cannot be loaded.
    """

    def __init__(self, folder: Path, version: int) -> None:
        self.version = version
        self.facts = _facts(folder)
        definitions = _signature_defs(folder)
        # The functions die with what they were loaded from.
        self._loaded = tf.saved_model.load(str(folder))
        self._functions = dict(self._loaded.signatures)
        self.signature_defs = {
            name: definitions[name] for name in definitions if name in self._functions
        }

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        infos = self.signature_defs[signature_name].inputs
        try:
            tensors = {
                name: tf.constant(array, served_type(infos[name].dtype))
                for name, array in inputs.items()
            }
            outputs = self._functions[signature_name](**tensors)
        except tf.errors.OpError as error:
            raise ServingError(_said(str(error.message)), code_name(error.error_code)) from None
        except UnicodeDecodeError as error:
            # What TensorFlow says quotes the request's own bytes; Python's side of it stumbles.
            raise ServingError(_said(error.object.decode("utf-8", "replace"))) from None
        return {name: np.asarray(tensor.numpy()) for name, tensor in outputs.items()}


def _signature_defs(folder: Path) -> dict[str, Any]:
    content = (folder / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(content)
    graphs = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        tags = [list(graph.meta_info_def.tags) for graph in saved.meta_graphs]
        raise ValueError(
            f"{folder} must hold a SavedModel with the tag `serve`. Received: tags {tags}. "
            "Save it with `tf.saved_model.save`."
        )
    return dict(graphs[0].signature_def.items())


def _facts(folder: Path) -> dict[str, Any]:
    file = folder / FACTS_FILE
    if not file.is_file():
        return {}
    return json.loads(file.read_text(encoding="utf-8"))


def _said(message: str) -> str:
    """What a kernel said, without the graph's nodes and the lines of code they came from."""
    told = message.split("\n\t [[", 1)[0].split(" [Op:", 1)[0]
    told = _NODE.sub("", told)
    lines = [line for line in told.splitlines() if line.strip()]
    if told.startswith("Graph execution error") and lines:
        lines = lines[-1:]
    return "\n".join(lines)[:_MOST_SHOWN] or "The model failed."
