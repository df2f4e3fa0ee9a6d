"""Payloads: encodes images for requests, and turns named scores into rows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from keras_reprogram.arguments import eight_bit_codes, pixels_of_codes, takes_old_names


def decoded(payloads: Sequence[bytes]) -> np.ndarray:
    """The 8-bit values of encoded images of one size, `(n, H, W, C)`."""
    images = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in payloads])
    return images[..., None] if images.ndim == 3 else images


def pixel_levels(value_range: tuple[float, float]) -> np.ndarray:
    """Pixel values of the 256 codes, float32."""
    return pixels_of_codes(np.arange(256, dtype=np.float32), value_range)


def decimal_levels(value_range: tuple[float, float]) -> np.ndarray:
    """`pixel_levels` for JSON: the shortest decimals of a float32, as float64.

    They take half the bytes, and a server that reads float32 reads the same numbers.
    """
    return np.array([float(str(level)) for level in pixel_levels(value_range)])


ENCODINGS = ("png", "jpeg")
_JPEG_QUALITY = 95


def encode_image(image: np.ndarray, value_range: tuple[float, float], encoding: str) -> bytes:
    """Encodes an image `(H, W, C)` as a file; values outside the range are clipped."""
    if not np.isfinite(image).all():
        raise ValueError(
            "An image must be finite to be sent. Received: NaN or infinity. Check the program's "
            "weights, and the learning rate."
        )
    codes = eight_bit_codes(image, value_range)
    picture = Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes)
    stream = io.BytesIO()
    # No subsampling: a program's colours are its signal.
    quality = {"quality": _JPEG_QUALITY, "subsampling": 0} if encoding == "jpeg" else {}
    picture.save(stream, encoding, **quality)
    return stream.getvalue()


MISSING_WORDS = ("floor", "spread")


@takes_old_names(labels="class_names")
def named_scores(
    pairs: Iterable[tuple[str, float]],
    class_names: Sequence[str],
    *,
    missing: float | str = 0.0,
    ignore_undeclared: bool = False,
) -> list[float]:
    """One row of scores from names and scores, as services list them: partial, in any order.

    A label that is not listed is below the service's threshold or beyond its top k; it is not 0.

    Args:
        pairs: `(name, score)`; of a name that is listed twice, the higher score.
        class_names: the declared names.
        missing: the score of a declared label that is not listed: a number; `"floor"`, the lowest
            score listed; or `"spread"`, an equal part of what the listed ones leave of 1.
        ignore_undeclared: leave names out that are not declared, for services that choose from
            thousands of names. Otherwise such a name is an error: the model was replaced.

    Returns:
        Scores in the order of `class_names`.

    Raises:
        ValueError: for a name that is not declared, or another word.

    Example:
    ```python
    from keras_reprogram.source.remote import named_scores

    assert named_scores([("dog", 0.9)], ["cat", "dog"]) == [0.0, 0.9]
    ```
    """
    found: dict[str, float] = {}
    for name, score in pairs:
        found[name] = max(float(score), found.get(name, float("-inf")))
    if undeclared := sorted(set(found) - set(class_names)):
        if not ignore_undeclared:
            raise ValueError(
                f"Expected the labels {', '.join(class_names[:8])}. Received: "
                f"{', '.join(undeclared[:8])}. Declare the labels of the model that answers."
            )
        found = {name: score for name, score in found.items() if name not in undeclared}
    rest = _missing_score(found, len(class_names), missing)
    return [found.get(label, rest) for label in class_names]


def check_missing(missing: float | str, *, unit_range: bool = False) -> float | str:
    """Returns `missing` if it is a word or a number; in [0, 1] if scores are independent."""
    if isinstance(missing, str) and missing not in MISSING_WORDS:
        raise ValueError(
            f"`missing` must be a number or one of {MISSING_WORDS}. Received: {missing!r}."
        )
    if unit_range and not isinstance(missing, str) and not 0 <= missing <= 1:
        raise ValueError(
            "`missing` must be from 0 to 1, as independent scores are. Received: "
            f'{missing!r}. Pass 0 for "not listed", or "floor".'
        )
    return missing


def _missing_score(found: dict[str, float], num_labels: int, missing: float | str) -> float:
    check_missing(missing)
    if missing == "floor":
        return min(found.values(), default=0.0)
    if missing == "spread":
        left = num_labels - len(found)
        return max(0.0, 1.0 - sum(found.values())) / left if left else 0.0
    return float(missing)
