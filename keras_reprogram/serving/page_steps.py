"""Steps that the demo page shows for one image, from the file to the classes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.export.graph_decoder import DEFAULT_READING, file_decoder
from keras_reprogram.export.verdicts import SETS
from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.image_headers import check_pixels
from keras_reprogram.serving.servable import Servable, map_answers
from keras_reprogram.source.remote.payloads import encode_image

MOST_ANSWERS = 5
MOST_CLASSES = 10
MOST_FINDINGS = 20


def show_steps(servable: Servable, facts: PageFacts, target: np.ndarray) -> dict[str, Any]:
    """Asks a model about one target image and lays out its steps, as JSON."""
    steps = servable.run(STEPS, {"image": target})
    answers = _shown_scores(steps["source_scores"][0], facts.scores)
    shown: dict[str, Any] = {
        "target_image": data_url(target[0], facts.target_range),
        "views": [
            {
                "image": data_url(image, facts.source_range),
                "answers": _best(scores, facts.source_labels, MOST_ANSWERS),
            }
            for image, scores in zip(steps["source_images"][0], answers, strict=True)
        ],
        "classes": _best(steps["scores"][0], facts.class_names, MOST_CLASSES),
    }
    if facts.thresholds is not None:
        shown["classes"] = _findings(steps["scores"][0], facts)
    if facts.coverage is not None:
        # The answers are there already, so that nothing is asked twice.
        judged = servable.run(SETS.of_scores, {"source_scores": map_answers(steps)})
        shown["verdict"] = _verdict(judged, facts)
    return shown


def _findings(scores: np.ndarray, facts: PageFacts) -> list[dict[str, Any]]:
    """The probable findings, each with whether it counts as found; all that do come first."""
    found = scores >= np.asarray(facts.thresholds, np.float32)
    order = sorted(range(len(scores)), key=lambda index: (not found[index], -scores[index]))
    shown = order[: max(MOST_FINDINGS, int(found.sum()))]
    return [
        {
            "index": index,
            "label": facts.class_names[index],
            "score": float(scores[index]),
            "found": bool(found[index]),
        }
        for index in shown
    ]


def _verdict(judged: Mapping[str, np.ndarray], facts: PageFacts) -> dict[str, Any]:
    """What the calibration says of the image."""
    order = np.argsort(-judged["scores"][0], kind="stable")
    return {
        "set": [facts.class_names[index] for index in order if judged["set"][0][index]],
        "foreign": bool(judged["foreign"][0]),
        "accepted": bool(judged["accepted"][0]),
        "coverage": facts.coverage,
    }


def _shown_scores(scores: np.ndarray, kind: str) -> np.ndarray:
    if kind == "independent_logits":
        return 1 / (1 + np.exp(-scores))
    if kind != "logits":
        return scores
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def _best(scores: np.ndarray, labels: Sequence[str], most: int) -> list[dict[str, Any]]:
    order = np.argsort(-scores, kind="stable")[:most]
    return [
        {"index": int(index), "label": labels[index], "score": float(scores[index])}
        for index in order
    ]


STEPS = "steps"


class PageFacts(NamedTuple):
    """An export's facts, checked as far as the page relies on them.

    `target_range` and `source_range` are `(low, high)`, `scores` is `"probabilities"`, `"logits"`
    or `"features"`, `source_labels` and `class_names` have a name for each score; `coverage` is
    that of a calibrated model's sets; `thresholds` are those of several findings, `image_reading`
    how files are read.
    """

    target_shape: tuple[int, int, int]
    target_range: tuple[float, float]
    source_shape: tuple[int, int, int]
    source_range: tuple[float, float]
    source_labels: tuple[str, ...]
    class_names: tuple[str, ...]
    num_views: int
    scores: str
    coverage: float | None = None
    thresholds: tuple[float, ...] | None = None
    image_reading: ImageReading = DEFAULT_READING


def read_page_facts(servable: Servable) -> PageFacts:
    """The facts that the page needs; a ServingError if it cannot show this model."""
    _check_signature(servable)
    if servable.facts.get("target_range", 0) is None:
        raise ServingError(
            "This page shows images of a known range. Received: an export whose program has no "
            "`target_range`. Set that attribute of the program to (low, high) and export it "
            "again; the API works without it.",
            "FAILED_PRECONDITION",
        )
    try:
        facts = _page_facts(servable.facts)
    except (KeyError, TypeError, ValueError) as error:
        raise ServingError(
            "This page needs the export's facts, assets.extra/keras_reprogram.json. "
            f"Received: {type(error).__name__} for {error}. Export the model again.",
            "FAILED_PRECONDITION",
        ) from error
    shapes = {"target images": facts.target_shape, "source images": facts.source_shape}
    for what, shape in shapes.items():
        if shape[-1] not in (1, 3):
            raise ServingError(
                f"This page shows images of 1 or 3 channels. Received: {what} of {shape[-1]}. "
                "Ask the model through its API.",
                "FAILED_PRECONDITION",
            )
    return facts


def _check_signature(servable: Servable) -> None:
    if STEPS in servable.signature_defs:
        return
    ours = "is older than this page" if servable.facts else "was not written by keras_reprogram"
    raise ServingError(
        f"This model has no signature {STEPS!r}, which shows what happens inside: it {ours}. "
        "Its API works as usual; export it with `export_saved_model` to see it here.",
        "FAILED_PRECONDITION",
    )


def _page_facts(facts: Mapping[str, Any]) -> PageFacts:
    source = facts["source"]
    return PageFacts(
        target_shape=_triple(facts["target_shape"]),
        target_range=_pair(facts["target_range"]),
        source_shape=_triple(source["source_shape"]),
        source_range=_pair(source["value_range"]),
        source_labels=_source_labels(source),
        class_names=tuple(str(name) for name in facts["class_names"]),
        num_views=int(facts["num_views"]),
        scores=str(source["scores"]),
        coverage=(facts.get("calibration") or {}).get("coverage"),
        thresholds=tuple(map(float, facts.get("thresholds") or ())) or None,
        image_reading=ImageReading.from_facts(facts.get("image_reading")),
    )


def _source_labels(source: Mapping[str, Any]) -> tuple[str, ...]:
    kind = "feature" if source["scores"] == "features" else "label"
    names = source.get("labels") or [f"{kind} {n}" for n in range(int(source["num_labels"]))]
    return tuple(str(name) for name in names)


def _triple(shape: Any) -> tuple[int, int, int]:
    height, width, channels = shape
    return int(height), int(width), int(channels)


def _pair(value_range: Any) -> tuple[float, float]:
    low, high = value_range
    return float(low), float(high)


# What the decoder itself refuses, in its own words.
_REFUSAL = re.compile(r"(?:assertion failed: \[|data: b')([^\]']*)")
MOST_PIXELS = 25_000_000


def decode_file(
    file: bytes,
    target_shape: tuple[int, int, int],
    target_range: tuple[float, float],
    reading: ImageReading,
) -> np.ndarray:
    """Decodes a file exactly as the signature `image_bytes` does, to float32 `(1, h, w, c)`."""
    check_pixels([np.array([file], object)], MOST_PIXELS)
    try:
        return file_decoder(target_shape, target_range, reading)(tf.constant([file])).numpy()
    except tf.errors.InvalidArgumentError as error:
        refused = _REFUSAL.search(str(error.message))
        if refused is not None:
            raise ServingError(refused[1]) from None
        raise ServingError(
            "Expected a PNG or JPEG image. Received: a file of another kind, or a damaged one. "
            "Save the image again in one of them."
        ) from None


def data_url(image: np.ndarray, value_range: tuple[float, float]) -> str:
    """A PNG of pixels `(h, w, c)` as a `data:` URL."""
    png = base64.b64encode(encode_image(image, value_range, "png")).decode()
    return f"data:image/png;base64,{png}"
