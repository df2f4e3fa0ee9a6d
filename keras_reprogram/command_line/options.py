"""Options of several commands, and what `--class-weight` means."""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

SourceName = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help="The classifier to re-use: traffic-signs (built in), an application of Keras "
        "such as MobileNetV2 or MobileNet:alpha=0.25,input_shape=128, a .keras, .tflite or .onnx "
        "file, or a SavedModel folder.",
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help="The task to learn: digits, mnist, fashion_mnist, cifar10, cifar100, gtsrb, "
        "ham10000, abide, aptos2019, squares_counting, a folder with one subfolder of images per "
        "class, a manifest (CSV or Parquet: path, label, group, split, weight), a table of texts "
        "(text in place of path), a .npz file "
        "of MedMNIST, or a name in TensorFlow Datasets (tfds:NAME), including caltech101_thesis. "
        "Files come from the folders KERAS_REPROGRAM_DATA and TFDS_DATA_DIR, or are downloaded.",
    ),
]
Opaque = Annotated[
    bool,
    typer.Option("--opaque", help="Use the source's scores only, as if it were a web service."),
]
TargetSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Side in pixels to which the images of a folder are resized if their sizes differ.",
    ),
]
TrainImages = Annotated[
    int | None,
    typer.Option(min=2, metavar="N", help="Draw this many training images. [default: all]"),
]
TestImages = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Draw this many test images. [default: all]"),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="The run folder that train wrote, such as runs/NAME.")
]
Price = Annotated[
    float | None, typer.Option(min=0, metavar="MONEY", help="Price of 1,000 queries.")
]
Coverage = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of prediction sets that hold the true class, such as 0.9. [default: 0.9, or "
        "what the run was calibrated for]",
    ),
]
ClassWise = Annotated[
    bool | None,
    typer.Option(
        "--class-wise/--on-average",
        help="Whether the coverage holds in every class or on average. [default: on average, or "
        "what the run was calibrated for]",
        show_default=False,
    ),
]
Abstain = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of images like the calibrating ones that may be called foreign; 0 calls none "
        "foreign. [default: 0.05, or what the run was calibrated for]",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures to this file.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress on stderr.")]

BALANCED = "balanced"
# Above this ratio of the largest class to the smallest, accuracy alone misleads.
_SKEWED = 1.5


def parse_class_weight(text: str | None) -> str | dict[str, float] | None:
    """Parses the option: `"balanced"`, class name -> weight, or `None`."""
    if text is None or text == BALANCED:
        return text
    weights: dict[str, float] = {}
    for pair in text.split(","):
        name, _, number = (part.strip() for part in pair.rpartition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight) or weight < 0 or name in weights:
            raise ValueError(
                "--class-weight must be balanced, or the weights of some classes, 0 or more, such "
                f"as melanoma=5,nevus=0.5. Received: {text!r}."
            )
        weights[name] = weight
    return weights


def class_weights(
    asked: str | dict[str, float] | None, labels: np.ndarray, class_names: tuple[str, ...]
) -> dict[int, float] | None:
    """Weight for each class, by position; balanced ones are n / (K * images of the class).

    Of several findings, labels `(n, K)`, that of an image with the finding: balanced ones are the
    images without it, divided by those with it.
    """
    import numpy as np

    if asked is None:
        return None
    if labels.ndim == 2:
        return _finding_weights(asked, labels, class_names)
    if isinstance(asked, str):
        counts = np.bincount(labels, minlength=len(class_names))
        return {
            label: len(labels) / (len(class_names) * count)
            for label, count in enumerate(counts.tolist())
            if count
        }
    weights = {_position(name, class_names): weight for name, weight in asked.items()}
    counting = [label for label in np.unique(labels).tolist() if weights.get(label, 1.0)]
    if len(counting) < 2:
        raise ValueError(
            "--class-weight must give two or more classes a weight above 0. Received: weights "
            f"above 0 for {len(counting)} of them."
        )
    return weights


def _finding_weights(
    asked: str | dict[str, float], labels: np.ndarray, class_names: tuple[str, ...]
) -> dict[int, float]:
    if isinstance(asked, str):
        counts = labels.sum(axis=0).tolist()
        return {k: (len(labels) - n) / n for k, n in enumerate(counts) if 0 < n < len(labels)}
    return {_position(name, class_names): weight for name, weight in asked.items()}


def _position(name: str, class_names: tuple[str, ...]) -> int:
    if name in class_names:
        return class_names.index(name)
    if name.isdigit() and int(name) < len(class_names):
        return int(name)
    close = difflib.get_close_matches(name, class_names, 1)
    advice = f"Did you mean {close[0]}?" if close else f"The classes are {', '.join(class_names)}."
    raise ValueError(f"--class-weight names no class of the target. Received: {name!r}. {advice}")


def is_skewed(labels: np.ndarray) -> bool:
    """Whether classes are so skewed that accuracy misleads."""
    import numpy as np

    if labels.ndim == 2:
        # Findings have figures of their own, which skewed ones do not flatter.
        return False
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.max() > _SKEWED * counts.min())


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall of the classes that occur."""
    import numpy as np

    hits = predicted == labels
    return float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))


def check_folder(path: Path) -> None:
    """Refuses a folder that cannot be made, before anything is computed for it."""
    path = path.expanduser()
    for one in (path, *path.parents):
        if one.exists():
            if not one.is_dir():
                where = "a file" if one == path else f"inside {one}, which is a file"
                raise ValueError(
                    f"--output must be a folder. Received: {path}, {where}. Choose another."
                )
            return
