"""Where exact fits run: with NumPy, or on a device of TensorFlow's."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from keras_reprogram.fitting.products import NUMPY, Products
from keras_reprogram.threads import allowed_threads

# Users name the device of all exact fits of a process by this.
VARIABLE = "KERAS_REPROGRAM_FIT_DEVICE"
AUTOMATIC, WITH_NUMPY = "auto", "numpy"
# So many multiplications by one thread take milliseconds, ten times as long as a call of a device
# was reckoned to take, for a dozen operations and two copies. It was not timed on a GPU.
_WORTH_A_DEVICE = 20_000_000

_log = logging.getLogger("keras_reprogram")
_Found = TypeVar("_Found")


class FitDevice:
    """Runs parts of exact fits, on a device until its memory is full.

    Args:
        name: `"numpy"`; one of TensorFlow's devices, such as `"GPU:0"`; `"auto"`: the first GPU
            that TensorFlow lists, for large fits, where Keras runs on TensorFlow; or `None` for
            what `KERAS_REPROGRAM_FIT_DEVICE` says, `"auto"` without it.
        multiplications: of one product of the features and the weights.

    Raises:
        ValueError: for a device that there is not.
    """

    def __init__(self, name: str | None, multiplications: int) -> None:
        self._products = _products(_device(name, multiplications))

    def run(self, work: Callable[[Products], _Found]) -> _Found:
        """What some work on products returns, done again with NumPy where memory runs out."""
        if self._products is NUMPY:
            return work(NUMPY)
        from keras_reprogram.fitting.device_products import full_float32, is_out_of_memory

        try:
            # With factors of ten bits the gradient ends above the tolerance, and float64 has to
            # finish what float32 could.
            with full_float32():
                return work(self._products)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.warning(
                "An exact fit does not fit into the memory of its device and runs with NumPy "
                "instead. Received: %s",
                str(error).partition("\n")[0],
            )
        # Out of the `except`, which would keep what the device holds.
        self._products = NUMPY
        return work(NUMPY)


def check_fit_device() -> None:
    """Refuses an environment that names a device which is not there, before a query is spent."""
    _device(None, 0)


def _products(device: str | None) -> Products:
    if device is None:
        return NUMPY
    from keras_reprogram.fitting.device_products import DeviceProducts

    return DeviceProducts(device)


def _device(name: str | None, multiplications: int) -> str | None:
    """A device of TensorFlow's, or `None` for NumPy."""
    chosen = name or os.environ.get(VARIABLE) or AUTOMATIC
    if chosen == AUTOMATIC:
        large = multiplications >= _WORTH_A_DEVICE * allowed_threads()
        return _first_gpu() if large else None
    if chosen == WITH_NUMPY:
        return None
    from keras_reprogram.fitting.device_products import device_names, is_there

    known = [device for device in device_names() if is_there(device)]
    if chosen.upper() not in known:
        raise ValueError(
            f"The device of exact fits must be {AUTOMATIC}, {WITH_NUMPY} or one of TensorFlow's: "
            f"{', '.join(known)}. Received: {chosen}. It is the argument `device`, or else the "
            f"environment variable {VARIABLE}."
        )
    return chosen.upper()


def _first_gpu() -> str | None:
    # Where Keras runs on something else, or not at all, TensorFlow would be loaded, and take
    # hold of the GPU's memory, for this fit alone.
    keras = sys.modules.get("keras")
    if keras is None or keras.backend.backend() != "tensorflow":
        return None
    from keras_reprogram.fitting.device_products import device_names, is_there

    return next(filter(is_there, device_names("GPU")), None)
