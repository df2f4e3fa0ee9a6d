"""Writes a network's files with TensorFlow 2.15 and Keras 2, and its own scores.

Run by `test_tensorflow_2_15.py` in an environment of TensorFlow 2.15:
`python write_files.py FOLDER WEIGHTS`, where FOLDER has `photos.npy`, `(50, 128, 128, 3)` from -1
to 1, and WEIGHTS are those of MobileNet 0.25 for 128 pixels. `scores.npz` has a row for each photo.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

folder, weights = Path(sys.argv[1]), sys.argv[2]
assert tf.__version__.startswith("2.15"), tf.__version__
keras = tf.keras

photos = np.load(folder / "photos.npy")
network = keras.applications.MobileNet(alpha=0.25, input_shape=(128, 128, 3), weights=None)
network.load_weights(weights)
scores = {"network": network.predict(photos, verbose=0)}

network.save(folder / "network.h5")
network.save(folder / "network.keras")
# Keras 2's own SavedModel, with what it needs to train on.
network.save(folder / "keras_saved", save_format="tf")
# And the one that `model.export` writes, for serving alone.
network.export(str(folder / "exported"))

converter = tf.lite.TFLiteConverter.from_keras_model(network)
(folder / "float.tflite").write_bytes(converter.convert())
converter = tf.lite.TFLiteConverter.from_keras_model(network)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
(folder / "dynamic.tflite").write_bytes(converter.convert())
for name, dtype in (("uint8", tf.uint8), ("int8", tf.int8)):
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([photo[None]] for photo in photos)
    converter.inference_input_type = converter.inference_output_type = dtype
    (folder / f"{name}.tflite").write_bytes(converter.convert())

for path in sorted(folder.glob("*.tflite")):
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for photo in photos:
        pixels = photo[None]
        if image["dtype"] != np.float32:
            scale, zero_point = image["quantization"]
            limits = np.iinfo(image["dtype"])
            pixels = np.clip(np.round(pixels / scale + zero_point), limits.min, limits.max)
        interpreter.set_tensor(image["index"], pixels.astype(image["dtype"]))
        interpreter.invoke()
        row = interpreter.get_tensor(answer["index"])[0].astype(np.float32)
        scale, zero_point = answer["quantization"]
        rows.append((row - zero_point) * np.float32(scale) if scale else row)
    scores[path.stem] = np.stack(rows)
np.savez(folder / "scores.npz", **scores)
