"""The real AttRNN: its front end, its answer to a spoken word, files and exports around it."""

import os
import wave
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy.signal import resample_poly

from keras_reprogram import (
    DenseMap,
    LiteRTSource,
    ReprogrammedModel,
    SeriesProgram,
    export_litert,
    export_saved_model,
)
from keras_reprogram.source import speech_commands_source
from keras_reprogram.source.speech_commands import WORDS, LogMelBands, attention_network

FOLDER = Path(os.environ.get("KERAS_REPROGRAM_MODELS", "no folder")) / "audio"
needs_weights = pytest.mark.skipif(
    not (FOLDER / "model-attRNN.h5").is_file(),
    reason="KERAS_REPROGRAM_MODELS has no audio/model-attRNN.h5",
)


def spoken_eight():
    """The published recording at 16,000 a second, its loudest second."""
    with wave.open(str(FOLDER / "word_eight.wav")) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        sound = frames.reshape(-1, file.getnchannels()).mean(axis=1) / 2**15
        sound = resample_poly(sound, 16_000, file.getframerate())
    loudness = np.convolve(sound**2, np.ones(16_000), "valid")
    start = int(loudness.argmax())
    return sound[start : start + 16_000].astype("float32")


@pytest.fixture(scope="module")
def source():
    return speech_commands_source(FOLDER / "model-attRNN.h5")


def published_bands(sound):
    """The authors' front end, of one clip."""
    spectrum = tf.abs(tf.signal.stft(sound, 1024, 128, 1024, pad_end=True))
    matrix = tf.signal.linear_to_mel_weight_matrix(80, 513, 16_000, 40.0, 8000.0)
    logs = tf.math.log(tf.tensordot(spectrum, matrix, 1) + 1e-6)
    return (logs - tf.reduce_mean(logs)) / tf.math.reduce_std(logs)


@pytest.mark.slow
def test_bands_are_the_published_ones_of_each_clip_alone():
    sounds = np.random.default_rng(0).normal(0, 0.1, (3, 16_000)).astype("float32")
    sounds[1] *= np.linspace(0, 5, 16_000)
    found = LogMelBands()(sounds)
    assert found.shape == (3, 125, 80)
    for one, sound in zip(found, sounds, strict=True):
        np.testing.assert_allclose(one, published_bands(sound), atol=2e-3)


@pytest.mark.slow
def test_silence_has_an_answer_and_a_gradient():
    keras.utils.set_random_seed(0)
    network = attention_network()
    silence = tf.zeros((1, 16_000))
    with tf.GradientTape() as tape:
        tape.watch(silence)
        scores = network(silence, training=False)
        loss = scores[0, 3]
    assert np.isfinite(scores).all()
    assert np.isfinite(tape.gradient(loss, silence)).all()


def test_a_missing_or_other_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="Download model-attRNN.h5 .* from https://github"):
        speech_commands_source(tmp_path / "model-attRNN.h5")


@pytest.mark.slow
def test_another_file(tmp_path):
    (tmp_path / "text.h5").write_text("nothing of the kind")
    with pytest.raises(ValueError, match="text.h5, which cannot be read"):
        speech_commands_source(tmp_path / "text.h5")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.h5")
    with pytest.raises(ValueError, match="Received: .*other.h5, (which|2 arrays)"):
        speech_commands_source(tmp_path / "other.h5")


@needs_weights
@pytest.mark.slow
def test_it_hears_eight(source):
    sound = spoken_eight()
    scores = keras.ops.convert_to_numpy(source(sound[None]))[0]
    assert WORDS[scores.argmax()] == "eight" and scores.max() > 0.9
    assert source.class_names == WORDS and source.source_shape == (16_000,)
    # What is beside a clip does not change its answer.
    both = np.stack([sound, 0.1 * sound[::-1]])
    np.testing.assert_allclose(source(both)[0], scores, atol=1e-4)


@needs_weights
@pytest.mark.slow
def test_its_tflite_holds_operations_of_tensorflow():
    theirs = LiteRTSource(
        FOLDER / "model-KWS-attRNN.tflite", value_range=(-1, 1), image_size=16_000
    )
    assert theirs.source_shape == (16_000,) and theirs.num_labels == 36
    with pytest.raises(ValueError, match="operations alone. Received: a file with TensorFlow's"):
        theirs(np.zeros((1, 16_000), "float32"))
    with pytest.raises(ValueError, match="Pass the length as `image_size=16000`"):
        LiteRTSource(FOLDER / "model-KWS-attRNN.tflite", value_range=(-1, 1))


@needs_weights
@pytest.mark.slow
def test_keras_file_and_saved_model(source, tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 60)).astype("float32")
    y = np.arange(12) % 2
    program = SeriesProgram((60,), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(2))
    model.fit_output_map(x, y, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-5)
    folder = export_saved_model(model, tmp_path / "served", batch_sizes=(1,)).folder
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    found = serve(image=tf.constant(x))["scores"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@needs_weights
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:.*does not agree with the model")
def test_litert_file_of_one_series_a_call(source, tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 60)).astype("float32")
    program = SeriesProgram((60,), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(2))
    model.fit_output_map(x, np.arange(12) % 2, verbose=0)
    with pytest.raises(ValueError, match="A recurrent layer needs a fixed number of images a call"):
        export_litert(model, tmp_path / "open.tflite")
    path = export_litert(model, tmp_path / "one.tflite", batch=1, force=True)
    serve = Interpreter(str(path)).get_signature_runner()
    found = np.concatenate([serve(image=one[None])["scores"] for one in x])
    # Logarithms of nearly silent bands, rounded in another order, and two recurrent layers.
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-3)


@needs_weights
@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch):
    series = Path(os.environ.get("KERAS_REPROGRAM_DATA", "no folder")) / "series"
    if not series.is_dir():
        pytest.skip("KERAS_REPROGRAM_DATA has no series")
    page = (Path(__file__).parents[2] / "docs" / "series.md").read_text()
    code = page.split("```py\n")[1].split("```")[0]
    (tmp_path / "model-attRNN.h5").symlink_to(FOLDER / "model-attRNN.h5")
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"GunPoint_{part}.ts").symlink_to(series / f"GunPoint_{part}.ts")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["model"].queries_used >= 50 * 8


@needs_weights
@pytest.mark.slow
def test_a_program_on_it_learns(source):
    random = np.random.default_rng(0)
    x = random.normal(size=(24, 60)).astype("float32")
    y = np.arange(24) % 2
    x[y == 1] = np.cumsum(x[y == 1], axis=1) / 5
    program = SeriesProgram((60,), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(2))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit_output_map(x, y, verbose=0)
    before = weights_of(program)
    losses = model.fit(x, y, epochs=2, batch_size=8, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and not np.array_equal(before, weights_of(program))


def weights_of(program):
    return keras.ops.convert_to_numpy(program.program_weights)
