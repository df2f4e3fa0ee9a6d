"""Servable: the contract of one version of a model that is served."""

from __future__ import annotations

import abc
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_reprogram.export.server_files import FACTS_FILE
from keras_reprogram.serving.errors import ServingError, code_name
from keras_reprogram.serving.tensors import served_type


class Servable(abc.ABC):
    """One version of a model, loaded. Any number of threads may call `run` at once.

    Attributes:
        version: its number.
        signature_defs: name -> `SignatureDef`, as clients ask for them.
        facts: what `keras_reprogram.json` says of it; empty for models of others.
        costs_queries: whether an answer may cost money elsewhere.
    """

    version: int
    signature_defs: Mapping[str, Any]
    facts: Mapping[str, Any]
    costs_queries: bool = False

    @abc.abstractmethod
    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            signature_name: one of `signature_defs`.
            inputs: name -> array, of the type that the signature says; texts are arrays of
                `object` that hold bytes.

        Returns:
            The signature's outputs, in the same form.

        Raises:
            ServingError: if the model refuses what it is asked, or fails.
        """

    def signature(self, name: str) -> Any:
        """The definition of a signature, or `None` if there is none of this name.

        Args:
            name: `""` for the default.
        """
        return self.signature_defs.get(signature_key(name))


def signature_key(name: str) -> str:
    """The name of the signature that a request means; `""` is the default."""
    return name or "serving_default"


def map_answers(steps: Mapping[str, np.ndarray]) -> np.ndarray:
    """The answers that an output map reads: of a joint source the scores and what is beside them.

    Args:
        steps: outputs of the signature `steps`.
    """
    scores, beside = steps["source_scores"], steps.get("beside")
    if beside is None:
        return scores
    rows = scores.reshape(len(scores), -1)
    return np.concatenate([rows, beside], axis=1)[:, None]


_MOST_SHOWN = 1000
_NODE = re.compile(r"\{\{function_node [^}]*\}\} ?")


class ExportedServable(Servable):
    """A SavedModel that runs in this process."""

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
            # TensorFlow's message quotes bytes of the request, which Python cannot always decode.
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
    """A kernel's error message without graph nodes and code locations."""
    told = message.split("\n\t [[", 1)[0].split(" [Op:", 1)[0]
    told = _NODE.sub("", told)
    lines = [line for line in told.splitlines() if line.strip()]
    if told.startswith("Graph execution error") and lines:
        lines = lines[-1:]
    return "\n".join(lines)[:_MOST_SHOWN] or "The model failed."
