"""Compares a LiteRT file with the model that it was converted from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

_BATCH = 32
# Sums in another runtime differ by more than sums in other batch sizes of the same model: 3 times
# on the embedded source, 15 times on MobileNetV2, whose 1,000 log-scores are weighed by a DenseMap.
_ROUNDING_SHARE = 30.0
_MOST_ROUNDING = 1e-4


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison.

    Args:
        images: how many were compared.
        same_class: share of them whose most probable class is the same; of several findings, whose
            findings all are.
        difference: largest difference of a score.
        rounding: largest difference between the model's own answers to single images and to a
            batch, which no export can be held below.
    """

    images: int
    same_class: float
    difference: float
    rounding: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.same_class:.2%} of {self.images} images get the same class; scores differ by "
            f"at most {self.difference:.3g}"
        )


def run_litert(
    content: bytes,
    rows: np.ndarray,
    takes: str = "image",
    gives: str = "scores",
    signature: str = "serving_default",
) -> np.ndarray:
    """Runs a LiteRT file on rows, in batches of its own size if it has one."""
    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner(signature)
    fixed = int(runner.get_input_details()[takes]["shape_signature"][0])
    try:
        # The runner resizes the file's inputs to what it is given.
        if fixed < 1:
            parts = [runner(**{takes: part})[gives] for part in _batches(rows)]
        else:
            parts = [runner(**{takes: call})[gives] for call in calls_of(rows, fixed)]
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"The LiteRT file was converted but does not run; nothing was written. Received: "
            f"{error}. Choose another `form`."
        ) from error
    return np.concatenate(parts)[: len(rows)]


def compare(
    model: ReprogrammedModel, source: Source, content: bytes, images: np.ndarray
) -> Agreement:
    """Compares a LiteRT file with the model on the same images."""

    def ask(part: np.ndarray) -> np.ndarray:
        answers = source.answers(source(model.program(part)), part)
        return keras.ops.convert_to_numpy(model.output_map(answers))

    scores = run_litert(content, images)
    expected = np.concatenate([ask(part) for part in _batches(images)])
    alone = np.concatenate([ask(image[None]) for image in images[:_BATCH]])
    return Agreement(
        images=len(images),
        same_class=share_alike(model, scores, expected),
        difference=float(np.abs(scores - expected).max()),
        rounding=float(np.abs(alone - expected[:_BATCH]).max()),
    )


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
    smaller = "more `calibration_images`, " if form.name == "int8" else ""
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
