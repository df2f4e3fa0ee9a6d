"""What a LiteRT file is written for: form, batch and input follow, what does not fit is refused."""

import json
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_models import frozen_source, images_and_labels, small_model

from keras_reprogram import DenseMap, ProgramLayer, export_litert
from keras_reprogram.export import TARGETS, read_litert_facts
from keras_reprogram.export.litert_targets import plan_litert, refuse_newer

IMAGES, LABELS = images_and_labels(80)
HELD_OUT, HELD_OUT_LABELS = images_and_labels(48, seed=1)


@pytest.fixture(scope="module")
def model():
    return small_model()


def model_of(shape, target_range=(0, 255)):
    source = frozen_source()
    program = ProgramLayer(
        shape, source.source_shape, source_range=source.value_range, target_range=target_range
    )
    return small_model(source, DenseMap(3), program=program, fitted=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "watch"}, r"must be one of litert, mediapipe, .*ios. Received: 'watch'"),
        (
            {"target": "microcontroller", "form": "float16"},
            r"TFLite Micro cannot run the form float16.*Choose float32 or int8",
        ),
        ({"target": "microcontroller", "form": "dynamic_int8"}, "int8 weights and float act"),
        ({"target": "mediapipe", "batch": 2}, r"one image a call. Received: `batch=2`"),
        ({"target": "mediapipe", "rgb_input": False}, r"1 channels and `rgb_input=False`"),
        ({"target": "browser", "form": "float8"}, r"float32, float16, .*Received: 'float8'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "said",
)
def test_what_a_target_cannot_take_is_refused_first(model, options, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        export_litert(model, tmp_path / "a.tflite", **options)
    assert list(tmp_path.iterdir()) == []


def test_channels_and_ranges_that_mediapipe_cannot_take() -> None:
    with pytest.raises(ValueError, match=r"three channels. Received: 2 channels. It cannot run"):
        plan_litert(model_of((4, 4, 2)), "mediapipe", None, None, None)
    with pytest.raises(ValueError, match=r"range of its images.*ProgramLayer\(target_range="):
        plan_litert(model_of((4, 4, 3), None), "android", None, None, None)
    with pytest.raises(ValueError, match=r"targets of one channel. Received: images of 3"):
        plan_litert(model_of((4, 4, 3)), "litert", None, None, True)


@pytest.mark.parametrize(
    ("target", "form", "batch", "rgb_input"),
    [
        ("litert", "float32", None, False),
        ("mediapipe", "float16", 1, True),
        ("tflite-runtime", "float32", None, False),
        ("microcontroller", "int8", 1, False),
        ("browser", "float16", 1, False),
        ("android", "float16", 1, False),
        ("ios", "float16", 1, False),
    ],
)
def test_what_a_target_sets(model, target, form, batch, rgb_input) -> None:
    plan = plan_litert(model, target, None, None, None)
    assert (plan.form.name, plan.batch, plan.rgb_input) == (form, batch, rgb_input)
    assert plan_litert(model, target, "float32", 1, None).form.name == "float32"


def test_a_file_that_is_newer_than_its_runtime_is_refused(model) -> None:
    plan = plan_litert(model, "tflite-runtime", None, None, None)
    with pytest.raises(ValueError, match=r"ends at version 2.14.0. Received: .* version 2.17.0"):
        refuse_newer(plan, "2.17.0")
    refuse_newer(plan, "2.9.1")
    refuse_newer(plan, None)
    refuse_newer(plan_litert(model, "litert", None, None, None), "2.17.0")


def test_every_target_is_an_option_of_the_command_line() -> None:
    from keras_reprogram.command_line.litert_settings import LiteRTRuntime

    assert [str(runtime) for runtime in LiteRTRuntime] == list(TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "int8"])
def test_grey_images_in_three_channels(model, form, tmp_path) -> None:
    path = export_litert(
        model, tmp_path / "a.tflite", form=form, rgb_input=True, calibration_images=IMAGES
    )
    classify = Interpreter(str(path)).get_signature_runner("serving_default")
    assert classify.get_input_details()["image"]["shape_signature"].tolist() == [-1, 4, 4, 3]
    codes = HELD_OUT.round()
    expected = model.predict(codes, verbose=0)
    tolerance = 1e-5 if form == "float32" else 0.1
    found = classify(image=np.repeat(codes, 3, axis=-1))["scores"]
    np.testing.assert_allclose(found, expected, atol=tolerance)
    # Colours are weighed as image files are.
    colours = np.random.default_rng(0).uniform(0, 255, (5, 4, 4, 3)).astype("float32")
    grey = (colours @ np.array([19595, 38470, 7471]) / 65536)[..., None].astype("float32")
    found = classify(image=colours)["scores"]
    np.testing.assert_allclose(found, model.predict(grey, verbose=0), atol=tolerance)
    assert read_litert_facts(path).rgb_input


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_int8", "int8"])
def test_the_oldest_runtime_is_read_from_the_file(model, form, tmp_path) -> None:
    path = export_litert(model, tmp_path / "a.tflite", form=form, calibration_images=IMAGES)
    facts = read_litert_facts(path)
    # The dense layers of this model are too small to be quantised.
    assert facts.min_runtime_version == "2.3.0"
    assert f"TFLite runtime {facts.min_runtime_version} or newer" in str(facts)
    with zipfile.ZipFile(path) as archive:
        stored = json.loads(archive.read("keras_reprogram.json"))
    assert stored["min_runtime_version"] == facts.min_runtime_version


@pytest.mark.slow
def test_int8_is_judged_by_the_worse_kernels_on_images_that_calibrated_nothing(
    model, tmp_path
) -> None:
    path = export_litert(
        model,
        tmp_path / "a.tflite",
        form="int8",
        calibration_images=IMAGES,
        held_out_images=HELD_OUT,
        held_out_labels=HELD_OUT_LABELS,
    )
    agreement = read_litert_facts(path).agreement
    assert agreement.images == len(HELD_OUT)
    assert list(agreement.kernels) == ["XNNPACK", "reference"]
    assert agreement.same_class == min(agreement.kernels.values())
    expected = model.predict(HELD_OUT, verbose=0)
    right = np.mean(expected.argmax(axis=1) == HELD_OUT_LABELS)
    assert agreement.accuracy["model"] == pytest.approx(right)
    said = str(agreement)
    assert "with the reference kernels" in said and "from the model" in said


@pytest.mark.slow
def test_progress_is_reported_to_the_end(model, tmp_path, capfd) -> None:
    seen = []
    export_litert(
        model,
        tmp_path / "a.tflite",
        form="int8",
        calibration_images=IMAGES,
        progress=lambda done, total: seen.append((done, total)),
    )
    # 48 calibrate, 32 are held out: the model, both kinds of kernels, and the first 32 alone.
    assert seen[0] == (0, 48 + 4 * 32)
    assert seen[-1] == (48 + 4 * 32, 48 + 4 * 32)
    done = [one for one, _ in seen]
    assert done == sorted(done) and len(done) > 48
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_bar_is_shown_while_int8_is_made(model, tmp_path, capsys) -> None:
    export_litert(model, tmp_path / "a.tflite", form="int8", calibration_images=IMAGES, verbose=1)
    assert "176/176" in capsys.readouterr().out
