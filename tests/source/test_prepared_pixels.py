"""Order of channels, scale and offset of files: SavedModel, LiteRT and ONNX alike."""

import numpy as np
import pytest
import tensorflow as tf
from checks.tiny_models import random_images

from keras_reprogram import LiteRTSource, ONNXSource, SavedModelSource, embedded_path
from keras_reprogram.command_line.source_settings import read_settings
from keras_reprogram.command_line.sources import resolve_source

KINDS = {"saved": SavedModelSource, "float": LiteRTSource, "onnx": ONNXSource}
# Of Caffe's networks, and of those that Custom Vision exports (which have no scale).
CAFFE = (0.5, (-104.0, -117.0, -123.0))


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_turned_round_and_scaled(kind, files):
    make, path, images = KINDS[kind], getattr(files, kind), random_images(3)
    plain = make(path, value_range=(-1000, 1000))
    prepared = images[..., ::-1] * 0.5 + np.float32(CAFFE[1])
    source = make(path, value_range=(0, 255), channel_order="bgr", preprocessing=CAFFE)
    np.testing.assert_allclose(source(images), plain(prepared), atol=1e-5)
    bgr = make(path, value_range=(0, 255), channel_order="bgr")
    np.testing.assert_allclose(bgr(images), plain(images[..., ::-1]), atol=1e-6)
    rgb = make(path, value_range=(0, 255))
    assert np.abs(np.asarray(rgb(images)) - np.asarray(bgr(images))).max() > 1e-3
    assert len({one.fingerprint for one in (source, bgr, rgb)}) == 3
    again = make.from_config(source.get_config())
    assert again.fingerprint == source.fingerprint
    np.testing.assert_array_equal(again(images), source(images))
    with pytest.raises(ValueError, match="`channel_order` must be 'rgb' or 'bgr'"):
        make(path, value_range=(0, 255), channel_order="grb")


def test_gradients_flow_through_the_preparation(files):
    source = SavedModelSource(
        files.saved, value_range=(0, 255), channel_order="bgr", preprocessing=CAFFE
    )
    plain = SavedModelSource(files.saved, value_range=(-1000, 1000))
    images = tf.constant(random_images(2))
    slopes = []
    for ask in (source, lambda x: plain(x[..., ::-1] * CAFFE[0] + CAFFE[1])):
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = ask(images)[:, 0]
        slopes.append(tape.gradient(score, images))
    assert np.abs(slopes[0]).max() > 1e-6
    np.testing.assert_allclose(*slopes, rtol=1e-3, atol=1e-7)


def test_an_8_bit_file_may_take_blue_first(files):
    images = random_images(4).round()
    bgr = LiteRTSource(files.uint8, channel_order="bgr")
    plain = LiteRTSource(files.uint8)
    np.testing.assert_array_equal(bgr(images), plain(images[..., ::-1]))
    codes = images.astype(np.uint8)
    np.testing.assert_array_equal(bgr(codes), plain(codes[..., ::-1]))
    with pytest.raises(ValueError, match=r"takes whole numbers, uint8.*Leave `preprocessing` out"):
        LiteRTSource(files.uint8, preprocessing=(2, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_takes_them_for_every_file(kind, files):
    settings = read_settings(
        value_range="0,255",
        channel_order="bgr",
        pixel_scale="0.5",
        pixel_offset="-104,-117,-123",
    )
    source = resolve_source(str(getattr(files, kind)), settings=settings).source
    assert (source.channel_order, source.preprocessing) == ("bgr", CAFFE)


def test_class_names_of_every_file(files, tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\nf\n")
    settings = read_settings(value_range="0,255", class_names=str(tmp_path / "labels.txt"))
    for kind in KINDS:
        source = resolve_source(str(getattr(files, kind)), settings=settings).source
        assert source.class_names == tuple("abcdef")
    with pytest.raises(ValueError, match="must name all 43 scores. Received: 6 names"):
        resolve_source(str(embedded_path("traffic_signs.tflite")), settings=settings)
