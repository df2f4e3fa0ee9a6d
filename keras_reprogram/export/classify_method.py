"""The method name of a `classify` signature, which TensorFlow cannot be asked to write."""

from __future__ import annotations

from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

CLASSIFY_METHOD = "tensorflow/serving/classify"


def set_classify_method(folder: Path, signature: str = "classify") -> None:
    """Gives a signature of a SavedModel the method name that TF Serving's Classify asks for.

    `tf.saved_model.save` writes `tensorflow/serving/predict` everywhere, which servers started
    with `--enable_signature_method_name_check` refuse.

    Args:
        folder: holds `saved_model.pb`.
        signature: which one.
    """
    file = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = saved_model.meta_graphs
    graph.signature_def[signature].method_name = CLASSIFY_METHOD
    file.write_bytes(saved_model.SerializeToString(deterministic=True))
    # It is optional, and its checksum is of the file as it was.
    (folder / "fingerprint.pb").unlink(missing_ok=True)
