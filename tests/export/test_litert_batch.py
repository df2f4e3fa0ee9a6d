"""A LiteRT file of one batch: no shape is computed in it, and it gives the model's numbers."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_models import images_and_labels, small_model

from keras_reprogram import export_litert
from keras_reprogram.export import read_litert_facts

IMAGES, _ = images_and_labels(80)


def operations(path):
    return {operation["op_name"] for operation in Interpreter(str(path))._get_ops_details()}


@pytest.mark.parametrize("batch", [0, -1, 1.0, True, "1"])
def test_a_batch_is_a_positive_number(batch, tmp_path) -> None:
    with pytest.raises(ValueError, match="`batch` must be a positive integer"):
        export_litert(small_model(fitted=False), tmp_path / "a.tflite", batch=batch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("num_views", [1, 3])
@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_int8", "int8"])
def test_one_image_a_call(form, num_views, tmp_path) -> None:
    model = small_model(num_views=num_views)
    path = export_litert(
        model, tmp_path / "a.tflite", form=form, batch=1, calibration_images=IMAGES
    )
    interpreter = Interpreter(str(path))
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert image["shape_signature"].tolist() == [1, 4, 4, 1]
    assert scores["shape_signature"].tolist() == [1, 3]
    # Boards and browsers do not compute shapes.
    assert not operations(path) & {"SHAPE", "PACK", "STRIDED_SLICE"}
    assert read_litert_facts(path).batch == 1
    classify = interpreter.get_signature_runner("serving_default")
    found = np.concatenate([classify(image=image[None])["scores"] for image in IMAGES])
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5 if form == "float32" else 0.1)


@pytest.mark.slow
def test_a_batch_that_does_not_divide_the_images(tmp_path) -> None:
    """80 images in calls of 7: the last is filled up, and what filled it is cut off."""
    model = small_model()
    path = export_litert(
        model, tmp_path / "a.tflite", form="float16", batch=7, calibration_images=IMAGES
    )
    facts = read_litert_facts(path)
    assert facts.agreement.images == 80
    assert "7 image(s) a call" in str(facts)
    classify = Interpreter(str(path)).get_signature_runner("serving_default")
    found = classify(image=IMAGES[:7])["scores"]
    np.testing.assert_allclose(found, model.predict(IMAGES[:7], verbose=0), atol=1e-2)


@pytest.mark.slow
def test_files_are_of_any_batch_by_default(tmp_path) -> None:
    path = export_litert(small_model(), tmp_path / "a.tflite")
    assert Interpreter(str(path)).get_input_details()[0]["shape_signature"][0] == -1
    assert read_litert_facts(path).batch is None
