"""`keras-reprogram score`: many images through an export, in shards, resumable."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_reprogram.command_line.console import (
    INPUT_ERROR,
    INTERRUPTED,
    Progress,
    name_bad_image,
    with_exit_codes,
)
from keras_reprogram.command_line.options import Opaque, Quiet, check_folder
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import check_source, resolve_source
from keras_reprogram.scoring.choices import (
    BAD,
    DEFAULT_COLUMN,
    DEFAULT_FEATURE,
    DEFAULT_SHARD_SIZE,
    RowFormat,
)
from keras_reprogram.source.errors import SourceError

if TYPE_CHECKING:
    from keras_reprogram.source import Source


@with_exit_codes
@with_source_settings
def score(
    *,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A version folder that export wrote, such as saved_models/NAME/1, or a "
            ".reprogram file.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Image files, TFRecords or Parquet files: paths, folders, or globs in quotes.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="A new folder for the scores, or that of the same command to go on with it.",
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="For a .reprogram file: the source that it was trained on, named as for train. "
            "Python code (FILE.py:NAME) must give it a ledger.",
        ),
    ] = None,
    opaque: Opaque = False,
    settings: SourceSettings,
    rows: Annotated[
        RowFormat, typer.Option("--format", metavar="FORMAT", help="jsonl or parquet.")
    ] = RowFormat.JSONL,
    feature: Annotated[
        str,
        typer.Option(metavar="NAME", help="Feature of TFRecords that holds the encoded image."),
    ] = DEFAULT_FEATURE,
    column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Column of Parquet files that holds encoded images, or their paths seen from the "
            "file's folder.",
        ),
    ] = DEFAULT_COLUMN,
    shard_size: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Images per file of scores: what a killed run does again."
        ),
    ] = DEFAULT_SHARD_SIZE,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Images per call of the model. [default: as suits it, at most 64]",
        ),
    ] = None,
    beam: Annotated[
        str | None,
        typer.Option(
            metavar="OPTIONS",
            help="Run the shards with Apache Beam and these pipeline options, in quotes, such as "
            "'--runner=DirectRunner --direct_num_workers=2'. [default: on this machine, without "
            "Beam]",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score any number of images.

    Writes the class and all probabilities of each image to DIR/scores. An image that cannot be read
    is named on stderr and in DIR/bad, the others are scored, and the command ends with status 2.
    Repeat a command that was stopped or killed: it does only what is missing. Example:

    keras-reprogram score saved_models/digits/1 photos/ --output scores
    """
    check_folder(output)
    opener = _opener(source, opaque, settings)
    from keras_reprogram.scoring import score_images

    progress = Progress(quiet)
    try:
        with progress.bar("scoring", None) as update:
            result = score_images(
                model,
                images,
                output,
                source=opener,
                rows=rows,
                shard_size=shard_size,
                batch_size=batch_size,
                feature=feature,
                column=column,
                beam_options=None if beam is None else shlex.split(beam),
                progress=update,
            )
    except KeyboardInterrupt:
        typer.echo("\nStopped. Finished shards are kept: repeat the command to go on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except SourceError as error:
        raise ValueError(f"{error} Finished shards are kept.") from error
    progress.note(f"{result.num_images:,} images, {result.num_new:,} of them in this run.")
    print(result.output)
    for name, reason in result.bad_images():
        name_bad_image(name, reason)
    if result.num_bad:
        counts = f"{result.num_bad:,} of {result.num_images:,} images"
        typer.echo(f"{counts} could not be scored: see {result.output / BAD}.", err=True)
        raise typer.Exit(INPUT_ERROR)


def _opener(
    source: str | None, opaque: bool, settings: SourceSettings
) -> functools.partial[Source] | None:
    if source is None:
        settings.refuse("a model", "they describe the source that --source names")
        if opaque:
            raise ValueError(
                "--opaque is for --source. Received: --opaque without it. Leave it out."
            )
        return None
    check_source(source)
    return functools.partial(open_source, source, opaque, settings)


def open_source(source: str, opaque: bool, settings: SourceSettings) -> Source:
    """The source that the options name; workers of Beam find this function by its name."""
    return resolve_source(source, opaque=opaque, settings=settings).source
