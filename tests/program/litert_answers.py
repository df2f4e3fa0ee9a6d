"""What a program answers as LiteRT builtins."""

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter


def litert_answer(program, images, folder):
    """Source images from a program that was saved, converted and run by LiteRT."""
    interpreter = Interpreter(model_content=converted(program, folder))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def converted(program, folder):
    module = tf.Module()
    module.weights = [variable.value for variable in program.variables]
    signature = [tf.TensorSpec((None, *program.target_shape), tf.float32)]
    serve = tf.function(lambda images: program(images), input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()
