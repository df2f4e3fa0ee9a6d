"""This package's own clients of TF Serving, asked to use this package's server."""

import numpy as np
import pytest
from served_models import CLASS_NAMES
from small_models import TARGET_SHAPE

from keras_reprogram.source.errors import SourceRefusedError
from keras_reprogram.source.remote import TFServingGRPCSource, TFServingSource

KINDS = {"rest": TFServingSource, "grpc": TFServingGRPCSource}
FORMS = {
    "pixels": {},
    "encoded": {
        "signature_name": "image_bytes",
        "input_format": "encoded",
        "output_name": "scores",
    },
}


def source_of(server, kind, **options):
    address = {"rest": server.rest_address, "grpc": server.grpc_address}[kind]
    facts = {"value_range": (0, 255), "identity": "brightness, version 1", "retries": 0}
    name = options.pop("model_name", "brightness")
    return KINDS[kind](address, name, TARGET_SHAPE, CLASS_NAMES, **(facts | options))


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *[("rest", form) for form in FORMS],
        ("grpc", "pixels"),
        pytest.param("grpc", "encoded", marks=pytest.mark.slow),
    ],
)
def test_scores_are_those_of_the_model(brightness, brightness_export, kind, form):
    images = np.random.default_rng(0).integers(0, 256, (5, *TARGET_SHAPE)).astype("float32")
    source = source_of(brightness, kind, images_per_request=3, **FORMS[form])
    expected = brightness_export[1].predict(images, verbose=0)
    np.testing.assert_allclose(source(images), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [{"model_name": "other"}, {"signature_name": "other"}])
def test_refusals_are_final(brightness, kind, wrong):
    images = np.zeros((1, *TARGET_SHAPE), "float32")
    with pytest.raises(SourceRefusedError):
        source_of(brightness, kind, **wrong)(images)
