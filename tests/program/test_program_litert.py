"""A program becomes LiteRT builtins and answers as in Keras."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from checks.check_program import as_array, set_weights
from checks.tiny_models import random_images

from keras_reprogram import ProgramLayer

OPTIONS = [
    {"placement": "views", "num_views": 3, "grid": 3},
    {"operation": "multiply", "num_views": 3, "per_view": True},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_litert_builtins_equal_keras(options, tmp_path):
    program = ProgramLayer((6, 5, 1), (9, 8, 3), source_range=(-1, 1), **options)
    set_weights(program, 0.5)
    images = random_images(4, (6, 5, 1))
    interpreter = Interpreter(model_content=converted(program, tmp_path))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, as_array(program(images)), atol=1e-5)


def converted(program, folder):
    module = tf.Module()
    module.weights = [variable.value for variable in program.variables]
    signature = [tf.TensorSpec((None, *program.target_shape), tf.float32)]
    serve = tf.function(lambda images: program(images), input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()
