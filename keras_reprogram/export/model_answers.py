"""ModelAnswers: what the model answers, which every form of its export is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PARITY = 1e-5
# Deep networks round more; anything above is a broken export all the same.
_LARGEST_PARITY = 1e-3


class ModelAnswers:
    """The model's own answers to some rows, and how far they are a matter of rounding.

    Outputs may differ by 1e-5, or by four times what the model's own differ by between a batch
    and its rows one by one. Outputs that reach beyond 1 are compared as shares of the largest.

    Args:
        answer: what a part of the model makes of rows, by the outputs' names.
        rows: float32 `(n, ...)`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.export.model_answers import ModelAnswers

    answers = ModelAnswers(lambda rows: {"scores": rows / 2}, np.ones((3, 2), "float32"))
    assert answers.compare("file", "scores", np.full((3, 2), 0.5)) == 0
    ```
    """

    def __init__(self, answer: Callable[[np.ndarray], Mapping[str, Any]], rows: np.ndarray) -> None:
        with tf.device("CPU"):
            self.expected = _arrays(answer(rows))
            alone = [_arrays(answer(row[None])) for row in rows]
        self._singly = {
            name: np.concatenate([one[name] for one in alone]) for name in self.expected
        }

    def compare(self, what: str, name: str, values: np.ndarray) -> float:
        """Compares an output.

        Args:
            what: is compared, for the message.
            name: of the output.
            values: `(n, ...)`, what it is there.

        Returns:
            The largest difference.

        Raises:
            ValueError: if it is more than rounding.
        """
        difference = self._difference(name, values)
        noise = self._difference(name, self._singly[name])
        allowed = min(max(_PARITY, 4.0 * noise), _LARGEST_PARITY)
        if not difference <= allowed:
            raise ValueError(
                f"The {what} does not agree with the model: {name} differ by {difference:.3g}, at "
                f"most {allowed:.3g} is allowed. Nothing was kept. Check custom layers for "
                "operations that behave differently in a graph."
            )
        return difference

    def _difference(self, name: str, values: np.ndarray) -> float:
        expected = self.expected[name]
        return float(np.abs(values - expected).max() / max(1.0, np.abs(expected).max()))


def _arrays(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
