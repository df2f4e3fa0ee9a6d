"""The traffic-sign classifier that ships with the package (see MODEL_CARD.md beside this file)."""

import importlib.resources
import json
from pathlib import Path

MODEL_FILES = ("traffic_signs.keras", "traffic_signs.tflite")


def _read_labels() -> tuple[str, ...]:
    facts = importlib.resources.files(__name__).joinpath("traffic_signs.json")
    return tuple(json.loads(facts.read_text(encoding="utf-8"))["labels"])


TRAFFIC_SIGN_LABELS: tuple[str, ...] = _read_labels()
"""The 43 class names in the order of the classifier's scores."""


def embedded_path(name: str) -> Path:
    """Finds a model file that ships with the package.

    Both files hold the same classifier: `(n, 32, 32, 3)` raw pixels in 0..255 to `(n, 43)`
    probabilities, named by `TRAFFIC_SIGN_LABELS`.

    Args:
        name: `"traffic_signs.keras"` (Keras model) or `"traffic_signs.tflite"` (LiteRT, float32).

    Returns:
        Path of the file in the installed package.

    Raises:
        ValueError: If no file of that name is shipped.

    Example:
        ```python
        import keras
        from keras_reprogram.source.embedded import embedded_path

        model = keras.saving.load_model(embedded_path("traffic_signs.keras"))
        ```
    """
    if name not in MODEL_FILES:
        raise ValueError(
            f"`name` must be the file name of a shipped model. Received: name={name!r}. "
            f"Use one of: {', '.join(MODEL_FILES)}."
        )
    return Path(str(importlib.resources.files(__name__).joinpath(name)))
