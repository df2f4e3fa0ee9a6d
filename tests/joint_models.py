"""Joint sources and models of them that several tests share."""

import numpy as np
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    TARGET_SHAPE,
    images_and_labels,
    network,
    opaque_source,
    program_for,
)

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    PixelSource,
    ProgramLayer,
    ReprogrammedModel,
    join_sources,
)
from keras_reprogram.source import PlacedSource

RANGE = (0.0, 255.0)


def pixels(**options):
    return PixelSource(TARGET_SHAPE, **({"target_range": RANGE} | options))


def features(seed=3):
    """The features of a network of its own, of one view of the whole image."""
    source = FrozenSource(network(seed), value_range=(0, 255), output="features")
    program = ProgramLayer(
        TARGET_SHAPE,
        SOURCE_SHAPE,
        source_range=(0, 255),
        target_range=RANGE,
        placement="full",
    )
    return PlacedSource(source, program, name="local")


def joint(asked=None, *beside):
    return join_sources([asked or opaque_source(), *(beside or [pixels(), features()])])


def model_of(source, num_views=2, fitted=False, **options):
    model = ReprogrammedModel(
        program_for(source, num_views), source, DenseMap(NUM_CLASSES), **options
    )
    if fitted:
        model.fit_output_map(*images_and_labels(40), verbose=0)
    return model


def random_images(count=6):
    shape = (count, *TARGET_SHAPE)
    return np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
