"""Draws a program that true gradients found, and what the source sees of ten digits through it.

    python examples/pictures/program.py

Writes program.png beside this script: digits in the middle of a traffic-sign classifier's canvas,
one weight a pixel. Offline, less than a minute.
"""

from pathlib import Path

import keras
import numpy as np

from keras_reprogram import DenseMap, FrozenSource, ReprogrammedModel, embedded_path, program_for
from keras_reprogram.datasets import load_target
from keras_reprogram.report import draw_source_images

data = load_target("digits").draw(train_images=1000, test_images=None, seed=0)
source = FrozenSource.from_file(embedded_path("traffic_signs.keras"), value_range=(0, 255))
# A strong program around the image alone, so that it can be seen.
program = program_for(data, source, placement="center", image_size=20)
model = ReprogrammedModel(program, source, DenseMap(num_classes=10), class_names=data.class_names)
model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", ["accuracy"])
model.fit_output_map(data.train_images, data.train_labels)
before = model.evaluate(data.test_images, data.test_labels, verbose=0, return_dict=True)
model.fit(data.train_images, data.train_labels, epochs=10, verbose=0)
after = model.evaluate(data.test_images, data.test_labels, verbose=0, return_dict=True)
print(f"map alone {before['accuracy']:.3f}, with the program {after['accuracy']:.3f}")

first = [int(np.flatnonzero(data.test_labels == label)[0]) for label in range(10)]
images = data.test_images[first]
seen = keras.ops.convert_to_numpy(program(images))
figure = draw_source_images(
    images, seen, source.value_range, list(data.class_names), target_range=data.target_range
)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)
