"""What a `tf.distribute` strategy means for asking: replicas, workers, the chief, sums."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_SUPPORTED = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)


def has_several_replicas(strategy: tf.distribute.Strategy) -> bool:
    """Whether a batch is divided among several devices."""
    return strategy.num_replicas_in_sync > 1


def described(strategy: tf.distribute.Strategy) -> str:
    """A strategy for messages: its public name and the number of its replicas."""
    name = type(strategy).__name__
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        name = "MultiWorkerMirroredStrategy"
    return f"a {name} of {strategy.num_replicas_in_sync} replicas"


def has_several_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether some of the replicas are in other processes."""
    if not has_several_replicas(strategy):
        # The default strategy cannot name its devices.
        return False
    return len(strategy.extended.worker_devices) < strategy.num_replicas_in_sync


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files of all workers."""
    if not has_several_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def in_replica() -> bool:
    """Whether this runs in one of several replicas, inside of a step."""
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def sum_over_replicas(value: Any) -> Any:
    """The sum of the replicas' values inside of a step of several, else the value."""
    if not in_replica():
        return value
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.convert_to_tensor(value))


def count_variable() -> tf.Variable:
    """A counter to which every replica adds the same number, once."""
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(0, dtype=tf.int64, trainable=False, aggregation=first)


def check_strategy(own: tf.distribute.Strategy, own_scope: bool) -> None:
    """Refuses strategies of several replicas that a model cannot be asked under.

    Args:
        own: the strategy in whose scope the model was made.
        own_scope: whether it was made in the scope of one.

    Raises:
        ValueError: for a kind of strategy that is not supported, and for a model that was made
            outside of the scope it is used in.
    """
    current = tf.distribute.get_strategy()
    for strategy in (own, current):
        if has_several_replicas(strategy) and not isinstance(strategy, _SUPPORTED):
            raise ValueError(
                "A ReprogrammedModel runs on several devices under a `MirroredStrategy` or a "
                f"`MultiWorkerMirroredStrategy`. Received: {described(strategy)}. Take one of the "
                "two, or build and use the model outside of `strategy.scope()`."
            )
    if has_several_replicas(current) and not (own_scope and own is current):
        raise ValueError(
            "A model is trained on several devices under the strategy in whose scope it was made. "
            f"Received: {described(current)}, and a model that was made outside of it. Build and "
            "compile the model in `with strategy.scope():`."
        )


def check_not_shared(strategy: tf.distribute.Strategy, what: str) -> None:
    """Refuses work that each of several processes would do, and pay, for itself.

    Raises:
        ValueError: under a strategy of several workers.
    """
    if has_several_workers(strategy):
        raise ValueError(
            f"{what} runs in one process: each of several workers would ask the source for all "
            f"images. Received: {described(strategy)} in several processes. Do it in a process "
            "without the strategy, save the result with `save_program(model, path)`, and open it "
            "on each worker by `load_program(path, source)` in `strategy.scope()`."
        )


def check_one_replica(strategy: tf.distribute.Strategy, what: str, instead: str) -> None:
    """Refuses what works on one device only.

    Raises:
        ValueError: under a strategy of several replicas.
    """
    if has_several_replicas(strategy):
        raise ValueError(
            f"{what} works on one device only. Received: {described(strategy)}. {instead}"
        )
