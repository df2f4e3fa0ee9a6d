"""What the demo page shows of one image: every step from the file to the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_reprogram.serving.page_facts import STEPS, PageFacts
from keras_reprogram.serving.page_images import codes_of, data_url
from keras_reprogram.serving.servable import Servable

MOST_ANSWERS = 5
MOST_CLASSES = 10


def show_steps(servable: Servable, facts: PageFacts, target: np.ndarray) -> dict[str, Any]:
    """Asks a model once and lays out what it did.

    Args:
        servable: the model.
        facts: what `read_page_facts` read of it.
        target: float32 `(1, h, w, c)` in the target's range.

    Returns:
        As JSON: `target_image`, a data URL; `views`, each with `image` and its best `answers`;
        `classes`, the best ones first. Answers and classes have `index`, `label` and `score`.
    """
    steps = servable.run(STEPS, {"image": target})
    images = codes_of(steps["source_images"][0], facts.source_range)
    answers = _shown_scores(steps["source_scores"][0], facts.scores)
    return {
        "target_image": data_url(codes_of(target[0], facts.target_range)),
        "views": [
            {"image": data_url(image), "answers": _best(scores, facts.source_labels, MOST_ANSWERS)}
            for image, scores in zip(images, answers, strict=True)
        ],
        "classes": _best(steps["scores"][0], facts.class_names, MOST_CLASSES),
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
