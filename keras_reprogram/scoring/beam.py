"""Apache Beam: the shards of a run on any runner, and a handler for pipelines of one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.scoring.inputs import Listing, NamedImage, Shard
from keras_reprogram.scoring.job import ScoringJob
from keras_reprogram.scoring.models import BatchScorer, open_model

with needs_extra("apache-beam", "beam"):
    import apache_beam as beam
    from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
    from apache_beam.options.pipeline_options import PipelineOptions


class VersionFolderHandler(ModelHandler[bytes, PredictionResult, BatchScorer]):
    """A `ModelHandler` of Apache Beam's RunInference for an exported version folder.

    Elements are encoded images (`bytes`); around it, Beam's `KeyedModelHandler` keeps names beside
    them. Each becomes a `PredictionResult` whose `inference` is a dictionary of `class`,
    `probability`, `probabilities` and `error`: an image that cannot be read has an `error`, and
    `None` for the others. Beam's own TensorFlow handler reads neither these folders nor `.keras`
    files that Keras 3 wrote.

    Args:
        folder: the version folder, under a path that all workers see.
        max_batch_size: images a call of the model.

    Raises:
        ImportError: on import of the module, if Apache Beam is missing.
        ValueError: for a folder that is no export of image files.

    Example:
    ```python
    import apache_beam as beam
    from apache_beam.ml.inference.base import RunInference
    from keras_reprogram.scoring.beam import VersionFolderHandler

    def classes(folder, images):
        with beam.Pipeline() as pipeline:
            answers = pipeline | beam.Create(images) | RunInference(VersionFolderHandler(folder))
            answers | beam.Map(lambda answer: print(answer.inference["class"]))
    ```
    """

    def __init__(self, folder: str | Path, *, max_batch_size: int = 64) -> None:
        super().__init__()
        self._model = open_model(folder)
        self._max_batch_size = max_batch_size

    def load_model(self) -> BatchScorer:
        """Loads the folder, once a process."""
        return self._model.load()

    def run_inference(
        self,
        batch: Sequence[bytes],
        model: BatchScorer,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Scores a batch of encoded images."""
        del inference_args
        images = [NamedImage(f"image {number}", content) for number, content in enumerate(batch)]
        for image, scored in zip(batch, model.score(images), strict=True):
            yield PredictionResult(image, scored.as_row(model.class_names))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """How Beam forms batches."""
        return {"max_batch_size": self._max_batch_size}


class _ShardHandler(ModelHandler[Shard, int, BatchScorer]):
    """Scores whole shards and writes their files, so that RunInference holds the model."""

    def __init__(self, job: ScoringJob) -> None:
        super().__init__()
        self._job = job

    def load_model(self) -> BatchScorer:
        return self._job.model.load()

    def run_inference(
        self,
        batch: Sequence[Shard],
        model: BatchScorer,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[int]:
        del inference_args
        # A bundle that Beam repeats finds the shards that it wrote before.
        return [
            0 if self._job.folder.has(shard.number) else self._job.score(shard, model)
            for shard in batch
        ]

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"min_batch_size": 1, "max_batch_size": 1}


def run_with_beam(
    job: ScoringJob,
    shards: Sequence[Shard],
    options: Sequence[str],
    listing: Listing,
    report: Callable[[int, int], None],
) -> None:
    """Runs shards as a pipeline, and waits for it."""
    with (
        _watching(job, listing, report),
        beam.Pipeline(options=PipelineOptions(list(options))) as pipeline,
    ):
        numbered = pipeline | "shards" >> beam.Create(list(shards))
        spread = numbered | "spread" >> beam.Reshuffle()
        _ = spread | "score" >> RunInference(_ShardHandler(job))


_SECONDS_BETWEEN_LOOKS = 2.0


@contextmanager
def _watching(
    job: ScoringJob, listing: Listing, report: Callable[[int, int], None]
) -> Iterator[None]:
    """Reports progress by the files that appear: workers may be other machines."""
    ended = threading.Event()
    waiting = {shard.number: len(shard.part) for shard in listing.shards}
    total = listing.num_images

    def look() -> None:
        for number in [number for number in waiting if job.folder.has(number)]:
            del waiting[number]
        report(total - sum(waiting.values()), total)

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            look()

    look()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()
