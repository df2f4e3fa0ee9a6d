#!/usr/bin/env bash
# Keras 3.15.1: a model that ends in `keras.ops.argmax` exports a .tflite file that LiteRT refuses.
#
# Expected: `model.export("model.tflite", format="litert")` of a model whose output is the number of
#   the largest score gives a file of built-in operations, as TensorFlow's own `tf.argmax` does:
#   LiteRT has ARG_MAX.
# Happens: on TensorFlow, `ops.argmax` and `ops.argmin` of floats first look at the sign bit of every
#   number, to tell -0.0 from 0.0. That test is a BitwiseAnd, which LiteRT's built-in operations
#   lack. The export ends without a word, and the file needs TensorFlow's Flex operations: the
#   interpreter of ai-edge-litert (and so phones and boards) refuses it in `allocate_tensors`.
#   Converted with built-in operations only, it raises.
# Hurts: a label instead of scores is what many put at the end of a model for a phone.
# Way round: the first index of `keras.ops.top_k(scores, 1)`, which becomes TOPK_V2, or `tf.argmax`
#   in a layer.
#
# Seen on 2026-11-30 (Linux, Python 3.11):
#   Keras 3.15.1
#   ops.argmax  refused, FlexBitwiseAnd
#   ops.argmin  refused, FlexBitwiseAnd
#   ops.top_k   runs, label 2 of 2
#   tf.argmax   runs, label 2 of 2
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install \
    tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6 ai-edge-litert==2.3.0

export KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=-1
export TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 FILES="$folder"
"$folder/venv/bin/python" - 2> "$folder/stderr" <<'PYTHON' || { tail -5 "$folder/stderr"; exit 1; }
import os
import sys

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

SCORES = np.array([[0.1, -2.0, 3.0, 0.5]], "float32")


class TensorFlowArgmax(keras.layers.Layer):
    def call(self, scores):
        return tf.argmax(scores, axis=-1, output_type="int32")


def first_of_top_k(scores):
    return keras.ops.top_k(scores, 1)[1][:, 0]


def what_litert_says(name, end):
    scores = keras.Input((4,))
    model = keras.Model(scores, end(keras.layers.Rescaling(1.0)(scores)))
    label = int(np.asarray(model(SCORES)).item())
    file = os.path.join(os.environ["FILES"], f"{name}.tflite")
    model.export(file, format="litert", verbose=False)
    interpreter = Interpreter(file)
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        return "refused, " + ("FlexBitwiseAnd" if "FlexBitwiseAnd" in str(error) else str(error))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], SCORES)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).item()
    return f"runs, label {found} of {label}"


print("Keras", keras.__version__)
seen = {
    "ops.argmax": what_litert_says("argmax", lambda s: keras.ops.argmax(s, axis=-1)),
    "ops.argmin": what_litert_says("argmin", lambda s: keras.ops.argmin(s, axis=-1)),
    "ops.top_k": what_litert_says("top_k", first_of_top_k),
    "tf.argmax": what_litert_says("tensorflow", TensorFlowArgmax()),
}
for name, said in seen.items():
    print(f"{name:12}{said}")
if list(seen.values()) != ["refused, FlexBitwiseAnd"] * 2 + ["runs, label 2 of 2"] * 2:
    print("Not as stated: LiteRT takes other files, or refuses them for another reason.")
    sys.exit(1)
PYTHON
