"""`keras-reprogram evaluate`: measure a training run again, on its own or on other images."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.console import (
    INPUT_ERROR,
    Progress,
    facts_table,
    name_bad_image,
    print_table,
    with_exit_codes,
)
from keras_reprogram.command_line.options import (
    Abstain,
    ClassWise,
    Coverage,
    JsonFile,
    Quiet,
    RunFolder,
    TestImages,
)
from keras_reprogram.command_line.run_folder import Run, check_json_path, read_run, write_json
from keras_reprogram.command_line.target_settings import TargetSettings
from keras_reprogram.command_line.text_answers import predict_texts

if TYPE_CHECKING:
    import numpy as np

    from keras_reprogram.command_line.measures import Metrics
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.fitting.calibration import SetRule
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.report import ClassificationMetrics, FindingsMetrics
    from keras_reprogram.scoring.inputs import NamedImage
    from keras_reprogram.scoring.output import ScoredImage


@with_exit_codes
def evaluate(
    run: RunFolder,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Other images, or texts, of the same classes, named as for train; accuracy is "
            "measured on their test part. [default: the run's own test images]",
        ),
    ] = None,
    test_images: TestImages = None,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Measure a training run again.

    Shows accuracy, balanced accuracy, AUC, and sensitivity and specificity of each class; of
    several findings AUC and F1 of each; of grades the quadratic weighted kappa too. Example:

    keras-reprogram evaluate runs/digits-traffic-signs
    """
    check_json_path(json_file)
    opened = read_run(run)
    progress = Progress(quiet)
    data = _images(opened, target, test_images)
    progress.note("\n".join((data.origin, *data.notes)))
    metrics, queries = _measure(opened, data, progress)
    _print(opened, data, metrics, queries)
    if json_file is not None:
        facts = {"run": str(opened.folder), "origin": data.origin, "notes": list(data.notes)}
        write_json(json_file, {**facts, "queries": queries, **metrics.to_dict()})


def _images(run: Run, target: str | None, test_images: int | None) -> TargetData:
    from keras_reprogram.datasets.image_table import is_table
    from keras_reprogram.datasets.target_data import Draw

    if target is None:
        data = run.load_target()
        return data if test_images is None else data.draw(None, test_images, run.facts["seed"])
    # The same names of columns, where it is a table too; other images have other groups.
    columns = TargetSettings.from_facts(run.facts["target"]).columns if is_table(target) else {}
    settings = TargetSettings(columns=columns)
    settings.check(target)
    if run.vocabulary is not None:
        draw = Draw(None, test_images, run.facts["seed"])
        how = {"seed": run.facts["seed"], "vocabulary": run.vocabulary}
        return _with_its_classes(run, settings.load(target, draw, **how))
    run.check_images("evaluate --target")
    height, width, _ = run.facts["target"]["target_shape"]
    learned = run.target_range
    data = settings.load(
        target,
        Draw(None, test_images, run.facts["seed"]),
        image_size=(height, width),
        seed=run.facts["seed"],
        target_range=learned,
        reading=run.image_reading,
    )
    if learned is not None and data.target_range != learned:
        raise ValueError(
            f"--target must have images in the range that the run learned, {learned[0]:g}.."
            f"{learned[1]:g}. Received: {data.target_range[0]:g}..{data.target_range[1]:g}. Pass "
            "a folder of image files, which are read in the run's range."
        )
    return _with_its_classes(run, data)


def _with_its_classes(run: Run, data: TargetData) -> TargetData:
    """The data, if they have the classes that a run learned."""
    expected = tuple(run.facts["target"]["class_names"])
    if data.class_names != expected:
        raise ValueError(
            f"--target must have the classes that the run learned, {', '.join(expected)}. "
            f"Received: {', '.join(data.class_names)}. Train another run for these classes."
        )
    return data


def _measure(run: Run, data: TargetData, progress: Progress) -> tuple[Metrics, int]:
    from keras_reprogram.command_line.answers import predict
    from keras_reprogram.command_line.measures import measured

    model = run.load_model(run.open_source())
    if data.is_multi_label != model.output_map.multi_label:
        kinds = ("one class an image", "several findings an image")
        raise ValueError(
            f"--target must have labels as the run learned: {kinds[model.output_map.multi_label]}. "
            f"Received: {kinds[data.is_multi_label]}."
        )
    probabilities = predict(model, data.test_images, progress, "asking the source")
    return measured(model, data, probabilities), model.queries_used


def _print(run: Run, data: TargetData, metrics: Metrics, queries: int) -> None:
    from keras_reprogram.report import FindingsMetrics

    if isinstance(metrics, FindingsMetrics):
        shown = _findings_shown(metrics)
    else:
        shown = _classes_shown(metrics)
    table = facts_table(f"{run.folder.name} on {data.name}", shown | {"queries": queries})
    print_table(table)


def _findings_shown(metrics: FindingsMetrics) -> dict[str, Any]:
    shown = {
        "test images": metrics.num_examples,
        "mean AUC": _short(metrics.auc),
        "mean F1": _short(metrics.f1),
        "without a finding": f"{metrics.without_finding:.3f}",
        "all findings right": f"{metrics.exact_matches:.3f}",
    }
    for one in metrics.findings:
        shown[one.name] = f"AUC {_short(one.auc)}, F1 {_short(one.f1)}, {one.support:,} images"
    return shown


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _classes_shown(metrics: ClassificationMetrics) -> dict[str, Any]:
    low, high = metrics.accuracy_interval
    overall: dict[str, Any] = {
        "test images": metrics.num_examples,
        "accuracy": f"{metrics.accuracy:.3f} (95 %: {low:.3f} to {high:.3f})",
        "balanced accuracy": f"{metrics.balanced_accuracy:.3f}",
        "AUC": None if metrics.auc is None else f"{metrics.auc:.3f}",
    }
    if metrics.quadratic_kappa is not None:
        overall["quadratic weighted kappa"] = f"{metrics.quadratic_kappa:.3f}"
    for entry in metrics.classes:
        if entry.sensitivity is not None and entry.specificity is not None:
            overall[entry.name] = (
                f"sensitivity {entry.sensitivity:.3f}, specificity {entry.specificity:.3f}, "
                f"{entry.support:,} images"
            )
    return overall


@with_exit_codes
def predict(
    run: RunFolder,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...",
            help="Image files, or folders of them; of a run of texts .txt files with a text a "
            "line, or tables with a column text.",
        ),
    ],
    coverage: Coverage = None,
    class_wise: ClassWise = None,
    abstain: Abstain = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Also write the probabilities of all classes to this file.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Name the class of image files, or their findings, or of texts.

    Writes CSV to stdout: file, class, probability; of several findings file, findings (joined by
    |), and the largest probability. Images are resized to the size that the program was trained
    for; a note says how many were stretched by that. A file that cannot be read is named on
    stderr, the others are classified, and the command ends with status 2. Example:

    keras-reprogram predict runs/digits-traffic-signs photos/ > classes.csv

    With --coverage, --class-wise or --abstain, for a run of train --calibrate, three columns
    follow: set, the classes that the image may have, joined by |; accepted, whether that is one
    class and the image is not foreign; foreign. Probabilities are calibrated then.

    Of a run of texts the columns are file, row, class and probability: rows are counted from 1, in
    a table below its header.
    """
    check_json_path(json_file)
    opened = read_run(run)
    # Said before the program file is read, which takes TensorFlow.
    check_there(images)
    if opened.vocabulary is not None:
        if (coverage, class_wise, abstain) != (None, None, None):
            raise ValueError(
                "--coverage, --class-wise and --abstain are for runs of images. Received: "
                f"{opened.folder}, a run of texts. Use `model.predict_sets` in Python."
            )
        predict_texts(opened, images, json_file, Progress(quiet))
        return
    files = image_files(images)
    opened.check_images("predict")
    class_names = opened.facts["target"]["class_names"]
    model = opened.load_model(opened.open_source())
    rule = None
    if (coverage, class_wise, abstain) != (None, None, None):
        from keras_reprogram.asking.prediction_sets import checked_calibration

        rule = checked_calibration(model).rule(coverage, class_wise, abstain)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    named = "findings" if model.output_map.multi_label else "class"
    writer.writerow(("file", named, "probability", *(() if rule is None else _SET_COLUMNS)))
    every, unread = [], 0
    for image in _scored(model, rule, files, Progress(quiet)):
        if image.probabilities is None:
            name_bad_image(image.name, image.reason)
            unread += 1
            continue
        facts = _as_facts(image, class_names)
        if rule is not None and image.judged is not None:
            facts |= _set_facts(class_names, image.probabilities, image.judged)
        further = [_as_cell(facts[name]) for name in _SET_COLUMNS if name in facts]
        said = _as_cell(facts[named]) if named == "findings" else facts[named]
        writer.writerow((image.name, said, f"{facts['probability']:.4f}", *further))
        every.append(facts)
    if json_file is not None:
        write_json(json_file, every)
    if unread:
        typer.echo(f"{unread} of {len(files)} files could not be read.", err=True)
        raise typer.Exit(INPUT_ERROR)


def check_there(paths: list[Path]) -> None:
    """Raises a FileNotFoundError for the first path that leads nowhere."""
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}. Check the path.")


def image_files(paths: list[Path]) -> list[Path]:
    """Image files, and those below folders."""
    check_there(paths)
    from keras_reprogram.datasets.image_files import IMAGE_SUFFIXES, is_image_file

    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and is_image_file(p))
            if not inside:
                raise ValueError(
                    f"There is no image in the folder {path}. Expected files ending in "
                    f"{', '.join(sorted(IMAGE_SUFFIXES))}, DICOM or NIfTI files."
                )
            files += inside
        else:
            files.append(path)
    return files


def _scored(
    model: ReprogrammedModel, rule: SetRule | None, files: list[Path], progress: Progress
) -> Iterator[ScoredImage]:
    """Reads and asks a few images at a time: a folder need not fit into memory."""
    from keras_reprogram.datasets.listed_images import warn_of_squashed
    from keras_reprogram.scoring.inputs import ImageFiles
    from keras_reprogram.scoring.models import ProgramScorer

    scorer = ProgramScorer(model, rule)
    sizes: dict[str, tuple[int, int]] = {}
    done = 0
    with progress.bar("asking the source", len(files)) as update:
        read = ImageFiles(tuple(map(str, files))).read()
        for batch in scorer.score_all(_noting_sizes(read, sizes)):
            yield from batch
            # What was not asked was not stretched either.
            for image in batch:
                if image.probabilities is None:
                    sizes.pop(image.name, None)
            done += len(batch)
            update(done)
    height, width, _ = model.program.target_shape
    warn_of_squashed([*sizes.values()], (height, width), model.image_reading.fit, is_learned=True)


def _noting_sizes(
    images: Iterator[NamedImage], sizes: dict[str, tuple[int, int]]
) -> Iterator[NamedImage]:
    """Passes images on, and notes the `(height, width)` of each that has one, by its name."""
    from keras_reprogram.datasets.image_files import facts_of_content

    for image in images:
        # Whoever decodes it says why it cannot be read.
        with contextlib.suppress(ValueError):
            sizes[image.name] = facts_of_content(image.content, image.name).size
        yield image


def _as_facts(image: ScoredImage, class_names: list[str]) -> dict[str, Any]:
    row = image.as_row(class_names)
    del row["error"]
    row["probabilities"] = dict(zip(class_names, row["probabilities"], strict=True))
    return {"file": image.name, **row}


_SET_COLUMNS = ("set", "accepted", "foreign")


def _set_facts(
    class_names: list[str], probabilities: np.ndarray, judged: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The set's classes, the most probable first, and the flags."""
    order = (-probabilities).argsort(kind="stable")
    inside = [class_names[index] for index in order if judged["set"][index]]
    return {"set": inside, **{name: bool(judged[name]) for name in ("accepted", "foreign")}}


def _as_cell(value: list[str] | bool) -> str:
    return "|".join(value) if isinstance(value, list) else str(value).lower()
