"""Reads gzipped IDX files, the format in which MNIST is published."""

import gzip
import zlib
from pathlib import Path

import numpy as np


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Reads a gzipped IDX file of unsigned bytes.

    Args:
        path: The file, for example `t10k-images-idx3-ubyte.gz`.
        rank: Number of axes expected: 3 for images, 1 for labels.

    Returns:
        uint8 array with `rank` axes.

    Raises:
        ValueError: If the file is truncated, not gzip, not IDX, or has another rank.

    Example:
        ```python
        import gzip, pathlib, tempfile
        from keras_reprogram.datasets.idx_file import read_idx

        path = pathlib.Path(tempfile.mkdtemp()) / "labels.gz"
        path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])))
        print(read_idx(path, rank=1))  # [7 9]
        ```
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"Expected {path} to be a complete gzip file. Received: {error}. Fetch it again."
        ) from error
    magic, header_size = bytes([0, 0, 8, rank]), 4 + 4 * rank
    if content[:4] != magic or len(content) < header_size:
        raise ValueError(
            f"Expected {path} to be an IDX file of unsigned bytes with {rank} axes (first bytes "
            f"{magic!r}). "
            f"Received: {content[:4]!r}. Check that images and labels are not swapped."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=rank, offset=4))
    values = np.frombuffer(content, np.uint8, offset=header_size)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(
            f"Expected {path} to hold {shape} values, as its header says. "
            f"Received: {values.size} bytes. Fetch it again."
        )
    return values.reshape(shape).copy()
