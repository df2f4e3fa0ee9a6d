"""Which extra of this package a missing package belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(package: str, extra: str) -> Iterator[None]:
    """Says which extra an import that fails belongs to."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"Remote sources need the package `{package}`: pip install 'keras-reprogram[{extra}]'."
        ) from error


@contextmanager
def needs_server_package(package: str) -> Iterator[None]:
    """Says how to install what an import does not find."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"Serving needs the package `{package}`: pip install 'keras-reprogram[server]'."
        ) from error
