"""`keras-reprogram predict`: classes of image files, as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.console import Talk
from keras_reprogram.command_line.exit_codes import INPUT_ERROR, with_exit_codes
from keras_reprogram.command_line.json_file import check_json_path, write_json
from keras_reprogram.command_line.run_folder import Run, read_run

if TYPE_CHECKING:
    import numpy as np

    from keras_reprogram.reprogrammed_model import ReprogrammedModel


@with_exit_codes
def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that train left, as runs/NAME.")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES...", help="Image files, or folders of them."),
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write every class's probability here."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Name the class of image files.

    Writes CSV to stdout: file, class, probability. Images are resized to the size that the program
    was trained for. A file that cannot be read is named on stderr, the others are classified, and
    the command ends with status 2. Example:

    keras-reprogram predict runs/digits-traffic-signs photos/ > classes.csv
    """
    check_json_path(json_file)
    opened = read_run(run)
    files = _image_files(images)
    class_names = opened.facts["target"]["class_names"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("file", "class", "probability"))
    every, unread = [], 0
    for file, row in _probabilities(opened, files, Talk(quiet)):
        if isinstance(row, ValueError):
            typer.echo(f"Error: {row}", err=True)
            unread += 1
            continue
        best = int(row.argmax())
        writer.writerow((file, class_names[best], f"{row[best]:.4f}"))
        every.append(_as_facts(file, class_names, row))
    if json_file is not None:
        write_json(json_file, every)
    if unread:
        typer.echo(f"{unread} of {len(files)} files could not be read.", err=True)
        raise typer.Exit(INPUT_ERROR)


def _image_files(paths: list[Path]) -> list[Path]:
    from keras_reprogram.datasets.image_decoding import DICOM_ADVICE, is_dicom
    from keras_reprogram.datasets.image_folder import IMAGE_SUFFIXES

    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside and any(p.is_file() and is_dicom(p) for p in path.rglob("*")):
                raise ValueError(f"There is no image in the folder {path}. {DICOM_ADVICE}")
            if not inside:
                raise ValueError(
                    f"There is no image in the folder {path}. "
                    f"Expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}."
                )
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"There is no image {path}. Check the path.")
    return files


def _probabilities(
    run: Run, files: list[Path], talk: Talk
) -> Iterator[tuple[Path, np.ndarray | ValueError]]:
    """Decodes and asks a few images at a time: a folder need not fit into memory.

    Yields:
        Each file with its probabilities, or with what is wrong with it.
    """
    import numpy as np

    from keras_reprogram.command_line.asking import read, rows_at_once

    model = run.load_model(run.open_source())
    for rows in talk.slices("asking the source", len(files), rows_at_once(model)):
        images = [_decoded(file, model) for file in files[rows]]
        readable = [image for image in images if not isinstance(image, ValueError)]
        answers: Iterator[np.ndarray] = iter(())
        if readable:
            answers = iter(read(model, model.collect_scores(np.stack(readable), verbose=0)))
        for file, image in zip(files[rows], images, strict=True):
            yield file, image if isinstance(image, ValueError) else next(answers)


def _decoded(file: Path, model: ReprogrammedModel) -> np.ndarray | ValueError:
    from keras_reprogram.datasets.image_decoding import PICTURE_RANGE, decode_image
    from keras_reprogram.program.target_range import target_range_of

    height, width, channels = model.program.target_shape
    target_range = target_range_of(model.program) or PICTURE_RANGE
    try:
        return decode_image(
            file, str(file), grey=channels == 1, size=(height, width), target_range=target_range
        )
    except ValueError as error:
        return error


def _as_facts(file: Path, class_names: list[str], row: np.ndarray) -> dict[str, Any]:
    best = int(row.argmax())
    probabilities = {name: float(p) for name, p in zip(class_names, row, strict=True)}
    return {
        "file": str(file),
        "class": class_names[best],
        "probability": float(row[best]),
        "probabilities": probabilities,
    }
