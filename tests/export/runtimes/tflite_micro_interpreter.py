"""TFLite Micro, as on a board; prints the bytes that its arena needs."""

import sys

import numpy as np
from tflite_micro.python.tflite_micro.runtime import Interpreter
from timed import write_answers

model_file, images_file, answers_file = sys.argv[1:]
interpreter = Interpreter.from_file(model_file, arena_size=64 << 20)


def classify(image):
    interpreter.set_input(np.ascontiguousarray(image[None]), 0)
    interpreter.invoke()
    return interpreter.get_output(0)


write_answers(answers_file, np.load(images_file), classify)
