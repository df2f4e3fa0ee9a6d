"""Which extra of this package a missing package belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(package: str, extra: str) -> Iterator[None]:
    """Says which extra an import that fails belongs to.

    Args:
        package: what is imported, as pip calls it.
        extra: of this package.

    Raises:
        ImportError: with the command that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"Remote sources need the package `{package}`: pip install 'keras-reprogram[{extra}]'."
        ) from error


@contextmanager
def needs_server_package(package: str) -> Iterator[None]:
    """Says how to install what an import does not find.

    Args:
        package: what is imported, as pip calls it.

    Raises:
        ImportError: with the command that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"Serving needs the package `{package}`: pip install 'keras-reprogram[server]'."
        ) from error
