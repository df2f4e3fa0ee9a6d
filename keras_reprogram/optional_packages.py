"""Errors for missing optional packages, with the extra that installs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def install_command(extra: str) -> str:
    """The shell command that installs an extra of this package."""
    return f"pip install 'keras-reprogram[{extra}]'"


@contextmanager
def needs_extra(package: str, extra: str) -> Iterator[None]:
    """Turns an import that fails into the command that installs the package."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"This needs the package `{package}`: {install_command(extra)}. Received: {error}."
        ) from error
