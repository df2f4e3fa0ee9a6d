"""Keys of services: read from the environment when a request leaves, and kept nowhere."""

from __future__ import annotations

import os

from keras_reprogram.source.remote.failures import SourceRefusedError


def key_from(variable: str, service: str) -> str:
    """The key in an environment variable.

    Args:
        variable: its name.
        service: who wants it, for the error.

    Raises:
        SourceRefusedError: if the variable is not set.
    """
    if key := os.environ.get(variable, "").strip():
        if not (key.isascii() and key.isprintable()):
            raise SourceRefusedError(
                f"The key in {variable} must be printable ASCII. Received: other characters. "
                "Copy it again."
            )
        return key
    raise SourceRefusedError(
        f"The key of {service} must be in the environment. Received: no {variable}. "
        f"Set it: export {variable}=..."
    )


def hide_key(text: str, variable: str | None) -> str:
    """A text of a service, which may repeat the key that it refuses.

    Args:
        text: what it said.
        variable: the environment variable that holds the key, or `None`.
    """
    key = os.environ.get(variable or "", "").strip()
    return text.replace(key, "***") if key else text
