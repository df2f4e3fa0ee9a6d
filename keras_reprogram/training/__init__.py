"""The old place of `keras_reprogram.estimators` and `keras_reprogram.fitting`, for one version."""

from __future__ import annotations

import warnings
from typing import Any

from keras_reprogram import estimators, fitting

__all__ = sorted({*estimators.__all__, *fitting.__all__})


def __getattr__(name: str) -> Any:
    for place in (estimators, fitting):
        if name in place.__all__:
            warnings.warn(
                f"`keras_reprogram.training` will be removed in the next version. Import `{name}` "
                f"from `{place.__name__}`.",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(place, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
