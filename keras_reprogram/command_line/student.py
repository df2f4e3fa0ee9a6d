"""`keras-reprogram student`: a local network learns what a run's source answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_reprogram.command_line.beside import local_network
from keras_reprogram.command_line.console import (
    Progress,
    facts_table,
    print_table,
    stdout_is_for_data,
    with_exit_codes,
)
from keras_reprogram.command_line.options import JsonFile, Quiet, RunFolder
from keras_reprogram.command_line.run_folder import Run, check_json_path, read_run, write_json
from keras_reprogram.command_line.sources import check_source

if TYPE_CHECKING:
    import numpy as np

    from keras_reprogram.datasets import TargetData
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.student import Student

KERAS, LITERT = ".keras", ".tflite"


@with_exit_codes
def student(
    run: RunFolder,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGES]...", help="Image files without a label, or folders of them."
        ),
    ] = None,
    local: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="The network on this machine whose features get a new head, named as --source of "
            "train.",
        ),
    ] = "MobileNet:alpha=0.25,input_shape=128",
    query_budget: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Most queries to the run's source; images without a label come first. Answers in "
            "the source's ledger cost none.",
        ),
    ] = 0,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="A new .keras or .tflite file.")
    ] = Path("student.keras"),
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Teach a network on this machine what a run's source knows.

    Its head learns from the run's training images with their labels, and from what the run's model
    says of images without one. The same head on the labels alone is measured beside it, and kept
    if it is better on held-out images. Read the terms of a service before. Example:

    keras-reprogram student runs/digits-traffic-signs photos/ --query-budget 500
    """
    check_json_path(json_file)
    _check_output(output)
    check_source(local)
    opened = read_run(run)
    files = _files(images or [])
    progress = Progress(quiet)
    data = opened.load_target()
    fit = _fit(opened, data, files, local, query_budget, progress)
    facts = _facts(fit, data)
    print_table(facts_table(f"student of {opened.folder.name}", facts))
    with stdout_is_for_data():
        _write(fit, output)
    if json_file is not None:
        write_json(json_file, {"run": str(opened.folder), **facts})
    print(output)


def _check_output(output: Path) -> None:
    if output.suffix not in (KERAS, LITERT) or not output.parent.is_dir():
        raise ValueError(
            f"--output must be a {KERAS} or {LITERT} file in a folder that exists. Received: "
            f"{output}."
        )
    if output.exists():
        raise FileExistsError(f"{output} exists. Choose another --output.")


def _files(paths: list[Path]) -> list[Path]:
    from keras_reprogram.command_line.evaluate import image_files

    return image_files(paths)


def _fit(
    run: Run,
    data: TargetData,
    files: list[Path],
    local: str,
    query_budget: int,
    progress: Progress,
) -> Student:
    import numpy as np

    from keras_reprogram.student import fit_student

    own = data.train_images
    labels = np.concatenate([data.train_labels, np.full(len(files), -1)])
    groups = data.train_groups
    if groups is not None:
        # Nobody knows whose the others are: each is of a group of its own.
        numbers = np.unique(groups, return_inverse=True)[1].reshape(-1)
        groups = np.concatenate([numbers, numbers.max() + 1 + np.arange(len(files))])
    if files:
        run.check_images("student with files")
    further = _decoded(files, data)
    model = run.load_model(run.open_source())
    progress.note(f"{len(own):,} images with labels, {len(files):,} without.")
    return fit_student(
        model,
        local_network(local, "--local"),
        own if further is None else np.concatenate([own, further.astype(own.dtype)]),
        labels,
        query_budget=query_budget,
        groups=groups,
        verbose=0,
    )


def _decoded(files: list[Path], data: TargetData) -> np.ndarray | None:
    """Images `(n, h, w, c)` in the size and range of the run's, or `None` without files."""
    import numpy as np

    from keras_reprogram.datasets.image_files import decode_image

    if not files:
        return None
    height, width, channels = data.target_shape
    decoded = [
        decode_image(
            file,
            str(file),
            grey=channels == 1,
            size=(height, width),
            target_range=data.target_range,
        )
        for file in files
    ]
    return np.stack(decoded)


def _facts(fit: Student, data: TargetData) -> dict[str, str | int | float | None]:
    def accuracy(model: ReprogrammedModel) -> float:
        found = model.predict(data.test_images, verbose=0).argmax(axis=1)
        return round(float((found == data.test_labels).mean()), 4)

    return {
        "kept": fit.kept,
        "images with labels": fit.num_labelled,
        "images without, answered": fit.num_unlabelled,
        "images without, not answered": fit.num_unanswered,
        "queries": fit.queries_used,
        "price": fit.price,
        "held-out accuracy, student": round(fit.validation.accuracy, 4),
        "held-out accuracy, labels alone": round(fit.baseline_validation.accuracy, 4),
        "test accuracy, kept": accuracy(fit.model),
        "test accuracy, labels alone": accuracy(fit.baseline),
    }


def _write(fit: Student, output: Path) -> None:
    if output.suffix == LITERT:
        from keras_reprogram.export import export_litert

        export_litert(fit.model, output)
    else:
        fit.model.save(output)
