"""What every reprogramming result is printed beside."""

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.fine_tuning import fit_fine_tuned
from keras_reprogram.baselines.linear_head import fit_linear_head
from keras_reprogram.baselines.linear_pixels import fit_linear_pixels
from keras_reprogram.baselines.no_source import fit_no_source
from keras_reprogram.baselines.scratch import fit_scratch

__all__ = [
    "Baseline",
    "fit_fine_tuned",
    "fit_linear_head",
    "fit_linear_pixels",
    "fit_no_source",
    "fit_scratch",
]
