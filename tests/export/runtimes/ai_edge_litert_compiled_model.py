"""ai-edge-litert's CompiledModel."""

import sys

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from timed import write_answers

model_file, images_file, answers_file = sys.argv[1:]
model = CompiledModel.from_file(model_file)
inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
(scores,) = model.get_output_tensor_details("serving_default").values()
count = int(np.prod(scores["shape"]))


def classify(image):
    inputs[0].write(np.ascontiguousarray(image[None]))
    model.run_by_index(0, inputs, outputs)
    return outputs[0].read(count, np.float32)


write_answers(answers_file, np.load(images_file), classify)
