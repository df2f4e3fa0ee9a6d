"""The two graphs of an export without its source: what comes before it, and what after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_reprogram.export.serving_graph import file_signature, image_spec
from keras_reprogram.export.traced_stages import module_of, save_module, traced
from keras_reprogram.reprogrammed_model import ReprogrammedModel


def write_program_half(
    model: ReprogrammedModel, path: Path, *, takes_files: bool
) -> tuple[str, ...]:
    """Writes target images -> source images as a SavedModel, without any check.

    Args:
        model: whose program is written.
        path: a folder that does not exist.
        takes_files: write `image_bytes` too.

    Returns:
        The signatures' names.
    """
    program = traced(model.program, model.input_shape[1:])

    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        return {"source_images": program(image)}

    signatures = {"serving_default": serving_default}
    if takes_files:
        signatures["image_bytes"] = file_signature(
            model, lambda images: {"source_images": program(images)}
        )
    save_module(module_of(model.program), path, signatures)
    return tuple(signatures)


def write_map_half(model: ReprogrammedModel, path: Path, labels_file: Path) -> tuple[str, ...]:
    """Writes source scores -> target probabilities as a SavedModel, without any check.

    Args:
        model: whose output map is written.
        path: a folder that does not exist.
        labels_file: stored as an asset.

    Returns:
        The signatures' names.
    """
    shape = (model.queries_per_prediction, model.source.num_labels)
    output_map = traced(model.output_map, shape)
    spec = tf.TensorSpec((None, *shape), tf.float32, name="source_scores")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(source_scores: Any) -> dict[str, Any]:
        return {"scores": output_map(source_scores)}

    module = module_of(model.output_map)
    module.labels = tf.saved_model.Asset(str(labels_file))
    save_module(module, path, {"serving_default": serving_default})
    return ("serving_default",)
