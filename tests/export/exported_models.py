"""What the tests of SavedModels share: one of digits, and how one is asked, here or elsewhere."""

import subprocess
import sys
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    ProgramLayer,
    ReprogrammedModel,
    embedded_path,
    export_saved_model,
)
from keras_reprogram.datasets import load_target
from keras_reprogram.export import ExportedModel

METRICS = {"accuracy": np.float32(0.5), "confusion": np.eye(2, dtype=int)}


class DigitsExport(NamedTuple):
    model: ReprogrammedModel
    exported: ExportedModel
    images: np.ndarray


def keras_signs():
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    return FrozenSource(network, value_range=(0, 255))


def export_digits(num_views, folder):
    """Digits through the traffic signs, trained as far as the exact fit goes."""
    data = load_target("digits").draw(train_images=300, test_images=200, seed=0)
    source = keras_signs()
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        num_views=num_views,
        placement="views" if num_views > 1 else "center",
    )
    program.program_weights.assign(
        np.random.default_rng(0).normal(0, 0.3, program.program_weights.shape)
    )
    names = [f"digit {number}" for number in range(10)]
    model = ReprogrammedModel(program, source, DenseMap(10), class_names=names)
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    exported = export_saved_model(model, folder / "digits", metrics=METRICS)
    return DigitsExport(model, exported, data.test_images.astype("float32"))


SERVE = """
import sys
sys.modules["keras"] = sys.modules["keras_reprogram"] = None
import numpy as np
import tensorflow as tf

images = np.load(sys.argv[2])
loaded = tf.saved_model.load(sys.argv[1])
serve, serve_files = (loaded.signatures[name] for name in ("serving_default", "image_bytes"))
scores = [serve(image=tf.constant(part))["scores"].numpy() for part in (images[:1], images)]
np.testing.assert_allclose(scores[0], scores[1][:1], atol=1e-5)
files = [tf.io.encode_png(image.astype("uint8")) for image in images[:9]]
answers = serve_files(image_bytes=tf.stack(files)), serve(image=tf.constant(images[:9]))
np.testing.assert_allclose(*(answer["scores"] for answer in answers), atol=1e-6)
np.save(sys.argv[3], scores[1])
"""


def served_elsewhere(version, tmp_path, images):
    """The scores of a fresh process in another folder, without this package and Keras.

    Images are whole numbers, 0..255, which it also serves as files.
    """
    np.save(tmp_path / "images.npy", images)
    files = [str(version), str(tmp_path / "images.npy"), str(tmp_path / "scores.npy")]
    run = subprocess.run(
        [sys.executable, "-c", SERVE, *files], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return np.load(tmp_path / "scores.npy")


def signatures(version):
    loaded = tf.saved_model.load(str(version))
    # They die with what they were loaded from.
    loaded.signatures.loaded = loaded
    return loaded.signatures


def scores_of(version, images):
    return signatures(version)["serving_default"](image=tf.constant(images))["scores"].numpy()


def png(codes):
    return tf.io.encode_png(np.asarray(codes, np.uint8)).numpy()
