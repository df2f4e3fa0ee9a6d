"""Trains the small traffic-sign classifier that ships in `keras_reprogram/source/embedded`.

    export KERAS_REPROGRAM_DATA=...   # the folder that holds gtsrb_32_sub.npz
    python examples/train_traffic_signs.py --output saved_models/traffic_signs

Progress goes to stderr, the figures go to stdout as JSON and into traffic_signs.json.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from keras_reprogram.source.embedded import TRAFFIC_SIGN_LABELS

INPUT_SHAPE = (32, 32, 3)
BATCH_SIZE = 64
Arrays = tuple[np.ndarray, np.ndarray]


def load_data() -> dict[str, np.ndarray]:
    """Reads gtsrb_32_sub.npz from the folder that KERAS_REPROGRAM_DATA names."""
    folder = os.environ.get("KERAS_REPROGRAM_DATA")
    path = Path(folder or ".") / "gtsrb_32_sub.npz"
    if folder is None or not path.is_file():
        raise ValueError(
            "KERAS_REPROGRAM_DATA must name the folder that holds gtsrb_32_sub.npz. "
            f"Received: KERAS_REPROGRAM_DATA={folder!r}. Set it and run again."
        )
    with np.load(path) as data:
        return dict(data)


def validation_mask(labels: np.ndarray, tracks: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Marks the images of whole tracks, `share` of each class's tracks and at least one.

    A track is one physical sign filmed while driving by: its frames are near copies, so a split
    by image would let the network see the validation signs.
    """
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = np.unique(tracks[labels == label])
        chosen = rng.permutation(of_class)[: max(1, round(share * len(of_class)))]
        mask |= (labels == label) & np.isin(tracks, chosen)
    return mask


def random_affine(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws `(count, 8)` transforms about the centre: rotation, zoom, shear and translation."""
    angle = rng.uniform(-0.26, 0.26, count)
    zoom = np.exp(rng.uniform(-0.18, 0.18, (2, count)) * [[1.0], [0.4]])
    across, down = zoom[0] * zoom[1], zoom[0] / zoom[1]
    shear = rng.uniform(-0.15, 0.15, count)
    cosine, sine = np.cos(angle), np.sin(angle)
    xx, xy = across * cosine, across * (shear * cosine - sine)
    yx, yy = down * sine, down * (shear * sine + cosine)
    centre = (INPUT_SHAPE[0] - 1) / 2
    shift = rng.uniform(-3, 3, (2, count)) + centre
    zeros = np.zeros(count)
    columns = [xx, xy, shift[0] - centre * (xx + xy), yx, yy, shift[1] - centre * (yx + yy)]
    return np.stack([*columns, zeros, zeros], axis=1).astype("float32")


def random_light(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Changes brightness, tint and contrast of each image; the result stays in 0..255."""
    shape = (len(images), 1, 1, 1)
    gain = np.exp(rng.uniform(-0.9, 0.7, shape))
    tint = np.exp(rng.normal(0, 0.07, (len(images), 1, 1, 3)))
    contrast = np.exp(rng.uniform(-0.5, 0.3, shape))
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return np.clip(((images - mean) * contrast + mean) * gain * tint, 0, 255).astype("float32")


class AugmentedSigns(keras.utils.PyDataset):
    """Training batches, shuffled and augmented anew in every epoch. Signs are never flipped."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int) -> None:
        super().__init__()
        self.images, self.labels, self.seed, self.epoch = images, labels, seed, 0

    def __len__(self) -> int:
        return len(self.labels) // BATCH_SIZE

    def __getitem__(self, index: int) -> Arrays:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.labels))
        rows = order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        moved = keras.ops.image.affine_transform(
            self.images[rows].astype("float32"), random_affine(rng, len(rows)), fill_mode="nearest"
        )
        return random_light(rng, keras.ops.convert_to_numpy(moved)), self.labels[rows]

    def on_epoch_end(self) -> None:
        self.epoch += 1


def build_model() -> keras.Model:
    """Builds the network: raw pixels in, seven convolutions, 43 probabilities out."""
    image = keras.Input(INPUT_SHAPE, name="image")
    x = layers.Rescaling(1 / 127.5, -1, name="to_unit_range")(image)
    for filters, strides, pool in [
        (24, 1, False),
        (32, 2, False),
        (40, 1, False),
        (48, 1, True),
        (80, 1, False),
        (80, 1, True),
        (96, 1, False),
    ]:
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.95)(x))
        if pool:
            x = layers.Dropout(0.1)(layers.MaxPooling2D()(x))
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    scores = layers.Dense(len(TRAFFIC_SIGN_LABELS), activation="softmax", name="scores")(x)
    return keras.Model(image, scores, name="traffic_signs")


def train(train_data: Arrays, validation_data: Arrays, epochs: int, seed: int) -> keras.Model:
    """Trains for `epochs` and returns an uncompiled model with the best validation loss."""
    keras.utils.set_random_seed(seed)
    model = build_model()
    batches = AugmentedSigns(*train_data, seed=seed)
    steps = epochs * len(batches)
    warmup = steps // 20
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4, steps - warmup, alpha=0.001, warmup_target=2e-3, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.02)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    best = keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)
    model.fit(batches, validation_data=validation_data, epochs=epochs, callbacks=[best], verbose=2)
    shipped = build_model()
    shipped.set_weights(model.get_weights())
    return shipped


def tflite_scores(path: Path, images: np.ndarray) -> np.ndarray:
    """Runs a LiteRT file on all images in one call."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner()(image=images)["output_0"]


def measure(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns accuracy, accuracy averaged over classes, and cross-entropy."""
    right = scores.argmax(axis=1) == labels
    by_class = [right[labels == label].mean() for label in np.unique(labels)]
    loss = -np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-7)).mean()
    values = {"accuracy": right.mean(), "class_mean_accuracy": np.mean(by_class), "loss": loss}
    return {"images": len(labels)} | {name: round(float(v), 4) for name, v in values.items()}


def measure_files(keras_path: Path, tflite_path: Path, data: Arrays) -> dict[str, dict[str, float]]:
    """Measures both files as a user would load them."""
    images, labels = data[0].astype("float32"), data[1]
    model = keras.saving.load_model(keras_path)
    return {
        "keras": measure(model.predict(images, batch_size=256, verbose=0), labels),
        "tflite": measure(tflite_scores(tflite_path, images), labels),
    }


def describe(path: Path) -> dict[str, int | str]:
    """Returns size and sha256 of a file."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def run(arguments: argparse.Namespace) -> dict:
    """Trains, writes both model files, and returns the facts for traffic_signs.json."""
    started, data = time.monotonic(), load_data()
    images, labels, tracks = (data[f"train_{key}"] for key in ("image", "label", "track"))
    held_out = validation_mask(labels, tracks, arguments.validation_share, arguments.seed)
    validation = (images[held_out], labels[held_out])
    training = (images[~held_out], labels[~held_out])
    model = train(training, validation, arguments.epochs, arguments.seed)
    paths = [arguments.output / f"traffic_signs.{suffix}" for suffix in ("keras", "tflite")]
    model.save(paths[0])
    model.export(paths[1], format="litert", verbose=False)
    figures = {"train_images": len(training[1]), "validation": measure_files(*paths, validation)}
    if not arguments.no_test:
        figures["test"] = measure_files(*paths, (data["test_image"], data["test_label"]))
    figures |= {"parameters": model.count_params(), "files": {p.name: describe(p) for p in paths}}
    figures |= {"epochs": arguments.epochs, "seed": arguments.seed}
    figures["seconds"] = round(time.monotonic() - started)
    facts = {"labels": TRAFFIC_SIGN_LABELS, "input_shape": INPUT_SHAPE, "value_range": (0, 255)}
    return facts | {"figures": figures}


def main() -> None:
    """Parses the command line, trains, and writes the three files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path("saved_models/traffic_signs"), help="folder to write to"
    )
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and augmentation")
    parser.add_argument("--validation-share", type=float, default=0.15, help="of the tracks")
    parser.add_argument(
        "--no-test", action="store_true", help="leave the test images alone (for choosing settings)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files in --output")
    arguments = parser.parse_args()
    facts_path = arguments.output / "traffic_signs.json"
    if facts_path.exists() and not arguments.overwrite:
        parser.error(f"{facts_path} exists. Pass --overwrite, or another --output.")
    arguments.output.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(sys.stderr):
        facts = run(arguments)
    facts_path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(facts["figures"], indent=2))


if __name__ == "__main__":
    main()
