#!/usr/bin/env bash
# Keras 3.15.1: a trained model inside a layer makes the model around it report a loss of 0.0.
#
# Expected: `fit` and `evaluate` of the outer model report the outer model's loss. Where a compiled
#   model is used directly as a layer of another, Keras leaves the inner loss and metrics out.
# Happens: that holds only for a model that is itself a layer of the outer one; if a plain
#   `keras.layers.Layer` holds it, the layer passes on the inner model's metrics. The inner tracker
#   is named `loss` too, comes later, is never updated, and overwrites the outer value with 0.0.
#   The weights are trained as they should be; only the numbers are wrong. No warning.
# Since: also with 3.3.3, 3.8.0 and 3.12.0. With 3.3.3 the model used directly gave 0.0 as well;
#   that was mended later, the wrapped one was not.
# Hurts: wrapper layers around a trained network (frozen features, adapters) are common;
#   `EarlyStopping` and `ModelCheckpoint` then follow a `val_loss` of 0.0 for ever.
# Way round: wrap `keras.Model(inner.inputs, inner.outputs)`, which has the same layers and weights
#   but was not compiled, or load with `compile=False`. `clone_model` does not help: it compiles.
#
# Seen on 2026-11-29 (Linux, Python 3.11):
#   Keras 3.15.1
#   model as a layer            loss 1.5608  val_loss 1.3883  true 1.3883
#   model in a Layer            loss 0.0000  val_loss 0.0000  true 1.3450
#   not compiled, in a Layer    loss 1.2787  val_loss 1.1696  true 1.1696
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install \
    tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6

export KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=-1
export TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys

import keras
import numpy as np

logging.getLogger("tensorflow").setLevel("ERROR")  # no hints on retracing
keras.utils.set_random_seed(0)
images = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
targets = (images[:, :1] > 0).astype("float32")

inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
inner.compile("sgd", "mse")
inner.fit(images, images[:, :3], verbose=0)
not_compiled = keras.Model(inner.inputs, inner.outputs)


class Wrapper(keras.layers.Layer):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs)


def reported_and_true(part):
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, keras.layers.Dense(1)(part(inputs)))
    outer.compile("sgd", "mse")
    history = outer.fit(images, targets, validation_data=(images, targets), verbose=0).history
    true = float(np.mean((outer.predict(images, verbose=0) - targets) ** 2))
    return history["loss"][-1], history["val_loss"][-1], true


print("Keras", keras.__version__)
seen = {
    "model as a layer": reported_and_true(inner),
    "model in a Layer": reported_and_true(Wrapper(inner)),
    "not compiled, in a Layer": reported_and_true(Wrapper(not_compiled)),
}
for name, (loss, val_loss, true) in seen.items():
    print(f"{name:28}loss {loss:.4f}  val_loss {val_loss:.4f}  true {true:.4f}")
wrapped = seen.pop("model in a Layer")
if wrapped[0] != 0.0 or wrapped[1] != 0.0 or wrapped[2] < 0.01:
    sys.exit("Not as stated: the model around the layer no longer reports a loss of 0.0.")
if any(abs(val_loss - true) > 1e-4 for _, val_loss, true in seen.values()):
    sys.exit("Not as stated: without the wrapper, or with the way round, val_loss is wrong too.")
PYTHON
