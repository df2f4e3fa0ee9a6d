"""MLPerf Tiny's keyword spotter: its front end, its answer to a spoken word, files around it."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import (
    DenseMap,
    LiteRTSource,
    ReprogrammedModel,
    SeriesProgram,
    embedded_path,
    load_program,
    save_program,
)
from keras_reprogram.datasets import load_series
from keras_reprogram.source import KeywordSpotterSource
from keras_reprogram.source.keyword_spotter import SPOTTED, cepstral_coefficients
from tests.source.test_speech_commands import spoken_eight

FOLDER = Path(os.environ.get("KERAS_REPROGRAM_MODELS", "no folder")) / "audio"
SERIES = Path(os.environ.get("KERAS_REPROGRAM_DATA", "no folder")) / "series"
FILES = ("kws_ref_model_float32.tflite", "kws_ref_model.tflite")
needs_files = pytest.mark.skipif(
    not all((FOLDER / file).is_file() for file in FILES),
    reason="KERAS_REPROGRAM_MODELS has no audio/kws_ref_model*.tflite",
)


def published_coefficients(sound):
    """The benchmark's front end as its training code states it, of one clip."""
    spectrum = tf.abs(tf.signal.stft(sound / np.max(sound), 480, 320))
    matrix = tf.signal.linear_to_mel_weight_matrix(40, 257, 16_000, 20.0, 4000.0)
    logs = tf.math.log(tf.tensordot(spectrum, matrix, 1) + 1e-6)
    return tf.signal.mfccs_from_log_mel_spectrograms(logs)[:, :10]


def test_coefficients_are_the_published_ones():
    sounds = np.random.default_rng(0).normal(0, 0.1, (3, 16_000)).astype("float32")
    sounds[1] *= np.linspace(0, 5, 16_000)
    sounds[2] = np.sin(np.arange(16_000) / 20)
    found = cepstral_coefficients(sounds)
    assert found.shape == (3, 49, 10)
    for one, sound in zip(found, sounds, strict=True):
        # A pure tone leaves bands at float32's rounding, whose logarithms differ most.
        np.testing.assert_allclose(one, published_coefficients(sound), atol=0.03)


def test_silence_has_coefficients():
    found = cepstral_coefficients(np.stack([np.zeros(16_000, "float32"), -np.ones(16_000, "f4")]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0, :, 0], 40 * np.log(1e-6) * 2 / np.sqrt(80), rtol=1e-5)


def test_a_missing_or_other_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="Download kws_ref_model_float32.tflite .* from ht"):
        KeywordSpotterSource(tmp_path / "kws_ref_model.tflite")
    with pytest.raises(ValueError, match=r"Received: .*signs.tflite, \(32, 32, 3\) in, 43 out"):
        KeywordSpotterSource(embedded_path("traffic_signs.tflite"))


@needs_files
@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_word_that_it_was_not_taught(file):
    source = KeywordSpotterSource(FOLDER / file)
    sounds = np.stack([spoken_eight(), np.zeros(16_000, "float32")])
    scores = keras.ops.convert_to_numpy(source(sounds))
    assert source.class_names == SPOTTED and source.source_shape == (16_000,)
    assert SPOTTED[scores[0].argmax()] == "unknown" and scores[0].max() > 0.98
    # Loudness says nothing, since samples are divided by their largest.
    np.testing.assert_allclose(source(0.1 * sounds)[0], scores[0], atol=0.01)
    assert not source.costs_queries and source.queries_used == 4


@needs_files
@pytest.mark.slow
def test_the_file_of_8_bits_answers_as_the_other():
    rng = np.random.default_rng(0)
    sounds = np.concatenate([rng.uniform(-1, 1, (4, 16_000)), [spoken_eight()]]).astype("f4")
    full, small = (np.asarray(KeywordSpotterSource(FOLDER / file)(sounds)) for file in FILES)
    np.testing.assert_allclose(full, small, atol=0.1)
    # Its codes stand for coefficients; an image's 0 to 255 spread over them are other numbers.
    as_image = LiteRTSource(FOLDER / FILES[1])
    wrong = np.asarray(as_image(cepstral_coefficients(sounds)[..., None]))
    assert np.abs(full - wrong).max() > 0.3


@needs_files
@pytest.mark.slow
def test_a_task_is_learned_through_it_and_kept(tmp_path):
    target = load_series(SERIES / "GunPoint_TRAIN.ts")
    source = KeywordSpotterSource(FOLDER / FILES[0])
    program = SeriesProgram(
        target.target_shape, source.source_shape, source_range=source.value_range, num_views=8
    )
    model = ReprogrammedModel(program, source, DenseMap(2), class_names=target.class_names)
    model.fit_output_map(target.train_images, target.train_labels, verbose=0)
    assert model.queries_used == 50 * 8
    expected = model.predict(target.test_images, verbose=0)
    assert np.mean(expected.argmax(axis=1) == target.test_labels) > 0.7  # the larger class: .51
    save_program(model, tmp_path / "gun.reprogram")
    again = KeywordSpotterSource.from_config(source.get_config())
    assert again.fingerprint == source.fingerprint
    loaded = load_program(tmp_path / "gun.reprogram", again)
    np.testing.assert_array_equal(loaded.predict(target.test_images, verbose=0), expected)
    with pytest.raises(ValueError, match="fingerprint|another source"):
        load_program(tmp_path / "gun.reprogram", KeywordSpotterSource(FOLDER / FILES[1]))
