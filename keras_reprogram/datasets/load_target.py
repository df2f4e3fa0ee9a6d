"""load_target: resolves a name to a known data set, files, or a TensorFlow Dataset."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from keras_reprogram.arguments import one_of
from keras_reprogram.asking.image_reading import FITS, ImageReading
from keras_reprogram.datasets.abide import load_abide
from keras_reprogram.datasets.aptos2019 import load_aptos2019
from keras_reprogram.datasets.cifar import load_cifar10, load_cifar100
from keras_reprogram.datasets.digits import load_digits
from keras_reprogram.datasets.gtsrb import load_gtsrb
from keras_reprogram.datasets.gtsrb_attributes import load_gtsrb_attributes
from keras_reprogram.datasets.ham10000 import load_ham10000
from keras_reprogram.datasets.image_folder import load_image_folder
from keras_reprogram.datasets.image_table import TABLE_SUFFIXES, Columns, is_table, read_table
from keras_reprogram.datasets.manifest import list_manifest
from keras_reprogram.datasets.medmnist import load_medmnist
from keras_reprogram.datasets.mnist import load_fashion_mnist, load_mnist
from keras_reprogram.datasets.series_files import is_series_file, load_aeon_series, load_series
from keras_reprogram.datasets.squares_counting import load_squares_counting
from keras_reprogram.datasets.target_data import Draw, TargetData
from keras_reprogram.datasets.text_table import TextReading, is_text_table, texts_of
from keras_reprogram.datasets.tfds import UnknownTfdsNameError, find_builder, load_tfds
from keras_reprogram.optional_packages import install_command

KNOWN_TARGETS: dict[str, Callable[[], TargetData]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion_mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "gtsrb": load_gtsrb,
    "gtsrb_attributes": load_gtsrb_attributes,
    "ham10000": load_ham10000,
    "abide": load_abide,
    "aptos2019": load_aptos2019,
    "squares_counting": load_squares_counting,
}
TFDS_PREFIX, AEON_PREFIX = "tfds:", "aeon:"
ARCHIVE_SUFFIX = ".npz"


class _Kind(StrEnum):
    """What a name stands for, in words."""

    KNOWN = "a known data set"
    FOLDER = "a folder"
    TABLE = "a manifest"
    ARCHIVE = "an archive of MedMNIST"
    SERIES = "series"
    TFDS = "a name in TensorFlow Datasets"


def load_target(
    name: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    target_range: tuple[float, float] | None = None,
    draw: Draw | None = None,
    groups: str | Path | None = None,
    columns: Columns | None = None,
    fit: str = "stretch",
    reading: ImageReading | None = None,
    texts: TextReading | None = None,
) -> TargetData:
    """Loads a target task by its name.

    Names are tried in this order: a known data set (`digits`, `mnist`, `fashion_mnist`, `cifar10`,
    `cifar100`, `gtsrb`, `gtsrb_attributes`, `ham10000`, `abide`, `aptos2019`, `squares_counting`),
    a folder that exists (write `./digits` for a folder called like a known data set), a manifest
    (a .csv, .tsv or .parquet file, see `load_manifest`; with a column `text` instead of `path` it
    is a table of texts, see `load_texts`), an archive of MedMNIST (.npz, see
    `load_medmnist`), series (NAME_TRAIN.ts, .txt, .tsv or an .npz of series, see `load_series`, or
    `aeon:NAME`), a TensorFlow Datasets name such as `caltech101`, or `caltech101_thesis` of
    this package's own builders (`tfds:NAME` asks for it outright, also where it has the name of a
    known data set).

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
            TensorFlow Datasets need not fit into memory then, and of a folder or a manifest only
            the drawn files are opened.
        groups: The groups of a folder's images, as `load_image_folder` takes them.
        columns: The headers of a manifest, as `load_manifest` takes them.
        fit: What becomes of other aspect ratios in a folder, a manifest or a TFDS data set, as
            `load_image_folder` takes it.
        reading: How a folder or a manifest is read, as `load_image_folder` takes it.
        texts: How texts become token numbers.

    Returns:
        The target's images, labels and class names.

    Raises:
        ValueError: If there is no such target, if its files are corrupt, or for `groups`,
            `columns` and `fit` of another kind of target.
        ConnectionError: If a download fails.
        ImportError: For `tfds:NAME` without tensorflow-datasets.

    Example:
        ```python
        from keras_reprogram.datasets import load_target

        target = load_target("digits")
        print(target.target_shape, len(target.class_names))  # (8, 8, 1) 10
        ```
    """
    kind = _checked_kind(name, groups, columns, fit, texts)
    options: dict[str, Any] = {"image_size": image_size, "seed": seed, "draw": draw, "fit": fit}
    of_files: dict[str, Any] = {"target_range": target_range, "reading": reading}
    if kind == _Kind.KNOWN:
        target = KNOWN_TARGETS[name]()
        return target if draw is None else target.draw(*draw)
    if kind == _Kind.FOLDER:
        return load_image_folder(name, groups=groups, **of_files, **options)
    if kind == _Kind.TABLE:
        rows = read_table(name, columns or {})
        if is_text_table(rows):
            return texts_of(rows, texts or TextReading(), seed, draw)
        _refuse_texts(name, _Kind.TABLE, texts)
        return list_manifest(rows, Path(name).expanduser().parent).read(**of_files, **options)
    if kind == _Kind.SERIES:
        is_name = name.startswith(AEON_PREFIX)
        load: Callable[[str], TargetData] = load_aeon_series if is_name else load_series
        target = load(name.removeprefix(AEON_PREFIX))
        return target if draw is None else target.draw(*draw)
    if kind == _Kind.ARCHIVE:
        return load_medmnist(name, draw=draw)
    with _explained(name):
        return load_tfds(name.removeprefix(TFDS_PREFIX), **options)


def check_target(
    name: str,
    *,
    groups: str | Path | None = None,
    columns: Columns | None = None,
    fit: str = "stretch",
    texts: TextReading | None = None,
) -> None:
    """Raises what `load_target` raises for a name that nobody knows; loads no images."""
    if _checked_kind(name, groups, columns, fit, texts) == _Kind.TFDS:
        with _explained(name):
            find_builder(name.removeprefix(TFDS_PREFIX))


def _refuse_texts(name: str, kind: _Kind, texts: TextReading | None) -> None:
    if texts is not None:
        raise ValueError(
            "--text-unit, --minimum-count and --lowercase are for a table with a column `text`. "
            f"Received: one of them beside the target {name!r}, {kind}. Leave it "
            "out, or say which column holds the texts: --column text=NAME."
        )


def _checked_kind(
    name: str,
    groups: str | Path | None,
    columns: Columns | None,
    fit: str,
    texts: TextReading | None,
) -> _Kind:
    """What a name stands for; refuses what is said of another kind."""
    kind = _kind(name)
    if kind != _Kind.TABLE:
        _refuse_texts(name, kind, texts)
    of_one_size = (_Kind.KNOWN, _Kind.ARCHIVE, _Kind.SERIES)
    if one_of("fit", fit, FITS) != "stretch" and kind in of_one_size:
        raise ValueError(
            f"--fit is for images of several sizes. Received: --fit {fit} beside the target "
            f"{name!r}, {kind}, whose images have one size. Leave it out."
        )
    if groups is not None and kind != _Kind.FOLDER:
        way = "name its column `group`" if kind == _Kind.TABLE else "leave it out"
        raise ValueError(
            f"--groups is for a folder of class folders. Received: --groups {groups} beside the "
            f"target {name!r}, {kind}; {way}."
        )
    if columns and kind != _Kind.TABLE:
        raise ValueError(
            f"--column is for a manifest ({', '.join(TABLE_SUFFIXES)}). Received: it beside the "
            f"target {name!r}, {kind}. Leave it out."
        )
    return kind


def _kind(name: str) -> _Kind:
    if name in KNOWN_TARGETS:
        return _Kind.KNOWN
    if name.startswith(TFDS_PREFIX):
        return _Kind.TFDS
    if name.startswith(AEON_PREFIX) or is_series_file(Path(name).expanduser()):
        return _Kind.SERIES
    path = Path(name).expanduser()
    is_archive = name.lower().endswith(ARCHIVE_SUFFIX)
    if name and path.is_dir():
        return _Kind.FOLDER
    if name and path.is_file():
        if not is_archive and not is_table(name):
            raise ValueError(_no_target_file(path))
        return _Kind.ARCHIVE if is_archive else _Kind.TABLE
    if not name or name[0] in "./~\\" or is_archive or is_table(name):
        raise ValueError(_unknown(name, "there is no such folder or file"))
    return _Kind.TFDS


def _no_target_file(path: Path) -> str:
    packed = path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
    advice = (
        "Unpack it, and pass the folder."
        if packed
        else "Pass a folder with one subfolder of images per class, or a table with the columns "
        "path and label, or text and label."
    )
    return (
        "Expected a target: a folder of class folders, a manifest "
        f"({', '.join(TABLE_SUFFIXES)}), an archive of MedMNIST ({ARCHIVE_SUFFIX}), or series "
        f"(NAME_TRAIN.ts). "
        f"Received: {str(path)!r}, which is not a folder. {advice}"
    )


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


def _unknown(name: str, reason: str) -> str:
    return (
        f"Expected a target: one of {', '.join(KNOWN_TARGETS)}, an existing folder of class "
        f"folders, a manifest ({', '.join(TABLE_SUFFIXES)}), an archive of MedMNIST "
        f"({ARCHIVE_SUFFIX}), or a name in TensorFlow Datasets (tfds:NAME, after "
        f"{install_command('datasets')}). Received: {name!r}; "
        f"{reason}.{_close_to(name)}"
    )


def _close_to(name: str) -> str:
    known = [*KNOWN_TARGETS, "caltech101_thesis"]
    plain = name.removeprefix(TFDS_PREFIX).lower().replace("-", "_")
    close = difflib.get_close_matches(plain, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""
