"""The warm-up file of a version, replayed before the version takes traffic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.export.warmup import WARMUP_FILE
from keras_reprogram.serving.example_lists import serialized_examples
from keras_reprogram.serving.request_checks import check_inputs
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.server_packages import needs_server_package
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.tensor_protos import array_of_proto, array_of_texts

# As many as TF Serving takes.
_MOST_RECORDS = 1000
_MOST_BYTES = 2**30


def replay_warmup(servable: Servable, folder: Path) -> None:
    """Puts a version's own requests to it, so that the first client does not wait for the graph.

    Args:
        servable: the version.
        folder: where it lies; without a warm-up file nothing happens.

    Raises:
        ServingError: if the version refuses a request of its own.
    """
    if not (folder / WARMUP_FILE).is_file():
        return
    with needs_server_package("tensorflow-serving-api"):
        from tensorflow_serving.apis import prediction_log_pb2
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).take(_MOST_RECORDS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = getattr(log, log.WhichOneof("log_type")).request
        inputs = _inputs(request)
        name = signature_key(request.model_spec.signature_name)
        if name not in servable.signature_defs:
            raise ServingError(f"The warm-up file asks for a signature {name} that is not there.")
        check_inputs(servable.signature_defs[name], inputs)
        servable.run(name, inputs)


def _inputs(request: Any) -> Mapping[str, np.ndarray]:
    if hasattr(request, "inputs"):
        return {name: array_of_proto(proto, _MOST_BYTES) for name, proto in request.inputs.items()}
    return {"inputs": array_of_texts(serialized_examples(request.input))}
