"""Baselines: what the target's data allow without reprogramming."""

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.findings import (
    FindingsBaseline,
    fit_linear_head_findings,
    fit_no_source_findings,
)
from keras_reprogram.baselines.fine_tuning import fit_fine_tuned
from keras_reprogram.baselines.scratch import fit_scratch
from keras_reprogram.baselines.shallow import fit_linear_head, fit_linear_pixels, fit_no_source
from keras_reprogram.baselines.texts import fit_no_source_texts

__all__ = [
    "Baseline",
    "FindingsBaseline",
    "fit_fine_tuned",
    "fit_linear_head",
    "fit_linear_head_findings",
    "fit_linear_pixels",
    "fit_no_source",
    "fit_no_source_findings",
    "fit_no_source_texts",
    "fit_scratch",
]
