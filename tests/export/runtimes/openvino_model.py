"""OpenVINO reads a `.tflite` file itself."""

import sys

import numpy as np
import openvino
from timed import write_answers

model_file, images_file, answers_file = sys.argv[1:]
# Else processors with bfloat16 round to it.
compiled = openvino.Core().compile_model(model_file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
write_answers(answers_file, np.load(images_file), lambda image: compiled(image[None])[0])
