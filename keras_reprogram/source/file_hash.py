"""sha256 of a file or of a folder: the identity of sources that live on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hash of a file, or of all files of a folder with their names.

    Args:
        path: an existing file or folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no source model at {path}. Check the path.")
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            # The bytes' own hash has a fixed length, so that none of them pass for a name.
            digest.update(hashlib.sha256(file.read_bytes()).digest())
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
    return digest.hexdigest()


def check_sha256(path: Path, expected: str | None) -> str:
    """The hash of `path`, which must be `expected` where that is given.

    Args:
        path: an existing file or folder.
        expected: 64 hexadecimal digits, or `None`.

    Returns:
        The hash.

    Raises:
        ValueError: if the file is another than the one expected.
    """
    found = sha256_of(path)
    if expected is not None and found != expected:
        raise ValueError(
            f"The source at {path} is not the one expected. Expected sha256 {expected}. "
            f"Received: sha256 {found}. Put the right file there, or leave `sha256` out to "
            "accept this one."
        )
    return found
