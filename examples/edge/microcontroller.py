"""Runs a `.tflite` file as TensorFlow Lite Micro does on a board, and says what it needs there.

Example: python microcontroller.py digits.tflite one.png --c-file digits_model.cc
"""

import argparse
import contextlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tflite_micro.python.tflite_micro import runtime

LARGEST_ARENA = 256 << 20
ARENA_STEP = 1 << 10
BYTES_A_LINE = 16


def read_file(model_file):
    """The model without the archive at its end, its class names, and its facts."""
    with zipfile.ZipFile(model_file) as archive:
        names = archive.read("class_names.txt").decode().splitlines()
        facts = json.loads(archive.read("keras_reprogram.json"))
        end = min(entry.header_offset for entry in archive.infolist())
    return Path(model_file).read_bytes()[:end], names, facts


def read_image(image_file, shape, target_range):
    """Pixels float32 `(1, h, w, c)` in the range that the model was trained on."""
    height, width, channels = shape
    with Image.open(image_file) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    low, high = target_range
    codes = np.asarray(image, np.float32).reshape(1, height, width, channels)
    return low + codes / 255 * (high - low)


@contextlib.contextmanager
def silent_stderr():
    """Keeps what the C++ library writes of arenas that are too small."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def least_arena(model):
    """The smallest arena in bytes, a multiple of 1,024, in which the model can be set up."""
    too_small, enough = 0, LARGEST_ARENA // ARENA_STEP
    with silent_stderr():
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            try:
                runtime.Interpreter.from_bytes(model, arena_size=middle * ARENA_STEP)
                enough = middle
            except RuntimeError:
                too_small = middle
    return enough * ARENA_STEP


def operators(model):
    """Names of the operators that the program on the board registers."""
    schema = runtime.schema_fb.BuiltinOperator
    names = {value: name for name, value in vars(schema).items() if name.isupper()}
    codes = runtime.convert_bytearray_to_object(model).operatorCodes
    return sorted({names[runtime.get_builtin_code_from_operator_code(code)] for code in codes})


def c_string(text):
    """A literal of C, UTF-8 as octal numbers where it is not plain."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(o) if o in plain else f"\\{o:03o}" for o in text.encode()) + '"'


def c_file(model, class_names, arena):
    """C++ that holds the model, its class names and the size of its arena."""
    rows = [model[start : start + BYTES_A_LINE] for start in range(0, len(model), BYTES_A_LINE)]
    octets = ",\n".join("    " + ", ".join(map(str, row)) for row in rows)
    names = ",\n".join(f"    {c_string(name)}" for name in class_names)
    return (
        "#include <cstddef>\n\n"
        f"extern const std::size_t model_size = {len(model)};\n"
        f"extern const std::size_t tensor_arena_size = {arena};\n"
        f"extern const char* const class_names[] = {{\n{names}}};\n"
        f"alignas(16) extern const unsigned char model[] = {{\n{octets}}};\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="written with `keras-reprogram export --for microcontroller`")
    parser.add_argument("images", nargs="*", help="image files to classify")
    parser.add_argument("--c-file", type=Path, metavar="FILE", help="write the model as C++")
    arguments = parser.parse_args()
    model, class_names, facts = read_file(arguments.model)
    arena = least_arena(model)
    print(f"model: {len(model):,} bytes; arena: {arena:,} bytes")
    print(f"operators: {', '.join(operators(model))}")
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
    for image_file in arguments.images:
        image = read_image(image_file, facts["target_shape"], facts["target_range"])
        interpreter.set_input(image, 0)
        interpreter.invoke()
        scores = interpreter.get_output(0)[0]
        best = int(scores.argmax())
        print(f"{image_file}: {class_names[best]} ({scores[best]:.1%})")
    if arguments.c_file:
        arguments.c_file.write_text(c_file(model, class_names, arena))
        print(arguments.c_file)


if __name__ == "__main__":
    main()
