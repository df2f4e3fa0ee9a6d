"""What every reprogramming result is printed beside."""

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.linear_head import fit_linear_head
from keras_reprogram.baselines.no_source import fit_no_source

__all__ = ["Baseline", "fit_linear_head", "fit_no_source"]
