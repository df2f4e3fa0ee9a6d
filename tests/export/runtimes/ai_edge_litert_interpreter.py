"""ai-edge-litert's Interpreter, by the signature."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from timed import write_answers

model_file, images_file, answers_file = sys.argv[1:]
classify = Interpreter(model_path=model_file).get_signature_runner("serving_default")
write_answers(
    answers_file, np.load(images_file), lambda image: classify(image=image[None])["scores"][0]
)
