"""MediaPipe's ImageClassifier: 8-bit images in three channels, names from the file's metadata."""

import sys
import zipfile

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
from timed import write_answers

model_file, images_file, answers_file = sys.argv[1:]
options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model_file))
with zipfile.ZipFile(model_file) as archive:
    names = archive.read("class_names.txt").decode().splitlines()


def ask(classifier, image):
    colours = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    shown = mediapipe.Image(
        image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(colours, np.uint8)
    )
    (head,) = classifier.classify(shown).classifications
    found = {category.category_name: category.score for category in head.categories}
    return [found[name] for name in names]


with ImageClassifier.create_from_options(options) as classifier:
    write_answers(answers_file, np.load(images_file), lambda image: ask(classifier, image))
