"""A program that does not say its range: one meaning, whoever asks."""

import json

import keras
import numpy as np
import pytest
from small_models import SOURCE_SHAPE, opaque_source, small_model

from keras_reprogram import ProgramLayer
from keras_reprogram.export.checks import sample_images
from keras_reprogram.export.image_files import why_no_files
from keras_reprogram.export.litert import litert_facts, read_litert_facts, with_facts
from keras_reprogram.export.litert_agreement import Agreement
from keras_reprogram.export.server_files import FACTS_FILE, write_facts
from keras_reprogram.program.target_range import target_range_of

SILENT = "does not say the `target_range`"


class Plain(keras.layers.Layer):
    """A user's own program."""

    target_shape = SOURCE_SHAPE

    def __init__(self, **said):
        super().__init__()
        for name, value in said.items():
            setattr(self, name, value)

    def call(self, images):
        return images[:, None]


def json_of(model, folder):
    write_facts(folder, model, model.source, ("a", "b", "c"), ("serving_default",), None)
    return json.loads((folder / FACTS_FILE).read_text())["target_range"]


def litert_of(model, folder):
    facts = litert_facts(model, model.source, "float32", Agreement(1, 1.0, 0.0))
    (folder / "a.tflite").write_bytes(with_facts(b"TFL3", facts))
    return read_litert_facts(folder / "a.tflite").target_range


@pytest.mark.parametrize("said", [{}, {"target_range": None}], ids=["nothing", "None"])
def test_a_range_that_nobody_says_is_unknown_everywhere(said, tmp_path):
    model = small_model(opaque_source(), program=Plain(**said), fitted=False)
    assert target_range_of(model.program) is None
    assert model.data_checks.target_range is None
    assert json_of(model, tmp_path) is None
    assert litert_of(model, tmp_path) is None
    assert SILENT in why_no_files(model)
    # Whatever the images' scale, it is not refused, and two forms are compared on two scales.
    for scale in (1e-3, 1.0, 1e3):
        model.collect_scores(scale * np.ones((2, *SOURCE_SHAPE)), verbose=0)
    images = sample_images(model)
    assert images[::2].max() <= 1 < 200 < images[1::2].max() <= 255


@pytest.mark.parametrize("said", [(-1.0, 1.0), [-1, 1]], ids=["tuple", "list"])
def test_a_range_that_is_said_is_the_same_everywhere(said, tmp_path):
    model = small_model(opaque_source(), program=Plain(target_range=said), fitted=False)
    assert target_range_of(model.program) == (-1.0, 1.0)
    assert model.data_checks.target_range == (-1.0, 1.0)
    assert json_of(model, tmp_path) == [-1.0, 1.0]
    assert litert_of(model, tmp_path) == (-1.0, 1.0)
    assert why_no_files(model) is None
    assert -1 <= sample_images(model).min() < 0


@pytest.mark.parametrize("said", [(1, 0), (0,), (0, float("nan"))])
def test_what_is_no_range_is_refused(said):
    with pytest.raises(ValueError, match="`target_range` must be"):
        target_range_of(Plain(target_range=said))


def test_a_program_of_ours_says_it():
    program = ProgramLayer((4, 4, 1), (8, 8, 3), source_range=(0, 255))
    assert target_range_of(program) == (0.0, 255.0)
