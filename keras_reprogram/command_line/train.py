"""`keras-reprogram train`: learn a target task with a frozen or an opaque source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_reprogram.command_line.console import Progress, with_exit_codes
from keras_reprogram.command_line.source_settings import (
    DataFormat,
    ScoreOutput,
    Scores,
    ScoreStep,
    Signature,
    SourceSize,
    SumTolerance,
    ValueRange,
    read_settings,
)
from keras_reprogram.command_line.train_options import OutputMapKind, PlacementKind, TrainOptions


@with_exit_codes
def train(
    source: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="The classifier to re-use: traffic-signs (built in), an application of Keras "
            "such as MobileNetV2 or MobileNet:alpha=0.25,input_shape=128, a .keras or .tflite "
            "file, or a SavedModel folder.",
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="The task to learn: digits, mnist, fashion_mnist, cifar10, cifar100, gtsrb, "
            "ham10000, abide, aptos2019, squares_counting, a folder with a folder of images for "
            "each class, or a name in TensorFlow Datasets (tfds:NAME), caltech101_thesis included. "
            "Files are looked for in the folders that KERAS_REPROGRAM_DATA and TFDS_DATA_DIR name, "
            "else downloaded.",
        ),
    ],
    opaque: Annotated[
        bool,
        typer.Option("--opaque", help="Use the source's scores only, as if it were a web service."),
    ] = False,
    value_range: ValueRange = None,
    scores: Scores = None,
    sum_tolerance: SumTolerance = None,
    score_step: ScoreStep = None,
    score_output: ScoreOutput = None,
    signature: Signature = None,
    data_format: DataFormat = None,
    source_size: SourceSize = None,
    output_map: Annotated[
        OutputMapKind,
        typer.Option(
            metavar="MAP",
            help="How scores are read as classes: dense weighs all source labels, frequency, "
            "iterative (again after each epoch) and random assign some to each class, bayesian "
            "and bayesian-plus count how much each says, new-head replaces the last layer.",
        ),
    ] = OutputMapKind.DENSE,
    labels_per_class: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Source labels a class, for frequency, iterative and random. [default: 10]",
        ),
    ] = None,
    num_views: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Source images that one target image becomes. More cost more queries, for each "
            "prediction too, and help where the source has few labels.",
        ),
    ] = 1,
    placement: Annotated[
        PlacementKind,
        typer.Option(
            metavar="WHERE",
            help="views: the first view fills the source's canvas, others differ in size, place "
            "and colour. gentle-views: others are mirrored or zoomed, for colour images and "
            "sources of many labels. full: fills it. center: in its own size, the program around "
            "it.",
        ),
    ] = PlacementKind.VIEWS,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Side of the image on the canvas, for --placement center."
        ),
    ] = None,
    target_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Side that images of a folder get if they come in several sizes.",
        ),
    ] = None,
    train_images: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="Draw this many training images. [default: all]"),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw this many test images. [default: all]"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Epochs for the program, after the map was fitted. Without gradients they cost "
            "many queries. [default: 5, with --opaque 0]",
        ),
    ] = None,
    query_budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Learn from at most N queries, validation included: the map first, then better "
            "views, then the program while it pays. [default: one query an image and view]",
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Where some classes have few images: balanced lets every class count alike, "
            "melanoma=5,nevus=0.5 says what an image of a class counts (others 1). Training "
            "counts so, and so does everything that is chosen on validation.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9, metavar="RATE", help="For the program. [default: 0.02, with --opaque 0.01]"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Decides everything that is drawn.")
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Train with so many seeds, SEED and the next ones; the table shows the spread, "
            "the run folder keeps the first.",
        ),
    ] = 1,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for run folders.")] = Path(
        "runs"
    ),
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run folder; a number is added if it is taken. "
            "[default: TARGET-SOURCE]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run folder of that name instead.")
    ] = False,
    no_baseline: Annotated[
        bool,
        typer.Option(
            "--no-baseline",
            help="Leave out the comparison with no source at all, and with a linear head on the "
            "source's features.",
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Teach a classifier a new task.

    The classifier stays as it is. First the output map is fitted exactly on its answers to the
    training images. Where gradients can be had, a program over the images is trained too, and kept
    if it helps on a validation part. The test images are looked at once, in the end.

    The table shows accuracy, where some classes have many more images than others balanced accuracy
    beside it, and what it cost in queries (images shown to the source). A folder
    runs/NAME keeps the program, the figures and a report with pictures. Examples:

    keras-reprogram train --source traffic-signs --opaque --target digits

    keras-reprogram train --source MobileNetV2 --target my/class/folders
    """
    options = TrainOptions(
        output_map=output_map,
        labels_per_class=labels_per_class,
        num_views=num_views,
        placement=placement,
        image_size=image_size,
        epochs=epochs,
        learning_rate=learning_rate,
        query_budget=query_budget,
        class_weight=class_weight,
    )
    settings = read_settings(
        value_range=value_range,
        scores=scores,
        sum_tolerance=sum_tolerance,
        score_step=score_step,
        score_output=score_output,
        signature=signature,
        data_format=data_format,
        source_size=source_size,
    )
    from keras_reprogram.command_line.training_run import TrainConfig, run_training

    config = TrainConfig(
        source=source,
        target=target,
        opaque=opaque,
        settings=settings,
        target_size=target_size,
        train_images=train_images,
        test_images=test_images,
        seeds=tuple(range(seed, seed + seeds)),
        baseline=not no_baseline,
        options=options,
        output=output,
        name=name,
        overwrite=overwrite,
        json_file=json_file,
    )
    run_training(config, Progress(quiet))
