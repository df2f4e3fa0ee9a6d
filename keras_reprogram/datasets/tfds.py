"""Any image classification data set of TensorFlow Datasets as a target."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import queue
import re
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_reprogram.asking.image_reading import ImageReading, framed
from keras_reprogram.datasets.image_files import PICTURE_RANGE, resize_levels
from keras_reprogram.datasets.listed_images import choose_size, warn_of_squashed
from keras_reprogram.datasets.original_files import OriginalFileError
from keras_reprogram.datasets.target_data import Draw, TargetData, draw_part, drawn_notes
from keras_reprogram.fitting.validation import split_validation
from keras_reprogram.optional_packages import install_command, needs_extra

VARIABLE = "TFDS_DATA_DIR"
HOME_FOLDER = "~/tensorflow_datasets"
# To reach the server that has the files.
_SECONDS = 5
BUILDERS = "keras_reprogram.datasets.builders"
_NAMES = re.compile(rb"^(?:class (\w+)| +name = [\"'](\w+))", re.MULTILINE)


class UnknownTfdsNameError(ValueError):
    """Raised where TensorFlow Datasets lacks the data set, configuration or version."""


def load_tfds(
    name: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    train_split: str = "train",
    draw: Draw | None = None,
    fit: str = "stretch",
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
        fit: What becomes of other aspect ratios, as `load_image_folder` takes it.

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
        name, builder, image_size=image_size, seed=seed, train_split=train_split, draw=draw, fit=fit
    )


def load_prepared_tfds(name: str, **options: Any) -> TargetData | None:
    """The newest prepared version of a TFDS set, or `None`; downloads nothing."""
    found = [path.parent for path in (_data_folder() / name).glob("*/dataset_info.json")]
    if not found or importlib.util.find_spec("tensorflow_datasets") is None:
        return None
    builder = _import_tfds().builder_from_directory(max(found, key=_version))
    return read_target(name, builder, **options)


def load_known_tfds(name: str, *, copy: str = "", **options: Any) -> TargetData:
    """Loads one of this package's data sets, prepared before or now."""
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
    with needs_extra("tensorflow-datasets", "datasets"):
        tfds = importlib.import_module("tensorflow_datasets")
    importlib.import_module(BUILDERS)
    return tfds


def find_builder(name: str) -> Any:
    """The builder of a data set; an `UnknownTfdsNameError` if there is none."""
    if not _may_exist(name):
        raise UnknownTfdsNameError(
            f"Expected the name of a data set in TensorFlow Datasets. Received: {name!r}. Neither "
            f"its installed version nor {_data_folder()} has a data set of that name."
        )
    tfds = _import_tfds()
    # TFDS reads the variable once, when it is imported.
    folder = os.environ.get(VARIABLE)
    place = {"data_dir": folder} if folder else {}
    try:
        return tfds.builder(name, **place)
    except ImportError as error:
        raise _missing_package(name, error) from error
    except (ValueError, AssertionError) as error:  # TFDS asserts that it knows the version.
        # The first line states the error; the rest may list all data sets.
        reason = str(error).strip().splitlines()[0]
        raise UnknownTfdsNameError(
            f"Expected the name of a data set in TensorFlow Datasets. Received: {name!r}. {reason}"
        ) from error


def _may_exist(name: str) -> bool:
    """`False` for a name that is nowhere in the files of TFDS, which takes a second to import."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    base = name.partition("/")[0]
    # Data sets of the user's own are registered with TFDS, so it is imported by then.
    if spec is None or "tensorflow_datasets" in sys.modules or not re.fullmatch(r"\w+", base):
        return True
    (folder,) = spec.submodule_search_locations or ("",)
    known = names_in_files(Path(folder)) | names_in_files(Path(__file__).parent / "builders")
    return _plain(base) in known or (_data_folder() / base).exists()


def names_in_files(folder: Path) -> set[str]:
    """Lower-case names without underscores of all classes, packages and `name =` in a folder."""
    names = {path.name for path in (folder / "datasets").glob("*")}
    for path in folder.rglob("*.py"):
        # Packages in `datasets` are called as their data set; `core` has none.
        if path.relative_to(folder).parts[0] not in ("core", "datasets"):
            found = _NAMES.finditer(path.read_bytes())
            names.update(match[match.lastindex or 0].decode() for match in found)
    return {_plain(name) for name in names}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _data_folder() -> Path:
    return Path(os.environ.get(VARIABLE) or HOME_FOLDER).expanduser()


def _prepared(name: str) -> Any:
    builder = find_builder(name)
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
    """Fails within seconds if files cannot be downloaded; TFDS would retry for minutes."""
    # Under `tfds.testing.mock_data` nothing is downloaded.
    is_mock = type(builder).download_and_prepare.__module__.startswith("tensorflow_datasets.test")
    urls = [url for url in _addresses(builder) if url.startswith("http")]
    downloads = Path(builder.data_dir).parents[1] / "downloads"
    if is_mock or not urls or builder.is_prepared() or any(downloads.rglob("*.INFO")):
        return
    found: queue.Queue[Exception | None] = queue.Queue()
    # In a thread, because looking up a name may take minutes and has no timeout.
    threading.Thread(target=_reach, args=(urls[0], found), daemon=True).start()
    try:
        problem = found.get(timeout=_SECONDS + 3)
    except queue.Empty:
        problem = TimeoutError(f"no answer in {_SECONDS + 3} seconds")
    if problem is not None:
        host = urllib.parse.urlsplit(urls[0]).netloc
        raise ConnectionError(f"{host} cannot be reached: {problem}")


def _addresses(builder: Any) -> list[str]:
    """URLs of a builder's files."""
    module = type(builder).__module__
    if module.startswith(BUILDERS):
        # Ours share one list of checksums; most have files that a person fetches.
        address = getattr(sys.modules[module], "ADDRESS", None)
        return [] if address is None else [address]
    return list(builder.url_infos or ())


def _reach(url: str, found: queue.Queue[Exception | None]) -> None:
    """Sends a HEAD request; any answer means that the server can be reached."""
    requests = importlib.import_module("requests")
    try:
        requests.head(url, timeout=_SECONDS)
        found.put(None)
    except requests.RequestException as error:
        found.put(error)


def _missing_package(name: str, error: ImportError) -> ImportError:
    return ImportError(
        f"Expected the packages that the TFDS data set {name!r} needs. Received: {error}. "
        f"Run: {install_command('datasets')}, or install that package."
    )


TEST_FRACTION = 0.2
# Keys that the builders of this package write into their metadata.
GROUP, RANGE = "group", "target_range"


class Rows(NamedTuple):
    """Rows of one split that are known by their labels; their images are still in files.

    Args:
        split: where they are.
        positions: `(n,)`, which of it.
        labels: `(n,)`.
        groups: the group of each row, or `None`.
    """

    split: str
    positions: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None

    def take(self, rows: np.ndarray) -> Rows:
        """The given ones of these rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Rows(self.split, self.positions[rows], self.labels[rows], groups)


def read_target(
    name: str,
    builder: Any,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    train_split: str = "train",
    draw: Draw | None = None,
    fit: str = "stretch",
) -> TargetData:
    """Reads a prepared builder into memory, only as many images as are drawn."""
    # A first pass reads labels (and sizes, where they differ), a second one reads images. The
    # metadata of a data set may name the feature that groups rows (`group`), which becomes
    # `train_groups`, and the range of float images (`target_range`).
    features = _image_and_label(name, builder)
    test_split = _test_split(name, builder, train_split)
    wanted = [split for split in (train_split, test_split) if split is not None]
    indexed, sizes = zip(*(_index(builder, split, features) for split in wanted), strict=True)
    every_size = [size for part in sizes for size in part]
    size, notes = choose_size(every_size, image_size)
    warn_of_squashed(every_size, size, fit)
    parts = list(indexed)
    if test_split is None:
        parts = _halves(parts[0], seed)
        kept = "class" if parts[0].groups is None else "group"
        notes += (f"No test split: {train_split!r} was split 80/20 by {kept}, seed {seed}.",)
    elif test_split == "validation":
        notes += ("No test split: the split 'validation' is the test part.",)
    # Before a draw, which leaves some out.
    parts[0] = parts[0]._replace(groups=_numbered(parts[0].groups))
    if draw is not None:
        parts, drawn = _drawn(name, parts, draw)
        notes += drawn
    train, test = parts
    return TargetData(
        name,
        _images(builder, train, size, features[0], fit),
        train.labels,
        _images(builder, test, size, features[0], fit),
        test.labels,
        class_names=tuple(builder.info.features[features[1]].names),
        origin=f"TensorFlow Datasets {builder.info.full_name} in {builder.data_dir}.",
        notes=notes,
        train_groups=train.groups,
        target_range=_target_range(builder),
        image_reading=ImageReading(fit),
    )


def _metadata(builder: Any) -> Mapping[str, Any]:
    return builder.info.metadata or {}


def _target_range(builder: Any) -> tuple[float, float]:
    low, high = _metadata(builder).get(RANGE, PICTURE_RANGE)
    return float(low), float(high)


def _image_and_label(name: str, builder: Any) -> tuple[str, str]:
    keys, features = builder.info.supervised_keys, builder.info.features
    is_pair = keys is not None and len(keys) == 2 and all(isinstance(key, str) for key in keys)
    kinds = [type(features[key]).__name__ for key in keys] if is_pair else []
    types = [np.uint8, np.float32] if RANGE in _metadata(builder) else [np.uint8]
    if kinds != ["Image", "ClassLabel"] or features[keys[0]].np_dtype not in types:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to consist of 8-bit images and class labels. "
            f"Received: supervised_keys={keys}, features {sorted(features)}."
        )
    return keys[0], keys[1]


def _test_split(name: str, builder: Any, train_split: str) -> str | None:
    # Mock data, which have no files, have no splits either, and give rows of any.
    splits = builder.info.splits or ("train", "test")
    absent = [split for split in train_split.split("+") if split not in splits]
    if absent:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to have a split {absent[0]!r}. Received: "
            f"{sorted(splits)}."
        )
    others = (split for split in ("test", "validation") if split not in train_split.split("+"))
    return next((split for split in others if split in splits), None)


def _rows(builder: Any, split: str, features: set[str], encoded: str | None) -> Iterator[dict]:
    """Some features of each row; images as the bytes of their files."""
    decode = importlib.import_module("tensorflow_datasets").decode
    skip = None if encoded is None else {encoded: decode.SkipDecoding()}
    decoders = decode.PartialDecoding(features, decoders=skip)
    dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
    yield from dataset.as_numpy_iterator()


def _index(
    builder: Any, split: str, features: tuple[str, str]
) -> tuple[Rows, list[tuple[int, int]]]:
    """All rows of a split, and the sizes of their images."""
    image_key, label_key = features
    group_key = _metadata(builder).get(GROUP)
    height, width, _ = builder.info.features[image_key].shape
    is_fixed = height is not None and width is not None
    wanted = {label_key, *([group_key] if group_key else []), *([] if is_fixed else [image_key])}
    labels, groups, sizes = [], [], [(height, width)] if is_fixed else []
    for row in _rows(builder, split, wanted, None if is_fixed else image_key):
        labels.append(row[label_key])
        groups.append(None if group_key is None else row[group_key])
        if not is_fixed:
            with Image.open(io.BytesIO(row[image_key])) as image:
                sizes.append((image.height, image.width))
    grouped = None if group_key is None else np.array(groups)
    return Rows(split, np.arange(len(labels)), np.array(labels, np.int64), grouped), sizes


def _halves(rows: Rows, seed: int) -> list[Rows]:
    halves = split_validation(rows.positions, rows.labels, TEST_FRACTION, seed, rows.groups)
    return [rows.take(half) for half in halves]


def _drawn(name: str, parts: list[Rows], draw: Draw) -> tuple[list[Rows], tuple[str, ...]]:
    drawn: list[Rows] = []
    notes: tuple[str, ...] = ()
    counts = (draw.train_images, draw.test_images)
    for part, rows, count in zip(("training", "test"), parts, counts, strict=True):
        kept = draw_part(name, part, rows.labels, count, draw.seed)
        drawn.append(rows.take(kept))
        notes += drawn_notes(part, kept, rows.labels, draw.seed)
    return drawn, notes


def _images(
    builder: Any, rows: Rows, size: tuple[int, int], image_key: str, fit: str
) -> np.ndarray:
    """Decodes the images of some rows, one by one."""
    feature = builder.info.features[image_key]
    places = {int(position): place for place, position in enumerate(rows.positions)}
    images = np.empty((len(places), *size, feature.shape[-1]), feature.np_dtype)
    for position, row in enumerate(_rows(builder, rows.split, {image_key}, image_key)):
        if position in places:
            image = np.asarray(feature.decode_example(row[image_key]))
            images[places[position]] = resize_levels(framed(image, size, fit), size)
    return images


def _numbered(groups: np.ndarray | None) -> np.ndarray | None:
    return None if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
