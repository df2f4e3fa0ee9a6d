"""Products of an exact fit on a device of TensorFlow's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.fitting.row_losses import RowLosses

# What TensorFlow says where rows do not fit into a GPU while they are copied there.
_NO_ROOM_FOR_A_COPY = "Dst tensor is not initialized"
_one_at_a_time = threading.RLock()


class DeviceProducts:
    """See `Products`: rows are held on the device, weights go there and gradients come back.

    Args:
        device: its short name, as of `device_names`.
    """

    def __init__(self, device: str) -> None:
        self.device = device

    def hold(self, rows: np.ndarray) -> tf.Tensor:
        with tf.device(self.device):
            return tf.constant(rows)

    def gram(self, rows: Any) -> np.ndarray:
        with tf.device(self.device):
            rows = tf.convert_to_tensor(rows)
            return tf.matmul(rows, rows, transpose_a=True).numpy()

    def times(self, rows: Any, columns: np.ndarray) -> np.ndarray:
        with tf.device(self.device):
            return tf.matmul(rows, columns).numpy()

    def softmax_losses(
        self, rows: Any, targets: np.ndarray, share: np.ndarray, num_classes: int
    ) -> AbstractContextManager[RowLosses]:
        soft = targets if targets.ndim == 2 else np.eye(num_classes, dtype=np.float32)[targets]
        return self._losses(_softmax_errors, _softmax_doubt, rows, soft, share[:, None])

    def sigmoid_losses(
        self, rows: Any, labels: np.ndarray, share: np.ndarray
    ) -> AbstractContextManager[RowLosses]:
        return self._losses(_sigmoid_errors, _sigmoid_doubt, rows, labels, share)

    def _losses(
        self, errors: Callable, doubt: Callable, rows: Any, targets: np.ndarray, share: np.ndarray
    ) -> AbstractContextManager[RowLosses]:
        with tf.device(self.device):
            placed = (tf.convert_to_tensor(each) for each in (rows, targets, share))
            return nullcontext(_DeviceLosses(self.device, errors, doubt, *placed))


@dataclass(frozen=True, eq=False)
class _DeviceLosses:
    """See `RowLosses`; products are taken in the rows' precision, means in float64.

    Args:
        device: where.
        errors: logits and targets -> losses, in float64, and their slopes by the logits.
        curvature: logits and shares -> what `RowLosses.doubt` returns.
        rows: `(n, d)`.
        targets: `(n, K)`.
        share: float64, `(n, 1)` or `(n, K)`.
    """

    device: str
    errors: Callable[..., tuple[tf.Tensor, tf.Tensor]]
    curvature: Callable[..., tf.Tensor]
    rows: tf.Tensor
    targets: tf.Tensor
    share: tf.Tensor

    def in_precision(self, precision: Any) -> _DeviceLosses:
        with tf.device(self.device):
            return replace(self, rows=tf.cast(self.rows, precision))

    def mean(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        with tf.device(self.device):
            logits = self._logits(weights[:-1], weights[-1])
            losses, errors = self.errors(logits, tf.cast(self.targets, logits.dtype))
            errors *= tf.cast(self.share, logits.dtype)
            of_bias = tf.reduce_sum(errors, axis=0, keepdims=True)
            slope = tf.concat([tf.matmul(self.rows, errors, transpose_a=True), of_bias], 0)
            return float(tf.reduce_sum(self.share * losses)), slope.numpy().astype(np.float64)

    def doubt(self, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        with tf.device(self.device):
            return self.curvature(self._logits(kernel, bias), self.share).numpy()

    def _logits(self, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
        kernel, bias = (tf.cast(each, self.rows.dtype) for each in (kernel, bias))
        return tf.matmul(self.rows, kernel) + bias


def _softmax_errors(logits: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    norm = tf.cast(tf.reduce_logsumexp(logits, axis=1, keepdims=True), tf.float64)
    of_targets = tf.cast(targets, tf.float64) * tf.cast(logits, tf.float64)
    losses = norm - tf.reduce_sum(of_targets, axis=1, keepdims=True)
    return losses, tf.nn.softmax(logits) - targets


def _softmax_doubt(logits: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    p = tf.cast(tf.nn.softmax(logits), tf.float64)
    weighted = share * p
    often = tf.linalg.diag(tf.reduce_sum(weighted, axis=0))
    return often - tf.matmul(weighted, p, transpose_a=True)


def _sigmoid_errors(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    signs = 2 * labels - 1
    against = -signs * logits
    return tf.cast(tf.nn.softplus(against), tf.float64), -signs * tf.sigmoid(against)


def _sigmoid_doubt(logits: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    p = tf.cast(tf.sigmoid(logits), tf.float64)
    return tf.reduce_sum(share * p * (1 - p), axis=0)


def device_names(kind: str | None = None) -> list[str]:
    """TensorFlow's devices, such as `GPU:0`."""
    # Physical devices may be hidden from TensorFlow, or split.
    listed = tf.config.list_logical_devices(kind)
    return [device.name.rpartition("device:")[2] for device in listed]


def is_there(device: str) -> bool:
    """Whether TensorFlow computes there; it takes another device silently where one is missing."""
    try:
        with tf.device(device):
            return bool(tf.zeros(()).device.endswith(device))
    except (RuntimeError, ValueError, tf.errors.OpError):
        return False


@contextmanager
def full_float32() -> Iterator[None]:
    """Keeps TensorFlow from rounding the factors of float32 products to ten bits (TF32)."""
    # There is one switch for the whole process. Only one fit at a time may put it back.
    switch = tf.config.experimental
    with _one_at_a_time:
        enabled = switch.tensor_float_32_execution_enabled()
        switch.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            switch.enable_tensor_float_32_execution(enabled)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of TensorFlow's says that a device has no room."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    return isinstance(error, tf.errors.InternalError) and _NO_ROOM_FOR_A_COPY in str(error)
