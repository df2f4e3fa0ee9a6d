"""Classifies image files with MediaPipe's ImageClassifier, the same task as on Android and iOS.

Example: python mediapipe_classify.py photos.tflite one.png two.jpg
"""

import json
import sys
import zipfile

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
from PIL import Image, ImageOps

MOST_CLASSES = 3


def main(model_file, *image_files):
    with zipfile.ZipFile(model_file) as archive:
        height, width, _ = json.loads(archive.read("keras_reprogram.json"))["target_shape"]
    options = ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=model_file), max_results=MOST_CLASSES
    )
    with ImageClassifier.create_from_options(options) as classifier:
        for image_file in image_files:
            with Image.open(image_file) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
            # MediaPipe would shrink it by taking single pixels; training averaged them.
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            shown = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=np.array(image, np.uint8)
            )
            (head,) = classifier.classify(shown).classifications
            said = [f"{one.category_name} ({one.score:.1%})" for one in head.categories]
            print(f"{image_file}: {', '.join(said)}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python mediapipe_classify.py MODEL.tflite IMAGE...")
    main(*sys.argv[1:])
