"""Student: what `fit_student` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_reprogram.fitting.validation import ValidationScore


@dataclass(frozen=True, eq=False)
class Student:
    """A local model, and what it learned from.

    Args:
        model: a `ReprogrammedModel` around the local network alone: `predict` asks no paid source,
            `save` and the exports work as of any other.
        baseline: the same head or network on the true labels alone.
        kept: `"student"`, or `"true labels alone"` where the teacher's answers did not help on the
            held-out images; then `model` is `baseline`.
        validation: of the student with the best mix, on the held-out images, whichever is kept.
        baseline_validation: of the baseline, on the same images.
        temperature: of the teacher's probabilities, of the best mix.
        unlabelled_weight: what an image without a label counted, where one with a label counts 1.
        soft_share: share of the teacher's answer in the targets of images with labels.
        num_labelled: images with a true label.
        num_unlabelled: images without one that the teacher answered.
        num_unanswered: images without a label and without an answer, which taught nothing.
        queries_used: queries that were sent for this student.
        price: what they cost, or `None` where the ledger has no price.

    Example:
    ```python
    from keras_reprogram.fitting.validation import ValidationScore
    from keras_reprogram.student import Student

    student = Student(
        model=None, baseline=None, kept="student", validation=ValidationScore(0.4, 0.1),
        baseline_validation=ValidationScore(0.6, 0.15), temperature=1.0, unlabelled_weight=0.3,
        soft_share=0.0, num_labelled=300, num_unlabelled=2000, num_unanswered=0,
        queries_used=2000, price=3.0,
    )
    print(student.to_markdown())
    ```
    """

    model: Any = field(repr=False)
    baseline: Any = field(repr=False)
    kept: str
    validation: ValidationScore
    baseline_validation: ValidationScore
    temperature: float
    unlabelled_weight: float
    soft_share: float
    num_labelled: int
    num_unlabelled: int
    num_unanswered: int
    queries_used: int
    price: float | None

    def predict(self, images: np.ndarray, **options: Any) -> np.ndarray:
        """Probabilities `(n, K)` of images `(n, h, w, c)`, by `model.predict`."""
        return self.model.predict(images, **options)

    def to_markdown(self) -> str:
        """A table: the student and the baseline on the held-out images."""
        rows = {
            f"true labels alone ({self.num_labelled})": self.baseline_validation,
            f"with the teacher's answers to {self.num_unlabelled} more": self.validation,
        }
        lines = ["| learned from | held-out accuracy | held-out loss |", "| --- | ---: | ---: |"]
        lines += [f"| {n} | {s.accuracy:.3f} | {s.loss:.3f} |" for n, s in rows.items()]
        price = "" if self.price is None else f", price {self.price:.2f}"
        lines.append(f"\nKept: {self.kept}. Queries sent: {self.queries_used}{price}.")
        return "\n".join(lines)
