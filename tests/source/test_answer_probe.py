"""A file whose answers hardly move when the image does is said when it is opened."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from onnx_files import write_onnx

from keras_reprogram import (
    FrozenSource,
    LiteRTSource,
    ONNXSource,
    SavedModelSource,
    Source,
    embedded_path,
)
from keras_reprogram.source.answer_probe import answers_move, largest_move, probe_images

STILL = r"answers nearly alike.*no score moves by more than 0\.\d+ .*Check `value_range`"


def network_of_pixels() -> keras.Model:
    """A classifier of the mean colour, sure of itself for pixels of 0 to 255."""
    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    network.layers[-1].set_weights([20 * np.eye(3), np.zeros(3)])
    return network


def as_keras_file(folder: Path, value_range: tuple[float, float]) -> Source:
    network_of_pixels().save(folder / "a.keras")
    return FrozenSource.from_file(folder / "a.keras", value_range=value_range)


def as_h5_file(folder: Path, value_range: tuple[float, float]) -> Source:
    network_of_pixels().save(folder / "a.h5")
    return FrozenSource.from_file(folder / "a.h5", value_range=value_range)


def as_saved_model(folder: Path, value_range: tuple[float, float]) -> Source:
    network_of_pixels().export(folder / "a", verbose=False)
    return SavedModelSource(folder / "a", value_range=value_range)


def as_tflite_file(folder: Path, value_range: tuple[float, float]) -> Source:
    written = tf.lite.TFLiteConverter.from_keras_model(network_of_pixels()).convert()
    (folder / "a.tflite").write_bytes(written)
    return LiteRTSource(folder / "a.tflite", value_range=value_range)


def as_onnx_file(folder: Path, value_range: tuple[float, float]) -> Source:
    return ONNXSource(write_onnx(folder / "a.onnx"), value_range=value_range)


KINDS = [as_keras_file, as_h5_file, as_saved_model, as_tflite_file, as_onnx_file]


@pytest.mark.parametrize("opened", KINDS)
@pytest.mark.filterwarnings("ignore:.*HDF5 file", "ignore:Statistics for quantized")
def test_every_kind_of_file_is_asked_when_it_is_opened(opened, tmp_path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        source = opened(tmp_path, (0, 255))
    assert not [one for one in said if "nearly alike" in str(one.message)]
    with pytest.warns(UserWarning, match=STILL) as said:
        opened(tmp_path, (0, 1))
    (note,) = (one for one in said if "nearly alike" in str(one.message))
    assert str(tmp_path / "a") in str(note.message) or "a.onnx" in str(note.message)
    # Asking is not counted: these queries are nobody's.
    assert not source.queries_used


def test_a_network_in_memory_may_be_untrained():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FrozenSource(network_of_pixels(), value_range=(0, 1))


def test_images_and_moves():
    images = probe_images((12, 20, 3), (-1, 1))
    assert images.shape == (5, 12, 20, 3) and images.dtype == np.float32
    assert images.min() >= -1 and images.max() <= 1 and np.ptp(images[0]) == 0
    assert [len(np.unique(image[..., 0])) for image in images[1:3]] == [4, 9]
    assert largest_move(np.array([[0.2, 0.8], [0.4, 0.6]]), "probabilities") == pytest.approx(
        np.log(2), abs=1e-4
    )
    # A sigmoid of nearly 1 tells by what is left.
    assert answers_move(np.array([[0.99], [0.9]]), "independent")
    assert not answers_move(np.array([[0.99], [0.9]]), "probabilities")
    assert answers_move(np.array([[-3.0], [-2.0]]), "logits")


# File -> the range of its own pixels (`None`: it says it), and one of nearly black pixels.
MOBILENET, SIGNS, RESNET_20 = "MobileNet 0.25 at 128 pixels", "traffic signs", "ResNet-20"
REAL_FILES = {
    "efficientnet_lite0.onnx": ((-1, 1), (-1, -1 + 2 / 255)),
    MOBILENET: ((-1, 1), (-1, -1 + 2 / 255)),
    "edge/pretrainedResnet.h5": ((0, 255), (0, 1)),
    "edge/pretrainedResnet.tflite": ((0, 255), (0, 1)),
    RESNET_20: ((0, 255), (0, 1)),
    "moderation_mobilenet_v2.keras": ((0, 1), (0, 1 / 255)),
    SIGNS: ((0, 255), (0, 1)),
    "edge/vww_96_float.tflite": ((0, 1), (0, 1 / 255)),
    "edge/vww_96_int8.tflite": (None, None),
    "edge/pretrainedResnet_quant.tflite": (None, None),
    "mobilenet_v1_0.25_128_quant.tflite": (None, None),
    "mobilenet_v2_1.0_224_quant.tflite": (None, None),
}


def real_file(name: str, models: Path, folder: Path) -> Path:
    if name == MOBILENET:
        keras.applications.MobileNet(
            weights="imagenet", alpha=0.25, input_shape=(128, 128, 3)
        ).save(folder / "mobilenet.keras")
        return folder / "mobilenet.keras"
    benchmark = Path(__file__).parents[2] / "examples" / "benchmark"
    ours = {
        SIGNS: embedded_path("traffic_signs.keras"),
        RESNET_20: benchmark / "cifar10_source.keras",
    }
    return Path(ours.get(name, models / name))


def open_file(path: Path, value_range: tuple[float, float] | None) -> Source:
    if path.suffix in (".h5", ".keras"):
        return FrozenSource.from_file(path, value_range=value_range)
    kind = ONNXSource if path.suffix == ".onnx" else LiteRTSource
    return kind(path, value_range=value_range)


def move_of(source: Source, value_range: tuple[float, float]) -> float:
    answers = source.answer(probe_images(source.source_shape, value_range))
    return largest_move(keras.ops.convert_to_numpy(answers), source.score_kind)


@pytest.mark.slow
@pytest.mark.usefixtures("keras_home")
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files(name, reprogram_models, tmp_path):
    """Prints the table of docs/models.md."""
    own, dark = REAL_FILES[name]
    path = real_file(name, reprogram_models, tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*nearly alike")
        source = open_file(path, own)
    # No false alarm, with room.
    assert move_of(source, source.value_range) > 2
    print(f"\n{name}: {move_of(source, source.value_range):.2f}")
    if dark is None:
        return
    print(f"  in the dark: {move_of(source, dark):.2f}")
    with pytest.warns(UserWarning, match=STILL):
        open_file(path, dark)
