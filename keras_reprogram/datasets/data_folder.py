"""Where data files are looked for: the folder named by `KERAS_REPROGRAM_DATA`."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

VARIABLE = "KERAS_REPROGRAM_DATA"

Loaded = TypeVar("Loaded")


def data_file(file_name: str) -> Path | None:
    """Finds a file in the folder that the environment variable `KERAS_REPROGRAM_DATA` names.

    Args:
        file_name: Name of the file, for example `"cifar10_jpg.zip"`.

    Returns:
        Its path, or `None` if the variable is not set or the file is not there.

    Raises:
        ValueError: If the variable names something that is not a folder.

    Example:
        ```python
        from keras_reprogram.datasets.data_folder import data_file

        print(data_file("no_such_file.zip"))  # None
        ```
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(
            f"Expected the environment variable {VARIABLE} to name a folder. Received: {folder!r}. "
            "Correct it or unset it."
        )
    return path / file_name if (path / file_name).exists() else None


def download(name: str, load: Callable[[], Loaded], expected_file: str | None) -> Loaded:
    """Calls a loader that may download, and says what to do where that fails.

    Args:
        name: Name of the data set, for the message.
        load: A function without arguments, for example `keras.datasets.mnist.load_data`.
        expected_file: The file (or files) in the data folder that would make the download
            unnecessary, or `None`: then only a prepared TFDS set would.

    Returns:
        What `load` returns.

    Raises:
        ConnectionError: If `load` raises anything.

    Example:
        ```python
        from keras_reprogram.datasets.data_folder import download

        print(download("toy", lambda: 42, "toy.npz"))  # 42
        ```
    """
    try:
        # Keras prints its progress to stdout, which belongs to the data of the command line.
        with contextlib.redirect_stdout(sys.stderr):
            return load()
    except Exception as error:  # Keras raises a bare `Exception` where a download fails.
        file = f"set {VARIABLE} to a folder that holds {expected_file}, or "
        raise ConnectionError(
            f"Expected to find or download the data set {name!r}. Received: {error}. Without a "
            f"network, {file if expected_file else ''}set TFDS_DATA_DIR to a folder in which "
            f"TensorFlow Datasets prepared {name!r}."
        ) from error
