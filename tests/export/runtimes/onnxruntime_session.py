"""onnxruntime, of a `.tflite` file that tf2onnx converted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from timed import write_answers

model_file, images_file, answers_file = sys.argv[1:]
converted = str(Path(answers_file).with_suffix(".onnx"))
command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", model_file, "--output", converted]
subprocess.run(command, check=True, capture_output=True)
session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
(image_input,) = session.get_inputs()
write_answers(
    answers_file,
    np.load(images_file),
    lambda image: session.run(None, {image_input.name: image[None]})[0],
)
