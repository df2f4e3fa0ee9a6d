"""What export_litert refuses: images that do not fit, and files that do not agree."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_models import frozen_source, images_and_labels, saved_model_source, small_model

from keras_reprogram import MultiLabelMap, NewHead, export_litert
from keras_reprogram.export import litert, litert_conversion, read_litert_facts
from keras_reprogram.export.litert_agreement import form_named, run_litert
from keras_reprogram.export.litert_conversion import convert
from keras_reprogram.export.litert_images import conversion_images
from keras_reprogram.export.litert_targets import plan_litert

IMAGES, LABELS = images_and_labels(80)


@pytest.fixture(scope="module")
def model():
    return small_model()


def with_one(images, value):
    images = images.copy()
    images[7, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "needs `calibration_images`.*Received: None.*(32|64) to 1,000 training images"),
        (IMAGES[:31], "at least 32. Received: 31"),
        (IMAGES[:0], "Received: an empty data set"),
        (IMAGES[..., 0], r"4 axes.*Received: shape \(80, 4, 4\)"),
        (np.zeros((80, 5, 4, 1)), r"shape \(4, 4, 1\). Received: shape \(5, 4, 1\)"),
        (with_one(IMAGES, np.nan), "finite. Received: NaN or infinity in image 7"),
        (with_one(IMAGES, 300), "`target_range` .*Received: values from .* to 300"),
        (IMAGES / 255 - 1, "`target_range` .*Received: values from -"),
        (np.full((80, 4, 4, 1), "a.png"), "numbers. Received: dtype"),
    ],
)
@pytest.mark.parametrize("form", ["float16", "dynamic_int8", "int8"])
def test_calibration_images_are_checked_first(model, images, message, form, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        export_litert(model, tmp_path / "a.tflite", form=form, calibration_images=images)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(model, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"float32, float16, .*Received: 'float8'"):
        export_litert(model, tmp_path / "a.tflite", form="float8")
    with pytest.raises(ValueError, match=r"share of images in \[0, 1\]. Received: 97"):
        export_litert(model, tmp_path / "a.tflite", least_agreement=97)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["saved_model", "features", "labels"],
)
def test_int8_of_other_sources_and_maps(kind, tmp_path) -> None:
    if kind == "features":
        model = small_model(frozen_source(output="features"), NewHead(3))
    elif kind == "labels":
        model = small_model(output_map=MultiLabelMap(3))
    else:
        model = small_model(saved_model_source(tmp_path / "network"))
    path = export_litert(
        model, tmp_path / "a.tflite", form="int8", calibration_images=IMAGES.astype("uint8")
    )
    tensors = Interpreter(model_path=str(path)).get_tensor_details()
    own = [t for t in tensors if t["name"].startswith(("program", "output_map"))]
    assert {t["dtype"] for t in own} <= {np.float32, np.int32}
    assert any(t["dtype"] == np.int8 and len(t["shape"]) == 4 for t in tensors)


def test_the_first_eighth_of_the_convolutions_stays_in_float() -> None:
    """With all that runs in between: 3 and 4 are convolutions, 0 is an addition."""
    kinds = [3, 0, 4, 0, *[3] * 15]
    steps = [litert_conversion._Step(kind, str(index)) for index, kind in enumerate(kinds)]
    assert litert_conversion._first_layers(steps) == {"0", "1", "2"}
    assert litert_conversion._first_layers(steps[5:12]) == set()


@pytest.fixture(scope="module")
def content(model):
    """One conversion, which takes longer than what the tests do with it."""
    plan = plan_litert(model, "litert", "float32", None, None)
    return convert(model, None, plan, IMAGES)


@pytest.fixture
def other_model(model, content, monkeypatch):
    """A model, and in the place of its conversion the file of one with turned classes."""
    monkeypatch.setattr(litert, "convert", lambda *arguments: content)
    kernel, bias = model.output_map.kernel, model.output_map.bias
    values = kernel.numpy(), bias.numpy()
    kernel.assign(values[0][:, ::-1])
    bias.assign(values[1][::-1])
    yield model
    kernel.assign(values[0])
    bias.assign(values[1])


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_int8", "int8"])
def test_a_file_that_disagrees_is_refused(other_model, form, tmp_path) -> None:
    path = tmp_path / "a.tflite"
    with pytest.raises(ValueError, match=rf"The {form} .*Received: .*% of \d+ images get.*Pass "):
        export_litert(other_model, path, form=form, calibration_images=IMAGES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_force_writes_it_and_warns(other_model, tmp_path) -> None:
    path = tmp_path / "a.tflite"
    with pytest.warns(UserWarning, match=r"at least 97.00% the same class.*because of `force"):
        export_litert(other_model, path, form="int8", calibration_images=IMAGES, force=True)
    assert read_litert_facts(path).agreement.same_class < 0.97
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_least_agreement_replaces_the_forms_own(other_model, tmp_path) -> None:
    path = tmp_path / "a.tflite"
    options = {"form": "int8", "calibration_images": IMAGES}
    export_litert(other_model, path, least_agreement=0.0, **options)
    assert path.exists()
    with pytest.raises(ValueError, match=r"at least 100.00%"):
        export_litert(other_model, path, least_agreement=1.0, overwrite=True, **options)
    assert path.exists(), "an older file stays when a new one is refused"


def test_scores_that_are_no_numbers_are_refused(other_model, tmp_path) -> None:
    bias = other_model.output_map.bias
    bias.assign(bias + np.nan)
    with pytest.raises(ValueError, match="differ by at most nan"):
        export_litert(
            other_model,
            tmp_path / "a.tflite",
            form="int8",
            calibration_images=IMAGES,
            least_agreement=0.0,
        )


@pytest.mark.slow
def test_a_file_that_does_not_run_says_so(model, tmp_path) -> None:
    content = export_litert(model, tmp_path / "a.tflite").read_bytes()
    with pytest.raises(ValueError, match="converted but does not run; nothing was written"):
        run_litert(content, np.zeros((1, 3, 3, 1), "float32"))


@pytest.mark.slow
def test_names_and_facts_are_in_the_file(model, tmp_path, capsys) -> None:
    path = export_litert(model, tmp_path / "a.tflite", verbose=1)
    facts = read_litert_facts(path)
    assert facts.class_names == ("0", "1", "2"), "numbers where the model has no names"
    assert facts.form == "float32"
    assert facts.agreement.difference <= 1e-5
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: 0.0")
    assert f"MB, {facts}" in printed
    again = export_litert(model, tmp_path / "b.tflite")
    assert again.read_bytes() == path.read_bytes()
    path.write_bytes(b"anything else")
    with pytest.raises(ValueError, match=r"no keras_reprogram.json at its end.*Export the model"):
        read_litert_facts(path)


@pytest.mark.slow
def test_a_class_name_of_two_lines_is_refused(tmp_path) -> None:
    model = small_model(class_names=("a", "b\nc", "d"))
    with pytest.raises(ValueError, match=r"must be one line.*Received: 'b\\nc'"):
        export_litert(model, tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


def test_held_out_images_are_checked_first(model, tmp_path) -> None:
    path, int8 = tmp_path / "a.tflite", {"form": "int8"}
    with pytest.raises(ValueError, match=r"at least 64, of which 32 are held out.*Received: 63"):
        export_litert(model, path, calibration_images=IMAGES[:63], **int8)
    with pytest.raises(ValueError, match=r"`held_out_images` must be at least 32. Received: 5"):
        export_litert(model, path, calibration_images=IMAGES, held_out_images=IMAGES[:5], **int8)
    with pytest.raises(ValueError, match=r"none of the `calibration_images`.*of which 40 calib"):
        export_litert(model, path, calibration_images=IMAGES, held_out_images=IMAGES[40:], **int8)
    with pytest.raises(ValueError, match=r"needs `calibration_images`, because the ranges"):
        export_litert(model, path, held_out_images=IMAGES, **int8)
    with pytest.raises(ValueError, match=r"`held_out_labels` belong to `held_out_images`"):
        export_litert(model, path, calibration_images=IMAGES, held_out_labels=LABELS, **int8)
    with pytest.raises(ValueError, match=r"80"):
        export_litert(
            model, path, held_out_images=IMAGES, held_out_labels=LABELS[:7], form="float16"
        )
    assert list(tmp_path.iterdir()) == []


def test_calibration_images_are_divided(model) -> None:
    """A quarter is held out at even distances, and none of it calibrates."""
    images = conversion_images(model, form_named("int8"), IMAGES, None, None)
    assert (len(images.calibrating), len(images.judging)) == (48, 32)
    everything = np.concatenate([images.calibrating, images.judging])
    assert len(np.unique(everything, axis=0)) == 80
    many = np.concatenate([IMAGES] * 40)
    images = conversion_images(model, form_named("int8"), many, None, None)
    assert (len(images.calibrating), len(images.judging)) == (1000, 800)
    images = conversion_images(model, form_named("float16"), many, None, None)
    assert (len(images.calibrating), len(images.judging)) == (0, 1000)
