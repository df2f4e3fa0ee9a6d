"""Source scores -> target probabilities: fitted exactly or trained."""

from keras_reprogram.output_map.dense_map import DenseMap
from keras_reprogram.output_map.label_counts import assign_labels, bayesian_weights
from keras_reprogram.output_map.label_map import MultiLabelMap
from keras_reprogram.output_map.new_head import NewHead
from keras_reprogram.output_map.output_map import OutputMap

__all__ = ["DenseMap", "MultiLabelMap", "NewHead", "OutputMap", "assign_labels", "bayesian_weights"]
