"""Any image classification data set of TensorFlow Datasets as a target."""

import contextlib
import importlib
import importlib.util
import os
import queue
import sys
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from keras_reprogram.datasets.original_files import OriginalFileError
from keras_reprogram.datasets.target_data import Draw, TargetData
from keras_reprogram.datasets.tfds_reading import read_target

INSTALL = 'pip install "keras-reprogram[datasets]"'
VARIABLE = "TFDS_DATA_DIR"
HOME_FOLDER = "~/tensorflow_datasets"
# To reach the server that has the files.
_SECONDS = 5
BUILDERS = "keras_reprogram.datasets.builders"


class UnknownTfdsNameError(ValueError):
    """Raised where TensorFlow Datasets lacks the data set, configuration or version.

    Example:
        ```python
        from keras_reprogram.datasets.tfds_target import UnknownTfdsNameError

        print(issubclass(UnknownTfdsNameError, ValueError))  # True
        ```
    """


def load_tfds(
    name: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    train_split: str = "train",
    draw: Draw | None = None,
) -> TargetData:
    """Loads a data set of images and class labels through tensorflow-datasets.

    The files are those in `TFDS_DATA_DIR` (or `~/tensorflow_datasets`), downloaded and prepared at
    the first use. The test part is the split `test`, else `validation`; without either, `train` is
    split 80/20. Names of this package's own builders (`keras_reprogram.datasets.builders`) are
    known too; their groups (lesions, tracks, sites) become `train_groups`.

    Args:
        name: A name in TensorFlow Datasets, for example `"beans"` or `"imagenet_resized/32x32"`.
        image_size: Side or `(height, width)` for images that come in several sizes; without it they
            get the median size, at most 224.
        seed: Decides the split where there is no test part.
        train_split: The splits to train on, for example `"train+validation"`.
        draw: How many images are wanted: they are drawn by their labels, and no others are
            decoded or kept in memory. What is drawn is what `TargetData.draw` draws of the whole.

    Returns:
        A `TargetData` with uint8 images (float32 for `abide_cc200`).

    Raises:
        ImportError: If tensorflow-datasets (or a package that it needs) is not installed.
        ValueError: If there is no such data set, if it does not consist of images and class labels,
            or if files that a person has to fetch are missing or corrupt.
        ConnectionError: If it is not prepared yet and cannot be downloaded.

    Example:
        ```python
        from keras_reprogram.datasets import load_tfds

        try:
            load_tfds("no_such_data_set")  # load_tfds("beans") would download 170 MB once
        except (ImportError, ValueError) as error:
            print(type(error).__name__)
        ```
    """
    builder = _prepared(name)
    return read_target(
        name, builder, image_size=image_size, seed=seed, train_split=train_split, draw=draw
    )


def load_prepared_tfds(name: str, **options: Any) -> TargetData | None:
    """Loads a data set that TensorFlow Datasets prepared before; downloads nothing.

    Args:
        name: A name in TensorFlow Datasets, with the configuration if it has one, for example
            `"mnist"` or `"ham10000/64x64"`.
        **options: `image_size`, `seed`, `train_split` and `draw`, as `load_tfds` takes them.

    Returns:
        A `TargetData` of the newest version in `TFDS_DATA_DIR` (or `~/tensorflow_datasets`), or
        `None` where there is none or where tensorflow-datasets is not installed.

    Raises:
        ValueError: As `load_tfds`.

    Example:
        ```python
        from keras_reprogram.datasets.tfds_target import load_prepared_tfds

        print(load_prepared_tfds("no_such_data_set"))  # None
        ```
    """
    root = Path(os.environ.get(VARIABLE) or HOME_FOLDER).expanduser()
    found = [path.parent for path in (root / name).glob("*/dataset_info.json")]
    if not found or importlib.util.find_spec("tensorflow_datasets") is None:
        return None
    builder = _import_tfds().builder_from_directory(max(found, key=_version))
    return read_target(name, builder, **options)


def load_known_tfds(name: str, *, copy: str = "", **options: Any) -> TargetData:
    """Loads one of this package's data sets: prepared before, or prepared now.

    Args:
        name: Name of a builder, with its configuration if it has several.
        copy: What else would do, for the error: the file that the caller looked for in vain.
        **options: `image_size`, `seed`, `train_split` and `draw`, as `load_tfds` takes them.

    Returns:
        A `TargetData`.

    Raises:
        ValueError: If it is not prepared and cannot be: no tensorflow-datasets, no network, or
            files that a person has to fetch are missing or corrupt.

    Example:
        ```python
        from keras_reprogram.datasets.tfds_target import load_known_tfds

        try:
            load_known_tfds("no_such_data_set")
        except ValueError as error:
            print("no_such_data_set" in str(error))  # True
        ```
    """
    prepared = load_prepared_tfds(name, **options)
    if prepared is not None:
        return prepared
    try:
        return load_tfds(name, **options)
    except (ImportError, ValueError, ConnectionError) as error:
        what = f"{copy}, or the" if copy else "the"
        raise ValueError(
            f"Expected {what} TFDS data set {name!r} in the folder that {VARIABLE} names. "
            f"Received: no such files, and it could not be prepared. {error}"
        ) from error


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in folder.name.split(".") if number.isdigit())


def _import_tfds() -> Any:
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            f"Expected the package tensorflow-datasets. Received: {error}. Run: {INSTALL}"
        ) from error
    importlib.import_module(BUILDERS)
    return tfds


def _builder(name: str) -> Any:
    tfds = _import_tfds()
    # TFDS reads the variable once, when it is imported.
    folder = os.environ.get(VARIABLE)
    place = {"data_dir": folder} if folder else {}
    try:
        return tfds.builder(name, **place)
    except ImportError as error:
        raise _missing_package(name, error) from error
    except (ValueError, AssertionError) as error:  # TFDS asserts that it knows the version.
        # The first line says what is wrong; the rest may list every data set there is.
        reason = str(error).strip().splitlines()[0]
        raise UnknownTfdsNameError(
            f"Expected the name of a data set in TensorFlow Datasets. Received: {name!r}. {reason}"
        ) from error


def _prepared(name: str) -> Any:
    builder = _builder(name)
    try:
        _check_network(builder)
        # TFDS prints its progress to stdout, which belongs to the data of the command line.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except OriginalFileError:
        raise
    except ImportError as error:
        if "pip install" in str(error):
            raise
        raise _missing_package(name, error) from error
    except (
        Exception
    ) as error:  # TFDS passes on whatever its download or the data set's own code raises.
        raise ConnectionError(
            f"Expected to find or download the TFDS data set {name!r}. Received: {error}. Without "
            f"a network, prepare it elsewhere and set {VARIABLE} to its folder (looked for in "
            f"{builder.data_dir})."
        ) from error
    return builder


def _check_network(builder: Any) -> None:
    """Finds out in seconds that files cannot be downloaded: TFDS tries each for minutes."""
    # Under `tfds.testing.mock_data` nothing is downloaded.
    is_mock = type(builder).download_and_prepare.__module__.startswith("tensorflow_datasets.test")
    urls = [url for url in _addresses(builder) if url.startswith("http")]
    downloads = Path(builder.data_dir).parents[1] / "downloads"
    if is_mock or not urls or builder.is_prepared() or any(downloads.rglob("*.INFO")):
        return
    found: queue.Queue[Exception | None] = queue.Queue()
    # A thread: to look up a name may take minutes, and knows no limit of time.
    threading.Thread(target=_reach, args=(urls[0], found), daemon=True).start()
    try:
        problem = found.get(timeout=_SECONDS + 3)
    except queue.Empty:
        problem = TimeoutError(f"no answer in {_SECONDS + 3} seconds")
    if problem is not None:
        host = urllib.parse.urlsplit(urls[0]).netloc
        raise ConnectionError(f"{host} cannot be reached: {problem}")


def _addresses(builder: Any) -> list[str]:
    """Where a builder's files are."""
    module = type(builder).__module__
    if module.startswith(BUILDERS):
        # Ours share one list of checksums; most have files that a person fetches.
        address = getattr(sys.modules[module], "ADDRESS", None)
        return [] if address is None else [address]
    return list(builder.url_infos or ())


def _reach(url: str, found: queue.Queue[Exception | None]) -> None:
    """Asks for the head of a file; whatever a server says of it, it is there."""
    requests = importlib.import_module("requests")
    try:
        requests.head(url, timeout=_SECONDS)
        found.put(None)
    except requests.RequestException as error:
        found.put(error)


def _missing_package(name: str, error: ImportError) -> ImportError:
    return ImportError(
        f"Expected the packages that the TFDS data set {name!r} needs. Received: {error}. "
        f"Run: {INSTALL}, or install that package."
    )
