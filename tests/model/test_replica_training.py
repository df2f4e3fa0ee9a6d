"""Training on several replicas: two devices of one process, and two processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from replica_runs import IMAGES, LABELS, RUNS
from small_models import head_model, images_and_labels

from keras_reprogram.model import replicas

HERE = Path(__file__).parent.parent
TOLERANCE = 1e-6


def context(replica_count=2, workers=1, worker=0):
    return tf.distribute.InputContext(workers, worker, replica_count)


def parts(dataset, replica_context, *, endless=False, count=None):
    own = replicas._own_parts(dataset, replica_context, endless)
    return [part.numpy().tolist() for part in (own if count is None else own.take(count))]


def test_each_batch_is_divided_by_itself() -> None:
    # Rows of batches of known size would be joined and cut anew by TensorFlow.
    data = tf.data.Dataset.range(5).batch(3).repeat(2)
    assert parts(data, context()) == [[0], [1, 2], [3], [4], [0], [1, 2], [3], [4]]
    assert parts(data, context(), endless=True, count=10)[8:] == [[0], [1, 2]]


def test_workers_get_different_parts() -> None:
    data = tf.data.Dataset.range(8).batch(8)
    assert parts(data, context(2, workers=2, worker=1)) == [[4, 5, 6, 7]]
    # Two replicas each on two workers, in the order in which Keras joins their predictions.
    own = [parts(data, context(4, workers=2, worker=worker)) for worker in (0, 1)]
    assert own == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


def test_a_batch_that_does_not_reach_all_replicas_is_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="an image for each of 2 replicas"):
        parts(tf.data.Dataset.range(5).batch(4), context())


def two_replicas(**facts):
    return SimpleNamespace(num_replicas_in_sync=2, **facts)


def test_training_images_that_leave_a_replica_without_one() -> None:
    model = SimpleNamespace(distribute_strategy=two_replicas())
    replicas.check_batches(model, 20, 8)
    replicas.check_batches(model, 22, 8)
    with pytest.raises(ValueError, match="17 images in batches of 8, the last one of 1"):
        replicas.check_batches(model, 17, 8)
    # What is only asked takes the next size that works.
    assert replicas._size_for_all(17, 8, two_replicas()) == 9
    with pytest.raises(ValueError, match="Received: 1 images"):
        replicas._size_for_all(1, 8, two_replicas())


def test_seeds_of_replicas() -> None:
    seeds = replicas.replica_seeds(7, 4)
    assert seeds[0] == 7  # As on one device.
    assert len(set(seeds)) == 4 and seeds[:2] == replicas.replica_seeds(7, 2)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_only_the_chief_writes(tmp_path) -> None:
    def model_of(task_id, jobs=("worker",), task_type="worker"):
        spec = SimpleNamespace(jobs=list(jobs))
        resolver = SimpleNamespace(cluster_spec=lambda: spec, task_type=task_type, task_id=task_id)
        extended = SimpleNamespace(worker_devices=("CPU:0",))
        strategy = two_replicas(extended=extended, cluster_resolver=resolver)
        return SimpleNamespace(distribute_strategy=strategy)

    path = tmp_path / "last.weights.h5"
    for chief in (model_of(0), model_of(0, ("chief", "worker"), "chief")):
        with replicas.written_by_chief(chief, path) as given:
            assert given == path
    for other in (model_of(1), model_of(0, ("chief", "worker"))):
        with replicas.written_by_chief(other, path) as given:
            Path(given).write_text("weights")
            assert Path(given).name == path.name
        assert not Path(given).exists()
    assert not path.exists()


@pytest.fixture
def mirrored(monkeypatch):
    """A strategy of one device that says it has two, for checks before the first step."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    count = property(lambda self: 2)
    with strategy.scope():
        model = head_model()
    monkeypatch.setattr(tf.distribute.MirroredStrategy, "num_replicas_in_sync", count)
    return model


REFUSED = {
    "fit_opaque": (
        lambda model: model.fit_opaque(IMAGES, LABELS, query_budget=200),
        "`fit_opaque` works on one device only. .* 2 replicas",
    ),
    "train_on_batch": (lambda model: model.train_on_batch(IMAGES, LABELS), "Pass the batch to"),
    "test_on_batch": (lambda model: model.test_on_batch(IMAGES, LABELS), "Pass the batch to"),
    "predict_on_batch": (lambda model: model.predict_on_batch(IMAGES), "Pass the batch to"),
    "short batch": (
        lambda model: model.fit(IMAGES[:17], LABELS[:17], batch_size=8, verbose=0),
        "the last one of 1",
    ),
    "generator": (
        lambda model: model.fit(((x, y) for x, y in [(IMAGES, LABELS)]), verbose=0),
        "Received: a generator",
    ),
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(("ask", "message"), REFUSED.values(), ids=REFUSED)
def test_what_one_device_only_does_is_refused(mirrored, ask, message) -> None:
    with pytest.raises(ValueError, match=message):
        ask(mirrored)
    assert mirrored.queries_used == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"optimizer": {"clipnorm": 1.0}}, "An optimizer with `clipnorm`"),
        ({"optimizer": {"gradient_accumulation_steps": 2}}, "`gradient_accumulation_steps`"),
        ({"loss": "sum"}, "A loss with reduction='sum'"),
    ],
)
def test_options_that_act_on_one_replica_are_refused(mirrored, option, message) -> None:
    optimizer = keras.optimizers.SGD(**option.get("optimizer", {}))
    reduction = option.get("loss", "sum_over_batch_size")
    mirrored.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(reduction=reduction))
    with pytest.raises(ValueError, match=message):
        mirrored.fit(IMAGES, LABELS, verbose=0)


def test_what_was_compiled_outside_of_the_scope_is_refused(mirrored) -> None:
    mirrored.compile(keras.optimizers.SGD(), "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="call `compile`, in `with strategy.scope"):
        mirrored.fit(IMAGES, LABELS, verbose=0)


def test_class_weights_are_those_of_keras() -> None:
    data = tf.data.Dataset.from_tensor_slices(images_and_labels(4)).batch(4)
    (_, labels, weights), *_ = replicas._with_class_weights(data, {0: 2.0, 2: 0.5}, 3)
    assert labels.numpy().tolist() == [0, 1, 2, 0]
    assert weights.numpy().tolist() == [2.0, 1.0, 0.5, 2.0]


# === Real replicas ===


def start(kind, folder, runs, **variables):
    command = [sys.executable, str(HERE / "replica_runs.py"), kind, str(folder), *runs]
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", **variables}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(processes):
    try:
        printed = [process.communicate(timeout=800)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, printed, strict=True):
        assert process.returncode == 0, text[-3000:]


def found_in(folder, run, worker=0):
    return json.loads((folder / f"{run}_{worker}.json").read_text())


def assert_equal_to_one_device(found, run, folder):
    expected = RUNS[run](None, folder)
    assert found["queries"] == expected["queries"]
    assert found["steps"] == expected["steps"]
    for key, series in expected["history"].items():
        np.testing.assert_allclose(found["history"][key], series, rtol=1e-5, err_msg=key)
    for own, other in zip(found["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(own, other, atol=TOLERANCE)
    for key in {"evaluated", "predicted"} & set(expected):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5)
    return expected


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_devices_train_as_one(tmp_path) -> None:
    runs = ("white_box", "estimated", "weighted", "resumed")
    finish([start("mirrored", tmp_path, runs)])
    (tmp_path / "alone").mkdir()
    for run in runs:
        assert_equal_to_one_device(found_in(tmp_path, run), run, tmp_path / "alone")
    uninterrupted = found_in(tmp_path, "white_box")["weights"]
    assert found_in(tmp_path, "resumed")["weights"] == uninterrupted
    assert not (tmp_path / "backup").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_train_as_one(tmp_path) -> None:
    runs = ("white_box", "estimated", "resumed", "strays")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for number in (0, 1):
        task = {"type": "worker", "index": number}
        cluster = json.dumps({"cluster": {"worker": addresses}, "task": task})
        workers.append(start("workers", tmp_path, runs, TF_CONFIG=cluster))
    finish(workers)
    (tmp_path / "alone").mkdir()
    for run in ("white_box", "estimated", "resumed"):
        one, other = (found_in(tmp_path, run, worker) for worker in (0, 1))
        # Programs bit for bit, histories, counts, predictions.
        assert one == other
        assert_equal_to_one_device(one, run, tmp_path / "alone")
    assert found_in(tmp_path, "white_box")["history"]["queries_used"][0] == len(LABELS) + 9
    # A clean query and two directions for each training image; validation images only once.
    assert found_in(tmp_path, "estimated")["history"]["queries_used"][0] == 3 * len(LABELS) + 9
    uninterrupted = found_in(tmp_path, "white_box")["weights"]
    assert found_in(tmp_path, "resumed")["weights"] == uninterrupted
    written = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json")
    assert written == ["alone", "last.reprogram", "last.weights.h5"]
    for worker in (0, 1):
        strays = found_in(tmp_path, "strays", worker)
        assert "the same training data (the first batch)" in strays["messages"][0]
        assert "the same weights and step number" in strays["messages"][1]
        assert "runs in one process" in strays["messages"][2]
        assert strays["queries"] == 0
