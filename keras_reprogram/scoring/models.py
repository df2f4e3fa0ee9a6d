"""What can score images: an exported version folder, or a program file beside its source."""

from __future__ import annotations

import abc
import functools
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.asking.images import rows_per_batch
from keras_reprogram.datasets.image_files import PICTURE_RANGE, decode_image
from keras_reprogram.scoring.inputs import NamedImage, batches
from keras_reprogram.scoring.output import ScoredImage

if TYPE_CHECKING:
    from keras_reprogram.fitting.calibration import SetRule
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.source import Source

# Where `export` writes it; the module that says so imports TensorFlow.
FACTS_FILE = "assets.extra/keras_reprogram.json"
FINDINGS_OF_FILES = "findings_of_files"
_PROGRAM_SUFFIX = ".reprogram"


class BatchScorer(abc.ABC):
    """A loaded model that scores batches of encoded images.

    Attributes:
        class_names: one for each score.
        rows_at_once: images a batch that suit the model.
    """

    class_names: tuple[str, ...]
    rows_at_once: int

    def score(self, images: Sequence[NamedImage]) -> list[ScoredImage]:
        """Probabilities of each image, or a reason, in order."""
        readable = [image for image in images if not image.reason]
        answers = iter(self.score_contents(readable))
        return [
            ScoredImage(image.name, None, image.reason) if image.reason else next(answers)
            for image in images
        ]

    def score_all(
        self, images: Iterator[NamedImage], batch_size: int | None = None
    ) -> Iterator[list[ScoredImage]]:
        """The same for any number of images, by batches; the next one is read meanwhile."""
        return map(self.score, batches(images, batch_size or self.rows_at_once))

    @abc.abstractmethod
    def score_contents(self, images: Sequence[NamedImage]) -> list[ScoredImage]:
        """The same for images with content."""


class ScoringModel(abc.ABC):
    """Names a model on the disk; small, and can be pickled."""

    path: str

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Digest of the files; equal only for equal models."""

    @property
    @abc.abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """A name for each score."""

    @abc.abstractmethod
    def load(self) -> BatchScorer:
        """Loads it; takes seconds."""


def open_model(path: str | Path, source: Callable[[], Source] | None = None) -> ScoringModel:
    """The model at a path; a ValueError or FileNotFoundError where there is none that scores."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"There is no model {path}. Expected a version folder that export wrote, such as "
            "saved_models/NAME/1, or a .reprogram file."
        )
    if path.suffix == _PROGRAM_SUFFIX and path.is_file():
        if source is None:
            raise ValueError(
                f"A program file needs the source that it was trained on. Received: {path} "
                "without one. Add --source NAME|PATH."
            )
        return ProgramFile(str(path), source)
    if source is not None:
        raise ValueError(
            f"--source is for a .reprogram file. Received: {path}, beside a source. Leave the "
            "source out: an export has it inside."
        )
    _export_facts(path)
    return VersionFolder(str(path))


@dataclass(frozen=True)
class VersionFolder(ScoringModel):
    """A version folder that `export_saved_model` wrote."""

    path: str

    @property
    def fingerprint(self) -> str:
        folder, digest = Path(self.path), hashlib.sha256()
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(_export_facts(Path(self.path))["class_names"])

    def load(self) -> BatchScorer:
        return _ExportedScorer(Path(self.path))


@dataclass(frozen=True)
class ProgramFile(ScoringModel):
    """A program file, and a function without arguments that makes its source."""

    path: str
    source: Callable[[], Source]

    @property
    def fingerprint(self) -> str:
        # The file holds the fingerprint of its source, which `load_program` checks.
        return hashlib.sha256(Path(self.path).read_bytes()).hexdigest()

    @property
    def class_names(self) -> tuple[str, ...]:
        from keras_reprogram.model.program_file import read_description

        described = read_description(self.path)
        numbers = range(described["output_map"]["config"]["num_classes"])
        return tuple(str(name) for name in described["class_names"] or numbers)

    def load(self) -> BatchScorer:
        from keras_reprogram.model.program_file import load_program

        source = self.source()
        if source.costs_queries and getattr(source, "ledger", None) is None:
            raise ValueError(
                "A source that runs as Python code must have a ledger, or a run that is killed and "
                f"started again would ask it twice. Received: a {type(source).__name__} without "
                'one. Make it with `ledger=QueryLedger("queries.ledger")`.'
            )
        return ProgramScorer(load_program(self.path, source))


_loading = threading.Lock()


def loaded(model: ScoringModel) -> BatchScorer:
    """The scorer of a model; that of a version, which nobody replaces, is loaded once a process."""
    if not isinstance(model, VersionFolder):
        return model.load()
    with _loading:
        return _loaded(model)


@functools.lru_cache(maxsize=1)
def _loaded(model: VersionFolder) -> BatchScorer:
    return model.load()


def _export_facts(folder: Path) -> dict[str, Any]:
    """Facts of an export that takes image files."""
    if not (folder / "saved_model.pb").is_file():
        inside = sorted(str(file.parent) for file in folder.glob("*/saved_model.pb"))
        way = f"Choose one of: {', '.join(inside)}." if inside else "Check the path."
        if (folder / "run.json").is_file():
            way = f"It is a run folder: export it first (keras-reprogram export {folder})."
        raise ValueError(
            "The model must be a version folder that export wrote, or a .reprogram file. "
            f"Received: {folder}. {way}"
        )
    file = folder / FACTS_FILE
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if "image_bytes" not in facts.get("signatures", ()) or facts.get("half"):
        raise ValueError(
            "The model must be a whole export that takes image files (signature image_bytes). "
            f"Received: {folder}, which is none. Export a run with a target range and 1 or 3 "
            "channels (keras-reprogram export RUN)."
        )
    return facts


class _ExportedScorer(BatchScorer):
    """Calls the signature `image_bytes`."""

    def __init__(self, folder: Path) -> None:
        from keras_reprogram.serving.servable import ExportedServable

        facts = _export_facts(folder)
        self.class_names = tuple(facts["class_names"])
        self.rows_at_once = rows_per_batch(facts["num_views"], facts["source"]["source_shape"])
        self._shape, self._range = tuple(facts["target_shape"]), tuple(facts["target_range"])
        self._reading = ImageReading.from_facts(facts.get("image_reading"))
        self._servable = ExportedServable(folder, 1)
        # Of several findings there are signatures that say which are found.
        self._several = FINDINGS_OF_FILES in facts["signatures"]

    def score_contents(self, images: Sequence[NamedImage]) -> list[ScoredImage]:
        from keras_reprogram.serving import ServingError
        from keras_reprogram.serving.tensors import array_of_texts

        if not images:
            return []
        contents = array_of_texts([image.content for image in images])
        try:
            signature = FINDINGS_OF_FILES if self._several else "image_bytes"
            answer = self._servable.run(signature, {"image_bytes": contents})
        except ServingError:
            # One bad image fails all of its batch; halves find it, and leave the others alike.
            if len(images) == 1:
                return [self._alone(images[0])]
            half = len(images) // 2
            return self.score_contents(images[:half]) + self.score_contents(images[half:])
        return self._scored(images, answer)

    def _scored(
        self, images: Sequence[NamedImage], answer: dict[str, np.ndarray]
    ) -> list[ScoredImage]:
        found = answer.get("findings", [None] * len(images))
        return [
            ScoredImage(image.name, row, "", None if one is None else {"findings": one})
            for image, row, one in zip(images, answer["scores"], found, strict=True)
        ]

    def _alone(self, image: NamedImage) -> ScoredImage:
        """An image that the graph does not decode: Python knows more formats, or says why not."""
        pixels = _decoded(image, self._shape, self._range, self._reading)
        if isinstance(pixels, str):
            return ScoredImage(image.name, None, pixels)
        inputs = {"image": pixels[None].astype(np.float32)}
        signature = "findings" if self._several else "serving_default"
        return self._scored([image], self._servable.run(signature, inputs))[0]


class ProgramScorer(BatchScorer):
    """Decodes in Python and asks the source; a rule judges each answer too."""

    def __init__(self, model: ReprogrammedModel, rule: SetRule | None = None) -> None:
        numbers = range(model.output_map.num_classes)
        self.class_names = tuple(str(name) for name in model.class_names or numbers)
        self.rows_at_once = rows_per_batch(model.queries_per_prediction, model.source.source_shape)
        self._model, self._rule = model, rule

    def score_contents(self, images: Sequence[NamedImage]) -> list[ScoredImage]:
        model = self._model
        target_range = model.data_checks.target_range or PICTURE_RANGE
        shape, reading = model.program.target_shape, model.image_reading
        decoded = [_decoded(image, shape, target_range, reading) for image in images]
        readable = [pixels for pixels in decoded if not isinstance(pixels, str)]
        rows = iter(self._predict(np.stack(readable)) if readable else ())
        return [
            ScoredImage(image.name, None, pixels)
            if isinstance(pixels, str)
            else ScoredImage(image.name, *next(rows))
            for image, pixels in zip(images, decoded, strict=True)
        ]

    def _predict(self, pixels: np.ndarray) -> list[tuple[np.ndarray, str, Any]]:
        """Each image's probabilities, no reason, and what the rule says."""
        import keras

        model = self._model
        checked = model.data_checks.images(pixels)
        (scores,) = model.asker.each([checked], len(checked), progress=lambda queries: None)
        probabilities = model.output_map(scores)
        if model.output_map.multi_label:
            found = keras.ops.convert_to_numpy(model.output_map.findings(probabilities))
            rows = keras.ops.convert_to_numpy(probabilities)
            return [(row, "", {"findings": one}) for row, one in zip(rows, found, strict=True)]
        if self._rule is None:
            return [(row, "", None) for row in keras.ops.convert_to_numpy(probabilities)]
        found = self._rule(scores, probabilities)
        arrays = {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}
        judged = (
            {name: array[row] for name, array in arrays.items()} for row in range(len(scores))
        )
        return [(one["probabilities"], "", one) for one in judged]


def _decoded(
    image: NamedImage,
    shape: tuple[int, ...],
    target_range: tuple[float, float],
    reading: ImageReading,
) -> np.ndarray | str:
    height, width, channels = shape
    try:
        return decode_image(
            io.BytesIO(image.content),
            image.name,
            grey=channels == 1,
            size=(height, width),
            target_range=target_range,
            reading=reading,
        )
    except ValueError as error:
        return str(error)
