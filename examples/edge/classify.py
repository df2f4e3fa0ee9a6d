"""Classifies image files with a `.tflite` file of keras_reprogram: no TensorFlow, no Keras.

Example: python classify.py digits.tflite one.png two.jpg
"""

import json
import sys
import zipfile

import numpy as np
from PIL import Image, ImageOps

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    # Its predecessor, for boards and Pythons that have no ai-edge-litert.
    from tflite_runtime.interpreter import Interpreter


def main(model_file, *image_files):
    # Class names and the pixels' range are in a zip archive at the end of the file.
    with zipfile.ZipFile(model_file) as archive:
        labels = archive.read("class_names.txt").decode().splitlines()
        low, high = json.loads(archive.read("keras_reprogram.json"))["target_range"]
    classify = Interpreter(model_path=model_file).get_signature_runner("serving_default")
    _, height, width, channels = classify.get_input_details()["image"]["shape"]
    for image_file in image_files:
        with Image.open(image_file) as opened:
            image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
        # As in training: bilinear, and averaged where it shrinks.
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.float32).reshape(1, height, width, channels)
        scores = classify(image=low + pixels / 255 * (high - low))["scores"][0]
        best = int(scores.argmax())
        print(f"{image_file}: {labels[best]} ({scores[best]:.1%})")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python classify.py MODEL.tflite IMAGE...")
    main(*sys.argv[1:])
