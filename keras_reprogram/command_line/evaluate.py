"""`keras-reprogram evaluate`: measure a training run again, on its own or on other images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.console import Talk, facts_table, print_table
from keras_reprogram.command_line.exit_codes import with_exit_codes
from keras_reprogram.command_line.json_file import check_json_path, write_json
from keras_reprogram.command_line.run_folder import Run, read_run

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.report import ClassificationMetrics


@with_exit_codes
def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that train left, as runs/NAME.")
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Other images of the same classes, named as for train; their test part is "
            "measured. [default: the run's own test images]",
        ),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw this many test images. [default: all]"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Measure a training run again.

    Shows accuracy, balanced accuracy, AUC, and sensitivity and specificity of each class. Example:

    keras-reprogram evaluate runs/digits-traffic-signs
    """
    check_json_path(json_file)
    opened = read_run(run)
    talk = Talk(quiet)
    data = _images(opened, target, test_images)
    talk.note("\n".join((data.origin, *data.notes)))
    metrics, queries = _measure(opened, data, talk)
    _print(opened, data, metrics, queries)
    if json_file is not None:
        facts = {"run": str(opened.folder), "origin": data.origin, "notes": list(data.notes)}
        write_json(json_file, {**facts, "queries": queries, **metrics.to_dict()})


def _images(run: Run, target: str | None, test_images: int | None) -> TargetData:
    from keras_reprogram.datasets import load_target
    from keras_reprogram.datasets.target_data import Draw

    if target is None:
        data = run.load_target()
        return data if test_images is None else data.draw(None, test_images, run.facts["seed"])
    height, width, _ = run.facts["target"]["target_shape"]
    learned = run.target_range
    data = load_target(
        target,
        image_size=(height, width),
        seed=run.facts["seed"],
        target_range=learned,
        draw=Draw(None, test_images, run.facts["seed"]),
    )
    if learned is not None and data.target_range != learned:
        raise ValueError(
            f"--target must have images in the range that the run learned, {learned[0]:g}.."
            f"{learned[1]:g}. Received: {data.target_range[0]:g}..{data.target_range[1]:g}. Give "
            "the images as a folder of files, which are read in the run's range."
        )
    expected = tuple(run.facts["target"]["class_names"])
    if data.class_names != expected:
        raise ValueError(
            f"--target must have the classes that the run learned, {', '.join(expected)}. "
            f"Received: {', '.join(data.class_names)}. Train a run for these."
        )
    return data


def _measure(run: Run, data: TargetData, talk: Talk) -> tuple[ClassificationMetrics, int]:
    from keras_reprogram.command_line.asking import predict
    from keras_reprogram.report import classification_metrics

    model = run.load_model(run.open_source())
    probabilities = predict(model, data.test_images, talk, "asking the source")
    metrics = classification_metrics(data.test_labels, probabilities, data.class_names)
    return metrics, model.queries_used


def _print(run: Run, data: TargetData, metrics: ClassificationMetrics, queries: int) -> None:
    low, high = metrics.accuracy_interval
    overall: dict[str, Any] = {
        "test images": metrics.num_examples,
        "accuracy": f"{metrics.accuracy:.3f} (95 %: {low:.3f} to {high:.3f})",
        "balanced accuracy": f"{metrics.balanced_accuracy:.3f}",
        "AUC": None if metrics.auc is None else f"{metrics.auc:.3f}",
        "queries": queries,
    }
    for entry in metrics.classes:
        if entry.sensitivity is not None and entry.specificity is not None:
            overall[entry.name] = (
                f"sensitivity {entry.sensitivity:.3f}, specificity {entry.specificity:.3f}, "
                f"{entry.support:,} images"
            )
    print_table(facts_table(f"{run.folder.name} on {data.name}", overall))
