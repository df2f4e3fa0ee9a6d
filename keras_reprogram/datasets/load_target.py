"""load_target: resolves a name to a known data set, a folder, or a TensorFlow Dataset."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_reprogram.datasets.abide import load_abide
from keras_reprogram.datasets.aptos2019 import load_aptos2019
from keras_reprogram.datasets.cifar import load_cifar10, load_cifar100
from keras_reprogram.datasets.digits import load_digits
from keras_reprogram.datasets.gtsrb import load_gtsrb
from keras_reprogram.datasets.ham10000 import load_ham10000
from keras_reprogram.datasets.image_folder import load_image_folder
from keras_reprogram.datasets.mnist import load_fashion_mnist, load_mnist
from keras_reprogram.datasets.squares_counting import load_squares_counting
from keras_reprogram.datasets.target_data import Draw, TargetData
from keras_reprogram.datasets.tfds import UnknownTfdsNameError, find_builder, load_tfds
from keras_reprogram.optional_packages import install_command

KNOWN_TARGETS: dict[str, Callable[[], TargetData]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion_mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "gtsrb": load_gtsrb,
    "ham10000": load_ham10000,
    "abide": load_abide,
    "aptos2019": load_aptos2019,
    "squares_counting": load_squares_counting,
}
TFDS_PREFIX = "tfds:"


def load_target(
    name: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    target_range: tuple[float, float] | None = None,
    draw: Draw | None = None,
) -> TargetData:
    """Loads a target task by its name.

    Names are tried in this order: a known data set (`digits`, `mnist`, `fashion_mnist`, `cifar10`,
    `cifar100`, `gtsrb`, `ham10000`, `abide`, `aptos2019`, `squares_counting`), a folder that exists
    (write `./digits` for a folder called like a known data set), a TensorFlow Datasets name such as
    `caltech101`, or `caltech101_thesis` of this package's own builders (`tfds:NAME` asks for it
    outright, also where it has the name of a known data set).

    A known data set is taken from its file in `KERAS_REPROGRAM_DATA`, else from what TensorFlow
    Datasets prepared in `TFDS_DATA_DIR` before, else it is downloaded (or prepared now from files
    that must be downloaded by hand; the error says which).

    Images stay as they are: fitting them into a source model is the program's work.

    Args:
        name: Name or path.
        image_size: Side or `(height, width)`, used only where the images of a folder or a TFDS data
            set come in several sizes.
        seed: Decides the 80/20 split of a folder or TFDS data set without a test part. Known data
            sets have fixed parts.
        target_range: `(low, high)` that the files of a folder are read in; see
            `load_image_folder`. Other targets have ranges of their own.
        draw: How many images are wanted, as `TargetData.draw` draws them. A large set of
            TensorFlow Datasets need not fit into memory then.

    Returns:
        The target's images, labels and class names.

    Raises:
        ValueError: If there is no such target, or if its files are corrupt.
        ConnectionError: If a download fails.
        ImportError: For `tfds:NAME` without tensorflow-datasets.

    Example:
        ```python
        from keras_reprogram.datasets import load_target

        target = load_target("digits")
        print(target.target_shape, len(target.class_names))  # (8, 8, 1) 10
        ```
    """
    options: dict[str, Any] = {"image_size": image_size, "seed": seed}
    if name in KNOWN_TARGETS:
        return _drawn(KNOWN_TARGETS[name](), draw)
    if _is_folder(name):
        return _drawn(load_image_folder(name, target_range=target_range, **options), draw)
    with _explained(name):
        return load_tfds(name.removeprefix(TFDS_PREFIX), draw=draw, **options)


def check_target(name: str) -> None:
    """Raises what `load_target` raises for a name that nobody knows; loads no images."""
    if name not in KNOWN_TARGETS and not _is_folder(name):
        with _explained(name):
            find_builder(name.removeprefix(TFDS_PREFIX))


def _is_folder(name: str) -> bool:
    if name.startswith(TFDS_PREFIX):
        return False
    if name and Path(name).expanduser().exists():
        return True
    if not name or name[0] in "./~\\":
        raise ValueError(_unknown(name, "there is no such folder"))
    return False


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Says what else a name could have been, unless it asks for TFDS outright."""
    try:
        yield
    except (ImportError, UnknownTfdsNameError) as error:
        if name.startswith(TFDS_PREFIX):
            raise
        reason = (
            "no data set of that name is known, no such folder exists, and TFDS does not have it"
        )
        if isinstance(error, ImportError):
            reason = f"no such folder exists, and TFDS could not be asked ({error})"
        raise ValueError(_unknown(name, reason)) from error


def _drawn(target: TargetData, draw: Draw | None) -> TargetData:
    return target if draw is None else target.draw(*draw)


def _unknown(name: str, reason: str) -> str:
    return (
        f"Expected a target: one of {', '.join(KNOWN_TARGETS)}, an existing folder of class "
        "folders, or a name in TensorFlow Datasets (tfds:NAME, after "
        f"{install_command('datasets')}). Received: {name!r}; {reason}.{_close_to(name)}"
    )


def _close_to(name: str) -> str:
    known = [*KNOWN_TARGETS, "caltech101_thesis"]
    plain = name.removeprefix(TFDS_PREFIX).lower().replace("-", "_")
    close = difflib.get_close_matches(plain, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""
