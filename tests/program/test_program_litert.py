"""A program becomes LiteRT builtins and answers as in Keras."""

import numpy as np
import pytest
from checks.check_program import as_array, set_weights
from checks.tiny_models import random_images
from litert_answers import litert_answer

from keras_reprogram import ProgramLayer

OPTIONS = [
    {"placement": "views", "num_views": 3, "grid": 3},
    {"operation": "multiply", "num_views": 3, "per_view": True},
    {"squash": "sigmoid", "frame": 2},
    {"rank": 2, "num_views": 2, "per_view": True, "masked": False},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_litert_builtins_equal_keras(options, tmp_path):
    program = ProgramLayer((6, 5, 1), (9, 8, 3), source_range=(-1, 1), **options)
    set_weights(program, 0.5)
    images = random_images(4, (6, 5, 1))
    found = litert_answer(program, images, tmp_path)
    np.testing.assert_allclose(found, as_array(program(images)), atol=1e-5)
