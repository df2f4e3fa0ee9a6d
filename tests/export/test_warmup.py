"""The warm-up file: what TF Serving's own protocol reads in it, and what a replay finds."""

import numpy as np
import pytest
import tensorflow as tf
from exported_models import signatures

from keras_reprogram.export import fresh_process
from keras_reprogram.export.server_files import WARMUP_FILE, write_warmup

prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")


def logs(folder):
    file = str(folder / WARMUP_FILE)
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset([file]).as_numpy_iterator()
    ]


def asked(log):
    """Kind, signature and batch of a request, and its rows."""
    kind = log.WhichOneof("log_type")
    request = getattr(log, kind).request
    if kind == "classify_log":
        examples = request.input.example_list.examples
        rows = [example.SerializeToString() for example in examples]
    else:
        ((key, tensor),) = request.inputs.items()
        rows = {key: tf.make_ndarray(tensor)}
    return kind, request.model_spec.signature_name, rows


def test_every_signature_is_asked_in_every_size(digits) -> None:
    found = [asked(log) for log in logs(digits.exported.folder)]
    assert [(kind, signature) for kind, signature, _ in found] == [
        *[("predict_log", "serving_default")] * 3,
        *[("predict_log", "image_bytes")] * 3,
        *[("classify_log", "classify")] * 3,
        ("predict_log", "steps"),
    ]
    rows = [
        rows if kind == "classify_log" else next(iter(rows.values())) for kind, _, rows in found
    ]
    assert [len(some) for some in rows] == [*[1, 4, 16] * 3, 1]
    assert rows[1].shape == (4, 8, 8, 1)
    assert rows[1].dtype == np.float32
    names = {log.predict_log.request.model_spec.name for log in logs(digits.exported.folder)[:6]}
    assert names == {"digits"}


@pytest.mark.slow
def test_the_requests_are_answered(digits) -> None:
    """Read by the official classes, put to the signatures as the server does."""
    served = signatures(digits.exported)
    for log in logs(digits.exported.folder):
        kind, signature, rows = asked(log)
        feed = {"inputs": rows} if kind == "classify_log" else rows
        feed = {key: tf.constant(value) for key, value in feed.items()}
        (count,) = {len(value) for value in served[signature](**feed).values()}
        assert count == len(next(iter(feed.values())))


def test_the_fresh_process_reads_them_alike(digits) -> None:
    for log in logs(digits.exported.folder):
        _, signature, rows = asked(log)
        rows = rows if isinstance(rows, list) else next(iter(rows.values()))
        read, values = fresh_process.read_request(log.SerializeToString())
        assert read == signature
        np.testing.assert_array_equal(values.numpy(), np.asarray(rows, values.numpy().dtype))


@pytest.mark.slow
def test_a_replay_counts_and_finds_what_fails(digits) -> None:
    served = dict(signatures(digits.exported))
    file = digits.exported.folder / WARMUP_FILE
    assert fresh_process.replay(served, file) == 10
    served["classify"] = served["image_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        fresh_process.replay(served, file)


@pytest.mark.slow
def test_large_images_do_not_make_large_files(tmp_path) -> None:
    (tmp_path / "1").mkdir()
    write_warmup(tmp_path / "1", "large", (512, 512, 3), ("serving_default",), (1, 256))
    assert (tmp_path / "1" / WARMUP_FILE).stat().st_size < 1000
    assert [asked(log)[2]["image"].shape[0] for log in logs(tmp_path / "1")] == [1, 256]


def test_long_names_have_lengths_of_two_bytes(tmp_path) -> None:
    (tmp_path / "1").mkdir()
    name = "n" * 300
    write_warmup(tmp_path / "1", name, (2, 2, 1), ("serving_default",), (1,))
    (log,) = logs(tmp_path / "1")
    assert log.predict_log.request.model_spec.name == name
