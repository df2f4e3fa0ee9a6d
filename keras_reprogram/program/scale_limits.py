"""ScaleLimits: keeps a trained scale where the image can still be seen."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reprogram.program.argument_checks import positive_number

# AutoVP clamps its scale to these after each step (Tsao et al. 2024).
SMALLEST_SCALE, LARGEST_SCALE = 0.1, 5.0


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ScaleLimits(keras.constraints.Constraint):
    """Keeps `initial_scale + change` in [0.1, 5].

    Args:
        initial_scale: in [0.1, 5].

    Raises:
        ValueError: for another scale.
    """

    def __init__(self, initial_scale: float) -> None:
        self.initial_scale = positive_number("initial_scale", initial_scale)
        if not SMALLEST_SCALE <= self.initial_scale <= LARGEST_SCALE:
            raise ValueError(
                f"`initial_scale` must lie in [{SMALLEST_SCALE}, {LARGEST_SCALE}]. "
                f"Received: initial_scale={initial_scale}. Pass another `image_size` to go further."
            )

    @property
    def lowest(self) -> float:
        """The change that leads to the smallest scale."""
        return SMALLEST_SCALE - self.initial_scale

    def __call__(self, w: Any) -> Any:
        return ops.clip(w, self.lowest, LARGEST_SCALE - self.initial_scale)

    def get_config(self) -> dict[str, Any]:
        return {"initial_scale": self.initial_scale}
