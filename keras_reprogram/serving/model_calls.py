"""ModelCalls: what both interfaces ask of a model, checked before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_reprogram.serving.classification import (
    check_classifier,
    check_regressor,
    classes_of,
    values_of,
)
from keras_reprogram.serving.image_headers import check_pixels
from keras_reprogram.serving.request_checks import check_inputs, check_outputs, rows_of
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.server_limits import ServerLimits
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.tensor_protos import array_of_texts

if TYPE_CHECKING:
    from keras_reprogram.serving.server_metrics import Call


class ModelCalls:
    """Calls of signatures within limits.

    Args:
        limits: of rows and pixels.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits

    def predict(
        self,
        call: Call,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        wanted: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature.

        Args:
            call: is told what was asked.
            servable: who is asked.
            signature_name: as sent; must be one of the servable's.
            inputs: name -> array.
            wanted: outputs, or `()` for all.

        Raises:
            ServingError: for what does not go with the signature, and for too much.
        """
        signature = servable.signature(signature_name)
        check_inputs(signature, inputs)
        check_outputs(signature, wanted)
        rows = rows_of(signature, inputs)
        if rows > self.limits.rows:
            raise ServingError(
                f"A request must have at most {self.limits.rows} rows. Received: {rows}."
            )
        check_pixels(inputs.values(), self.limits.pixels)
        call.images = rows
        outputs = servable.run(signature_key(signature_name), inputs)
        return {name: outputs[name] for name in wanted or sorted(outputs)}

    def classify(
        self, call: Call, servable: Servable, signature_name: str, examples: Sequence[bytes]
    ) -> list[list[tuple[bytes, float]]]:
        """`(label, score)` of each class of each example.

        Args:
            call: is told what was asked.
            servable: who is asked.
            signature_name: as sent.
            examples: serialized `tf.Example`s.

        Raises:
            ServingError: in TF Serving's words where it has any.
        """
        check_classifier(_signature(servable, signature_name))
        outputs = self.predict(call, servable, signature_name, _column(examples))
        return classes_of(outputs, len(examples))

    def regress(
        self, call: Call, servable: Servable, signature_name: str, examples: Sequence[bytes]
    ) -> np.ndarray:
        """A number for each example.

        Args:
            call: is told what was asked.
            servable: who is asked.
            signature_name: as sent.
            examples: serialized `tf.Example`s.

        Raises:
            ServingError: in TF Serving's words where it has any.
        """
        check_regressor(_signature(servable, signature_name))
        outputs = self.predict(call, servable, signature_name, _column(examples))
        return values_of(outputs, len(examples))


def _signature(servable: Servable, name: str) -> object:
    signature = servable.signature(name)
    if signature is None:
        raise ServingError(f"No signature was found with the name: {signature_key(name)}")
    return signature


def _column(examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    if not examples:
        raise ServingError("Input is empty.")
    return {"inputs": array_of_texts(examples)}
