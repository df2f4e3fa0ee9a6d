"""`keras-reprogram estimate`: queries, price and hours of `train`, before anything is spent."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.beside import Beside, check_beside
from keras_reprogram.command_line.console import Progress, facts_table, print_table, with_exit_codes
from keras_reprogram.command_line.options import (
    JsonFile,
    Opaque,
    Price,
    SourceName,
    TargetName,
    TargetSize,
    TestImages,
    TrainImages,
)
from keras_reprogram.command_line.run_folder import check_json_path, write_json
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import check_source, resolve_source
from keras_reprogram.command_line.target_settings import (
    TargetSettings,
    with_target_settings,
)
from keras_reprogram.command_line.train_options import (
    Epochs,
    NumViews,
    OutputMapKind,
    OutputMapOption,
    PlacementKind,
    PlacementOption,
    QueryBudget,
    TrainOptions,
    build_model,
)

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.opaque.query_estimate import QueryEstimate
    from keras_reprogram.source import Source


@with_exit_codes
@with_source_settings
@with_target_settings
def estimate(
    *,
    source: SourceName,
    target: TargetName,
    opaque: Opaque = False,
    settings: SourceSettings,
    beside: Beside = None,
    output_map: OutputMapOption = OutputMapKind.DENSE,
    num_views: NumViews = 1,
    placement: PlacementOption = PlacementKind.VIEWS,
    target_size: TargetSize = None,
    target_settings: TargetSettings,
    train_images: TrainImages = None,
    test_images: TestImages = None,
    epochs: Epochs = None,
    query_budget: QueryBudget = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Seed, as for train. With --seeds N, train asks about N times as much.",
        ),
    ] = 0,
    price: Price = None,
    per_second: Annotated[
        float | None,
        typer.Option(min=1e-9, metavar="N", help="Queries per second that the source allows."),
    ] = None,
    try_it: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Train against a fake service on this machine and report its bill."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Show the queries and the price of train without asking the source.

    Counts queries (images shown to the source) for the map, for choosing views, for training the
    program, for validation and for the test images. Example:

    keras-reprogram estimate --source MobileNetV2 --opaque --target cifar10 --train-images 2000
    --num-views 4 --price 1.5 --per-second 10 --dry-run
    """
    check_json_path(json_file)
    options = TrainOptions(
        output_map=output_map,
        num_views=num_views,
        placement=placement,
        epochs=epochs,
        query_budget=query_budget,
        beside=beside,
    )
    check_source(source)
    check_beside(beside)
    from keras_reprogram.datasets.target_data import Draw
    from keras_reprogram.datasets.text_table import cut_texts

    draw = Draw(train_images, test_images, seed)
    data = target_settings.load(target, draw, image_size=target_size, seed=seed)
    if data.is_multi_label:
        options.check_findings()
    features = output_map == OutputMapKind.NEW_HEAD
    resolved = resolve_source(source, opaque=opaque, settings=settings, features=features).source
    data = cut_texts(data, resolved.source_shape[0])
    model = _model(options, resolved, data, seed)
    found = replace(
        train_queries(model, data, options), price_per_thousand=price, queries_per_second=per_second
    )
    title = f"{data.name} from {source}: {len(data.train_labels):,} training images"
    rows: dict[str, object] = {
        f"queries, {name}": queries for name, queries in found.rows().items()
    }
    money = None if found.money is None else f"{found.money:.2f}"
    hours = None if found.hours is None else f"{found.hours:.2f}"
    rows |= {"queries per prediction": num_views, "price": money, "hours": hours}
    print_table(facts_table(title, rows))
    figures = found.to_dict()
    if try_it:
        tried = dry_run(
            resolved,
            data,
            options,
            seed,
            Progress(quiet=False),
            price_per_thousand=price,
            queries_per_second=per_second,
        )
        figures["dry_run"] = asdict(tried)
        print_table(facts_table("Dry run against a fake service", _shown(tried)))
    if json_file is not None:
        write_json(json_file, figures)


def _model(options: TrainOptions, source: Source, data: TargetData, seed: int) -> ReprogrammedModel:
    return build_model(
        options,
        source,
        data.target_shape,
        data.class_names,
        seed,
        data.target_range,
        multi_label=data.is_multi_label,
        vocabulary=None if data.texts is None else data.texts.vocabulary,
        num_texts=len(data.train_labels),
    )


def _shown(tried: DryRun) -> dict[str, object]:
    money = None if tried.money is None else f"{tried.money:.2f}"
    return {
        "queries on its bill": tried.billed,
        "queries estimated": tried.allowed,
        "price": money,
        "test accuracy": f"{tried.accuracy:.3f}",
    }


def train_queries(
    model: ReprogrammedModel, data: TargetData, options: TrainOptions
) -> QueryEstimate:
    """Plans the queries of `train`; exact for a given number of epochs.

    Within a budget, steps may end earlier; and test images are asked once less where no epoch is
    better than the map alone.
    """
    from keras_reprogram.command_line.validation_rows import learned_and_held, planned_epochs
    from keras_reprogram.opaque.query_estimate import QueryEstimate

    learned, held = data.learned(), learned_and_held(data).held
    labels, groups = learned.train_labels, learned.train_groups
    test = len(data.test_labels) * model.queries_per_prediction
    epochs = options.resolved_epochs(model.source)
    if options.query_budget is not None:
        found = model.estimate_queries(
            len(labels),
            recipe="fit_opaque",
            query_budget=options.query_budget,
            num_validation=len(held) or None,
            y=labels,
            groups=groups,
        )
    elif epochs:
        found = planned_epochs(model, data, epochs).estimate()
        # The map alone, and the program if an epoch of it was kept.
        test *= 2
    elif model.output_map.trains:
        found = model.estimate_queries(len(labels))
    else:
        found = QueryEstimate(per_prediction=model.queries_per_prediction)
    return replace(found, test=test)


_IMAGES_A_REQUEST = 16


@dataclass(frozen=True)
class DryRun:
    """Result of a dry run.

    Args:
        billed: images on the fake service's own bill.
        allowed: queries that the ledger would have let through, the estimate.
        money: what the bill costs, or `None` without a price.
        accuracy: on the test images.
    """

    billed: int
    allowed: int
    money: float | None
    accuracy: float


def dry_run(
    source: Source,
    data: TargetData,
    options: TrainOptions,
    seed: int,
    progress: Progress,
    *,
    price_per_thousand: float | None,
    queries_per_second: float | None,
) -> DryRun:
    """Trains through a fake TF Serving that hosts the source, under a ledger and its budget."""
    from keras_reprogram.command_line.seed_run import train_seed
    from keras_reprogram.source import QueryLedger
    from keras_reprogram.source.ledger.query_ledger import money_for
    from keras_reprogram.source.remote import TFServingSource
    from keras_reprogram.testing import FakeTFServing, HostedModel

    hosted = HostedModel.of(source)
    with (
        FakeTFServing(hosted, "dry-run") as fake,
        tempfile.TemporaryDirectory() as folder,
    ):

        def remote(ledger: Any) -> TFServingSource:
            return TFServingSource(
                fake.address,
                "dry-run",
                source.source_shape,
                hosted.class_names,
                value_range=source.value_range,
                identity=f"dry run of {source.fingerprint}",
                ledger=ledger,
                images_per_request=_IMAGES_A_REQUEST,
                queries_per_second=queries_per_second,
                signature_name="image_bytes",
                input_format="encoded",
                score_kind=source.score_kind,
                score_step=source.score_step,
            )

        model = _model(options, remote(None), data, seed)
        allowed = train_queries(model, data, options).total
        with QueryLedger(Path(folder) / "dry-run.ledger", allowed) as ledger:
            run = train_seed(remote(ledger), data, options, seed, progress, lambda model: None)
    return DryRun(fake.bill, allowed, money_for(fake.bill, price_per_thousand), run.result.accuracy)
