"""What the demo page must know of a model before it can ask it anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_reprogram.serving.servable import Servable
from keras_reprogram.serving.serving_error import ServingError

STEPS = "steps"


class PageFacts(NamedTuple):
    """An export's facts, checked as far as the page relies on them.

    `target_range` and `source_range` are `(low, high)`, `scores` is `"probabilities"`, `"logits"`
    or `"features"`, `source_labels` and `class_names` have a name for each score.
    """

    target_shape: tuple[int, int, int]
    target_range: tuple[float, float]
    source_shape: tuple[int, int, int]
    source_range: tuple[float, float]
    source_labels: tuple[str, ...]
    class_names: tuple[str, ...]
    num_views: int
    scores: str


def read_page_facts(servable: Servable) -> PageFacts:
    """Reads what the page needs.

    Args:
        servable: a model that is served.

    Returns:
        The facts.

    Raises:
        ServingError: with the sentence that the page shows, where it cannot show this model.
    """
    _check_signature(servable)
    if servable.facts.get("target_range", 0) is None:
        raise ServingError(
            "This page shows images of a known range. Received: an export whose program does not "
            "say its `target_range`. Give the program that attribute, (low, high), and export it "
            "again; the API works without.",
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
