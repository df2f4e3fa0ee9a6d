"""float32_policy: layers that compute in float32, whatever policy the user chose for theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def float32_policy() -> Iterator[None]:
    """Builds layers in float32 inside, and restores Keras's global dtype policy afterwards."""
    chosen = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(chosen)
