"""Compares a LiteRT file with the model that it was converted from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

_BATCH = 32
# Sums in another runtime differ by more than sums in other batch sizes of the same model: 3 times
# on the embedded source, 15 times on MobileNetV2, whose 1,000 log-scores are weighed by a DenseMap.
_ROUNDING_SHARE = 30.0
_MOST_ROUNDING = 1e-4


# Runtimes without XNNPACK (boards, old ones) round 8-bit numbers in other places.
XNNPACK, REFERENCE = "XNNPACK", "reference"
_RESOLVERS = {
    XNNPACK: OpResolverType.AUTO,
    REFERENCE: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison.

    Args:
        images: how many were compared; none of them calibrated the file.
        same_class: share of them whose most probable class is the same; of several findings, whose
            findings all are. Of the worse kernels, where several were run.
        difference: largest difference of a score, likewise.
        rounding: largest difference between the model's own answers to single images and to a
            batch, which no export can be held below.
        kernels: share of the same class with `"XNNPACK"` and with the `"reference"` kernels, of
            forms with 8-bit numbers; else `None`.
        accuracy: share of images whose class is right by their labels, from the `"model"` and from
            the file with each of the kernels; `None` without labels.
    """

    images: int
    same_class: float
    difference: float
    rounding: float = 0.0
    kernels: Mapping[str, float] | None = None
    accuracy: Mapping[str, float] | None = None

    def __str__(self) -> str:
        of_each = _listed(self.kernels, "{:.2%} with {}") if self.kernels else ""
        right = _listed(self.accuracy, "{:.2%} from {}") if self.accuracy else ""
        return (
            f"{self.same_class:.2%} of {self.images} images get the same class"
            + (f" ({of_each})" if of_each else "")
            + f"; scores differ by at most {self.difference:.3g}"
            + (f"; accuracy {right}" if right else "")
        )


def _listed(shares: Mapping[str, float], words: str) -> str:
    return ", ".join(words.format(share, _SAID.get(name, name)) for name, share in shares.items())


_SAID = {REFERENCE: "the reference kernels", "model": "the model"}


def run_litert(
    content: bytes,
    rows: np.ndarray,
    takes: str = "image",
    gives: str = "scores",
    signature: str = "serving_default",
    kernels: str = XNNPACK,
    report: Callable[[int], None] = lambda rows: None,
) -> np.ndarray:
    """Runs a LiteRT file on rows, in batches of its own size if it has one."""
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=_RESOLVERS[kernels]
    )
    runner = interpreter.get_signature_runner(signature)
    fixed = int(runner.get_input_details()[takes]["shape_signature"][0])
    parts = []
    try:
        for call in _batches(rows) if fixed < 1 else calls_of(rows, fixed):
            # The runner resizes the file's inputs to what it is given.
            parts.append(runner(**{takes: call})[gives])
            report(len(call))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"The LiteRT file was converted but does not run; nothing was written. Received: "
            f"{error}. Choose another `form`."
        ) from error
    return np.concatenate(parts)[: len(rows)]


def compare(
    model: ReprogrammedModel,
    source: Source,
    content: bytes,
    images: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    eight_bit: bool = False,
    taken: Callable[[np.ndarray], np.ndarray] = lambda images: images,
    report: Callable[[int], None] = lambda images: None,
) -> Agreement:
    """Compares a LiteRT file with the model on the same images.

    Args:
        model: the model.
        source: the source that is inside the file.
        content: the file.
        images: target images `(n, h, w, c)`.
        labels: their labels, or `None`.
        eight_bit: compares with both kinds of kernels, and counts the worse.
        taken: images as the file takes them.
        report: is called with the number of images after each part of the work.
    """

    def ask(part: np.ndarray) -> np.ndarray:
        answers = source.answers(source(model.program(part)), part)
        report(len(part))
        return keras.ops.convert_to_numpy(model.output_map(answers))

    expected = np.concatenate([ask(part) for part in _batches(images)])
    answers = {
        kernels: run_litert(content, taken(images), kernels=kernels, report=report)
        for kernels in (_RESOLVERS if eight_bit else [XNNPACK])
    }
    alone = np.concatenate([ask(image[None]) for image in images[:_BATCH]])
    alike = {name: share_alike(model, scores, expected) for name, scores in answers.items()}
    differences = [float(np.abs(scores - expected).max()) for scores in answers.values()]
    accuracy = None
    if labels is not None:
        all_scores = {"model": expected, **answers}
        accuracy = {name: share_right(model, one, labels) for name, one in all_scores.items()}
    return Agreement(
        images=len(images),
        same_class=min(alike.values()),
        # NaN is larger than any number: it must be refused.
        difference=float(np.max(differences)),
        rounding=float(np.abs(alone - expected[:_BATCH]).max()),
        kernels=alike if eight_bit else None,
        accuracy=accuracy,
    )


def steps_of(images: int, eight_bit: bool) -> int:
    """How many images `compare` reports in all; a file with a fixed batch may add a few."""
    return images * (3 if eight_bit else 2) + min(images, _BATCH)


def share_right(model: ReprogrammedModel, scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows that mean what the labels say."""
    if not model.output_map.multi_label:
        return float(np.mean(scores.argmax(axis=1) == labels))
    found = keras.ops.convert_to_numpy(model.output_map.findings(scores))
    return float((found == labels.astype(bool)).all(axis=1).mean())


def share_alike(model: ReprogrammedModel, scores: np.ndarray, expected: np.ndarray) -> float:
    """The share of rows of two arrays of probabilities that mean the same."""
    if not model.output_map.multi_label:
        return float(np.mean(scores.argmax(axis=1) == expected.argmax(axis=1)))
    one, other = (
        keras.ops.convert_to_numpy(model.output_map.findings(rows)) for rows in (scores, expected)
    )
    return float((one == other).all(axis=1).mean())


def refuse_disagreement(
    agreement: Agreement, form: LiteRTForm, least_agreement: float | None, force: bool
) -> None:
    """Refuses a file whose outputs differ from the model's; warns with `force`."""
    least = form.least_agreement if least_agreement is None else least_agreement
    wanted = [f"at least {least:.2%} the same class"]
    # NaN compares as false, and must be refused.
    fulfilled = np.isfinite(agreement.difference) and agreement.same_class >= least
    if form.largest_difference is not None:
        rounding = min(_ROUNDING_SHARE * agreement.rounding, _MOST_ROUNDING)
        most = max(form.largest_difference, rounding)
        wanted = [f"scores that differ by at most {most:.2g}", *(wanted if least else [])]
        fulfilled = fulfilled and agreement.difference <= most
    if fulfilled:
        return
    found = (
        f"The {form.name} LiteRT file does not agree with the model. Expected: "
        f"{' and '.join(wanted)}. Received: {agreement}."
    )
    if not force:
        raise ValueError(f"{found} Nothing was written. {_advice(form)}")
    warnings.warn(
        f"{found} The file was written anyway, because of `force=True` (--force).", stacklevel=3
    )


def _advice(form: LiteRTForm) -> str:
    if not form.needs_images:
        return "Pass `force=True` (--force) if this difference does not matter to you."
    smaller = "more `calibration_images`, " if form.calibrates else ""
    other = "float32" if form.name == "float16" else "float16"
    return (
        f'Pass {smaller}`form="{other}"` (--litert-form {other}), a lower `least_agreement`, or '
        "`force=True` (--force). More views also make a model less sensitive to rounding."
    )


def calls_of(rows: np.ndarray, batch: int | None) -> np.ndarray:
    """Rows as calls of `batch`, of 1 for `None`; the last is filled up from the first rows."""
    size = batch or 1
    places = np.arange(-(-len(rows) // size) * size) % len(rows)
    return rows[places].reshape(-1, size, *rows.shape[1:])


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]


@dataclass(frozen=True)
class LiteRTForm:
    """One of the forms of a LiteRT file.

    Args:
        name: what `export_litert(form=...)` is called with.
        least_agreement: share of images that must keep their most probable class.
        largest_difference: of a score, or `None` if rounding is what the form is about.
    """

    name: str
    least_agreement: float
    largest_difference: float | None = None

    @property
    def needs_images(self) -> bool:
        """Whether agreement can only be measured on real images."""
        return self.largest_difference is None

    @property
    def eight_bit(self) -> bool:
        """Whether 8-bit numbers are computed with, which kernels round differently."""
        return self.name in ("dynamic_int8", "int8")

    @property
    def calibrates(self) -> bool:
        """Whether the ranges of activations are taken from images."""
        return self.name == "int8"


FORMS = {
    form.name: form
    for form in (
        # Two scores that are equal but for rounding may change places.
        LiteRTForm("float32", least_agreement=0.0, largest_difference=1e-5),
        LiteRTForm("float16", least_agreement=0.995),
        LiteRTForm("dynamic_int8", least_agreement=0.97),
        LiteRTForm("int8", least_agreement=0.97),
    )
}


def form_named(name: str) -> LiteRTForm:
    """The form of this name."""
    if name not in FORMS:
        raise ValueError(
            f"`form` must be one of {', '.join(FORMS)}. Received: {name!r}. Try float16 first if "
            "the file must be small."
        )
    return FORMS[name]
