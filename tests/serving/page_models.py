"""What the page's tests share: a small export with all signatures, and who serves it."""

import io

import numpy as np
from PIL import Image
from small_models import frozen_source, small_model

from keras_reprogram import export_saved_model

CLASS_NAMES = ["dark", "grey", "bright"]
LABELS = ["<b>red</b>", "green", "blue", "yellow", "white"]
NUM_VIEWS = 3


def exported(folder, **options):
    """A model that tells brightness, through three views."""
    source = frozen_source(class_names=LABELS)
    model = small_model(source, num_views=NUM_VIEWS, class_names=CLASS_NAMES)
    export_saved_model(model, folder / "brightness", **options)
    return folder / "brightness"


def encoded(codes, kind="PNG"):
    stream = io.BytesIO()
    codes = np.asarray(codes, np.uint8)
    Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes).save(stream, kind)
    return stream.getvalue()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


class Served:
    """One version, and how often it was asked."""

    def __init__(self, servable):
        self.servable, self.asked = servable, 0
        self.version = servable.version
        self.signature_defs = servable.signature_defs
        self.facts = servable.facts
        self.costs_queries = servable.costs_queries

    def latest(self):
        return self

    def run(self, signature_name, inputs):
        self.asked += 1
        return self.servable.run(signature_name, inputs)
