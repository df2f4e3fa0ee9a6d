"""Another TensorFlow reads a version folder that `export_saved_model` wrote."""

import sys

import numpy as np
import tensorflow as tf
from timed import write_answers

folder, images_file, answers_file = sys.argv[1:]
classify = tf.saved_model.load(folder).signatures["serving_default"]
write_answers(
    answers_file,
    np.load(images_file),
    lambda image: classify(image=tf.constant(image[None]))["scores"].numpy(),
)
