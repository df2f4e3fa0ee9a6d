"""score_images: shard after shard, each written whole; what is there is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_reprogram.scoring.choices import (
    BAD,
    DEFAULT_COLUMN,
    DEFAULT_FEATURE,
    DEFAULT_SHARD_SIZE,
    RowFormat,
)
from keras_reprogram.scoring.inputs import Listing, Shard, list_images
from keras_reprogram.scoring.job import ScoringJob
from keras_reprogram.scoring.models import ScoringModel, loaded, open_model
from keras_reprogram.scoring.output import (
    ScoreFolder,
    check_output,
    parquet_package,
    run_facts,
    start_output,
)

if TYPE_CHECKING:
    from keras_reprogram.source import Source


@dataclass(frozen=True)
class ScoringResult:
    """What `score_images` did.

    Args:
        output: the folder.
        num_images: images in the input.
        num_bad: images that could not be scored; `output/bad` names them with their reasons.
        num_new: images that this call worked on; an earlier one did the others.
    """

    output: Path
    num_images: int
    num_bad: int
    num_new: int

    def bad_images(self) -> Iterator[tuple[str, str]]:
        """Name and reason of each image that could not be scored, from `output/bad`."""
        for file in sorted((self.output / BAD).glob("part-*.jsonl")):
            with file.open(encoding="utf-8") as lines:
                for row in map(json.loads, lines):
                    yield row["image"], row["reason"]


def score_images(
    model: str | Path,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    source: Callable[[], Source] | None = None,
    rows: str = RowFormat.JSONL,
    shard_size: int = DEFAULT_SHARD_SIZE,
    batch_size: int | None = None,
    feature: str = DEFAULT_FEATURE,
    column: str = DEFAULT_COLUMN,
    beam_options: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScoringResult:
    """Scores image files, TFRecords or Parquet tables; any number of images.

    The images are cut into shards. Each shard's scores are written whole, to
    `output/scores/part-N.jsonl` (or `.parquet`) with the columns image, class, probability and
    probabilities (one for each of `class_names` in `output/score.json`). Images that cannot be
    read are set aside in `output/bad/part-N.jsonl` with their reason. A call that was killed is
    repeated as it was: it works only on the shards that are missing, so that each image is once
    in `scores` or `bad`.

    Args:
        model: a version folder that `export_saved_model` wrote, or a program file.
        images: files, folders or globs: all image files, all TFRecords or all Parquet files.
        output: a new folder, or that of the same run.
        source: with a program file, a function without arguments that makes its source. One that
            runs as Python code must have a ledger, which answers again what was paid for. For
            `beam_options` the function must be one that can be pickled.
        rows: `"jsonl"` or `"parquet"`.
        shard_size: images a shard, at least 1.
        batch_size: images a call of the model; `None` for what suits it, at most 64.
        feature: of a TFRecord's `tf.Example`, holds the encoded image.
        column: of a Parquet table, holds encoded images, or paths seen from the table's folder.
        beam_options: run the shards with Apache Beam and these pipeline options, such as
            `["--runner=DirectRunner"]` (extra `beam`); `None` runs them here, one after the other.
            All workers must see the model, the images and the output under the same paths.
        progress: is called with the images that are done and their total.

    Returns:
        A `ScoringResult`.

    Raises:
        FileNotFoundError: if there is no model or no image at a path.
        ValueError: for a model that does not score image files, an input without images or of
            several kinds, or an output of another run.
        ImportError: if an extra is missing; it names the command that installs it.

    Example:
    ```python
    from keras_reprogram.scoring import score_images

    help(score_images)
    # score_images("saved_models/digits/1", "photos", "scores", rows="parquet")
    ```
    """
    if rows not in tuple(RowFormat):
        raise ValueError(f"`rows` must be one of {', '.join(RowFormat)}. Received: {rows!r}.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size}.")
    form = RowFormat(rows)
    if form == RowFormat.PARQUET:
        parquet_package()
    if beam_options is not None:
        from keras_reprogram.scoring.beam import run_with_beam
    named = open_model(model, source)
    inputs = [images] if isinstance(images, str | Path) else list(images)
    listing = list_images(inputs, shard_size=shard_size, feature=feature, column=column)
    folder = _open_output(named, listing, Path(output).expanduser(), form, shard_size)
    missing = [shard for shard in listing.shards if not folder.has(shard.number)]
    num_new = sum(len(shard.part) for shard in missing)
    report = progress or (lambda done, total: None)
    job = ScoringJob(named, folder, batch_size)
    if missing and beam_options is not None:
        run_with_beam(job, missing, beam_options, listing, report)
    elif missing:
        _run_here(job, missing, listing.num_images, report)
    num_bad = sum(folder.num_bad(shard.number) for shard in listing.shards)
    return ScoringResult(Path(folder.path), listing.num_images, num_bad, num_new)


def _open_output(
    model: ScoringModel, listing: Listing, path: Path, form: RowFormat, shard_size: int
) -> ScoreFolder:
    images = {
        "kind": str(listing.kind),
        "images": listing.num_images,
        "shards": len(listing.shards),
        "shard_size": shard_size,
        "digest": listing.digest,
    }
    facts = run_facts({"path": model.path, "fingerprint": model.fingerprint}, images, form)
    is_there = check_output(path, facts)
    folder = ScoreFolder(str(path), form, model.class_names)
    if not is_there:
        start_output(folder, facts)
    return folder


def _run_here(
    job: ScoringJob,
    shards: Sequence[Shard],
    num_images: int,
    report: Callable[[int, int], None],
) -> None:
    scorer = loaded(job.model)
    done = num_images - sum(len(shard.part) for shard in shards)
    report(done, num_images)
    for shard in shards:
        before = done

        def report_within(images: int, before: int = before) -> None:
            report(before + images, num_images)

        done += job.score(shard, scorer, report_within)
