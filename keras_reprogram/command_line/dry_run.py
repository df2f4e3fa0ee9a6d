"""What a training does to a paid service, tried on a fake one on this machine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_reprogram.command_line.console import Talk
from keras_reprogram.command_line.train_options import TrainOptions

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.source import Source

_IMAGES_A_REQUEST = 16


@dataclass(frozen=True)
class DryRun:
    """What came of it.

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
    talk: Talk,
    *,
    price_per_thousand: float | None,
    queries_per_second: float | None,
) -> DryRun:
    """Trains through a fake TF Serving that hosts the source, under a ledger and its budget.

    Args:
        source: what the fake answers with.
        data: the images that were drawn.
        options: the recipe's settings.
        seed: decides everything that is drawn.
        talk: shows progress.
        price_per_thousand: of 1,000 queries, or `None`.
        queries_per_second: that the service is said to allow, or `None`.

    Returns:
        A `DryRun`.

    Raises:
        BudgetSpentError: if the training asks more than was estimated.
        ImportError: if the extra `http` is not installed.
    """
    from keras_reprogram.command_line.estimate import reckon
    from keras_reprogram.command_line.recipe import train_seed
    from keras_reprogram.command_line.train_options import build_model
    from keras_reprogram.source import QueryLedger
    from keras_reprogram.source.query_budget import money_for
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
                hosted.labels,
                value_range=source.value_range,
                identity=f"dry run of {source.fingerprint}",
                ledger=ledger,
                images_per_request=_IMAGES_A_REQUEST,
                queries_per_second=queries_per_second,
                signature_name="image_bytes",
                input_format="encoded",
                scores=source.scores,
                score_step=source.score_step,
            )

        model = build_model(
            options, remote(None), data.target_shape, data.class_names, seed, data.target_range
        )
        allowed = reckon(model, data, options).total
        with QueryLedger(Path(folder) / "dry-run.ledger", allowed) as ledger:
            run = train_seed(remote(ledger), data, options, seed, talk, lambda model: None)
    return DryRun(fake.bill, allowed, money_for(fake.bill, price_per_thousand), run.result.accuracy)
