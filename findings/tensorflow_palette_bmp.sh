#!/usr/bin/env bash
# TensorFlow 2.21.0: an 8-bit palette BMP is decoded to its palette indices, as if they were greys.
#
# Expected: `tf.io.decode_image(..., channels=3)` and `tf.io.decode_bmp(..., channels=3)` return the
#   colours ("output an RGB image"), as they do for a PNG or a GIF with the same palette.
# Happens: the colour table is not looked at. Pixel index 1 becomes (1, 1, 1), whatever colour
#   entry 1 is. No error, no warning, and the shape is right. A BMP that was saved from a grey image
#   is read well (its entry i is the grey i), so that a first look at other files finds nothing.
# Hurts: `keras.utils.image_dataset_from_directory` takes .bmp files and reads them this way: a
#   model is trained on, or asked about, images that are nearly black and have no colour.
# Way round: read such files with Pillow (`Image.open(f).convert("RGB")`), or save them as PNG.
#
# Seen on 2026-11-29 (Linux, Python 3.11):
#   TensorFlow 2.21.0 Keras 3.15.1
#   Pillow, BMP                       [[255, 0, 0], [0, 0, 255]]
#   decode_image, PNG                 [[255, 0, 0], [0, 0, 255]]
#   decode_image, BMP                 [[0, 0, 0], [1, 1, 1]]
#   decode_bmp, BMP                   [[0, 0, 0], [1, 1, 1]]
#   image_dataset_from_directory, BMP [[0, 0, 0], [1, 1, 1]]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install \
    tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6 pillow==13.0.0

export KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=-1
export TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0
cd "$folder"
venv/bin/python - <<'PYTHON'
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

red_and_blue = [[255, 0, 0], [0, 0, 255]]
image = Image.new("P", (2, 1))
image.putpalette(red_and_blue[0] + red_and_blue[1])
image.putdata([0, 1])
pathlib.Path("images").mkdir()
image.save("images/two.bmp")
image.save("two.png")

bmp = pathlib.Path("images/two.bmp").read_bytes()
png = pathlib.Path("two.png").read_bytes()
folder = keras.utils.image_dataset_from_directory(
    "images", labels=None, image_size=(1, 2), verbose=False
)
read = {
    "Pillow, BMP": np.asarray(Image.open("images/two.bmp").convert("RGB")),
    "decode_image, PNG": tf.io.decode_image(png, channels=3).numpy(),
    "decode_image, BMP": tf.io.decode_image(bmp, channels=3).numpy(),
    "decode_bmp, BMP": tf.io.decode_bmp(bmp, channels=3).numpy(),
    "image_dataset_from_directory, BMP": next(iter(folder)).numpy()[0].astype(int),
}
print("TensorFlow", tf.__version__, "Keras", keras.__version__)
read = {reader: pixels[0].tolist() for reader, pixels in read.items()}
for reader, pixels in read.items():
    print(f"{reader:34}{pixels}")
if read["Pillow, BMP"] != red_and_blue or read["decode_image, PNG"] != red_and_blue:
    sys.exit("Not as stated: the file does not hold one red and one blue pixel.")
for reader in list(read)[2:]:
    if read[reader] != [[0, 0, 0], [1, 1, 1]]:
        sys.exit(f"Not as stated: {reader} no longer gives the palette indices.")
PYTHON
