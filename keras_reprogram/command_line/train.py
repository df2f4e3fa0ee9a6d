"""`keras-reprogram train`: learn a target task with a frozen or an opaque source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_reprogram.command_line.beside import Beside, check_beside
from keras_reprogram.command_line.console import Progress, with_exit_codes
from keras_reprogram.command_line.options import (
    Abstain,
    ClassWise,
    Coverage,
    JsonFile,
    Opaque,
    Quiet,
    SourceName,
    TargetName,
    TargetSize,
    TestImages,
    TrainImages,
    check_folder,
)
from keras_reprogram.command_line.run_folder import check_json_path, check_run_name
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import check_source
from keras_reprogram.command_line.target_settings import TargetSettings, with_target_settings
from keras_reprogram.command_line.train_options import (
    Epochs,
    NumViews,
    OutputMapKind,
    OutputMapOption,
    PlacementKind,
    PlacementOption,
    QueryBudget,
    TrainOptions,
    WarnAt,
)


@with_exit_codes
@with_source_settings
@with_target_settings
def train(
    *,
    source: SourceName,
    target: TargetName,
    opaque: Opaque = False,
    settings: SourceSettings,
    beside: Beside = None,
    output_map: OutputMapOption = OutputMapKind.DENSE,
    labels_per_class: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Source labels per class, for frequency, iterative and random. [default: 10]",
        ),
    ] = None,
    num_views: NumViews = 1,
    placement: PlacementOption = PlacementKind.VIEWS,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Side of the image on the canvas, for --placement center."
        ),
    ] = None,
    target_size: TargetSize = None,
    target_settings: TargetSettings,
    train_images: TrainImages = None,
    test_images: TestImages = None,
    epochs: Epochs = None,
    query_budget: QueryBudget = None,
    warn_at: WarnAt = None,
    class_weight: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Weights for skewed classes: balanced gives all classes the same total weight, "
            "melanoma=5,nevus=0.5 sets the weight of a class's images (others 1), and of several "
            "findings of the images that have one. They apply to training and to validation.",
        ),
    ] = None,
    calibrate: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Hold out this share of the training images and calibrate on them: the run then "
            "says how sure it is, which classes an image may have, and which images are none of "
            "these. It costs one query per held-out image and view. [default: none]",
        ),
    ] = None,
    coverage: Coverage = None,
    class_wise: ClassWise = None,
    abstain: Abstain = None,
    ordinal: Annotated[
        bool,
        typer.Option(
            "--ordinal",
            help="The classes are grades, in the order of their names: the exact fit also tries "
            "forms that know the order, and keeps one if it wins on held-out images. The table "
            "shows the quadratic weighted kappa.",
        ),
    ] = False,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            metavar="RATE",
            help="Learning rate of the program. [default: 0.02, with --opaque 0.01]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of all random draws.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Train with N seeds, from SEED on; the table shows the spread, the run folder "
            "keeps the first.",
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
            help="Skip the baselines: no source, and a linear head on the source's features.",
        ),
    ] = False,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Teach a classifier a new task.

    The classifier does not change. First the output map is fitted exactly on its answers to the
    training images. If the source has gradients, a program over the images is trained too, and kept
    if it improves a validation part. The test images are used once, at the end.

    The table shows accuracy, balanced accuracy if classes are skewed, mean AUC and F1 if images
    have several findings, and the cost in queries (images shown to the source). A folder runs/NAME
    keeps the program, the figures and a report with pictures. Examples:

    keras-reprogram train --source traffic-signs --opaque --target digits

    keras-reprogram train --source MobileNetV2 --target my/class/folders

    keras-reprogram train --source api.py:source --target my/class/folders --beside
    pixels,MobileNetV2
    """
    if calibrate is None and (coverage, class_wise, abstain) != (None, None, None):
        raise ValueError(
            "--coverage, --class-wise and --abstain are for --calibrate. Received: none. Add "
            "--calibrate 0.2."
        )
    options = TrainOptions(
        output_map=output_map,
        labels_per_class=labels_per_class,
        num_views=num_views,
        placement=placement,
        image_size=image_size,
        epochs=epochs,
        learning_rate=learning_rate,
        query_budget=query_budget,
        warn_at=warn_at,
        class_weight=class_weight,
        calibrate=calibrate,
        coverage=0.9 if coverage is None else coverage,
        class_wise=bool(class_wise),
        abstain=0.05 if abstain is None else abstain,
        beside=beside,
        ordinal=ordinal,
    )
    check_json_path(json_file)
    check_folder(output)
    if name is not None:
        check_run_name(name)
    check_source(source)
    check_beside(beside)
    target_settings.check(target)
    from keras_reprogram.command_line.training_run import TrainConfig, run_training

    config = TrainConfig(
        source=source,
        target=target,
        opaque=opaque,
        settings=settings,
        target_size=target_size,
        target_settings=target_settings,
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
