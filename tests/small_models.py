"""Small sources, models and data that the model's tests share."""

import keras
import numpy as np

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    LiteRTSource,
    NewHead,
    OpaqueSource,
    ProgramLayer,
    RandomDirections,
    ReprogrammedModel,
    SavedModelSource,
    embedded_path,
)

TARGET_SHAPE = (4, 4, 1)
SOURCE_SHAPE = (8, 8, 3)
NUM_CLASSES = 3
NUM_LABELS = 5
IDENTITY = "five colours, version 1"


def network(seed=7, classes=NUM_LABELS):
    """A convolution with BatchNorm and Dropout, so that anything unfrozen shows."""
    draw = keras.initializers.RandomNormal(stddev=0.4, seed=seed)
    model = keras.Sequential(
        [
            keras.Input(SOURCE_SHAPE),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Conv2D(6, 3, activation="tanh", kernel_initializer=draw),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.AveragePooling2D(3),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax", kernel_initializer=draw),
        ],
        name="network",
    )
    # Else an untouched moving average would look like an updated one.
    model.layers[2].moving_mean.assign(np.linspace(-0.1, 0.1, 6))
    return model


def frozen_source(seed=7, **options):
    return FrozenSource(network(seed), value_range=(0, 255), **options)


def opaque_source(seed=7, record=None, **options):
    """A few NumPy lines that tell colours; `record` collects the sizes of their batches."""
    kernel = np.random.default_rng(seed).normal(0, 0.4, (48, NUM_LABELS))

    def function(images):
        if record is not None:
            record.append(len(images))
        blocks = images.reshape(-1, 4, 2, 4, 2, 3).mean(axis=(2, 4)).reshape(-1, 48)
        odds = np.exp((blocks / 127.5 - 1) @ kernel)
        return odds / odds.sum(axis=1, keepdims=True)

    facts = {"value_range": (0, 255), "identity": IDENTITY} | options
    return OpaqueSource(function, SOURCE_SHAPE, NUM_LABELS, **facts)


def saved_model_source(folder, opaque=True, **options):
    if not folder.exists():
        network().export(str(folder), verbose=False)
    return SavedModelSource(folder, value_range=(0, 255), opaque=opaque, **options)


def sign_source(**options):
    return LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255), **options)


def program_for(source, num_views=1, **options):
    placement = "views" if num_views > 1 else "center"
    facts = {"source_range": source.value_range, "num_views": num_views, "placement": placement}
    return ProgramLayer(TARGET_SHAPE, source.source_shape, **(facts | options))


def images_and_labels(count=26, seed=0, classes=NUM_CLASSES):
    """Images whose brightness tells the class, so that a second of training shows."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    levels = 255 * (labels + 0.5) / classes
    images = levels[:, None, None, None] + random.normal(0, 20, (count, *TARGET_SHAPE))
    return np.clip(images, 0, 255).astype("float32"), labels


def small_model(
    source=None,
    output_map=None,
    *,
    num_views=1,
    estimator=None,
    fitted=True,
    learning_rate=0.01,
    program=None,
    optimizer=None,
    built=False,
    **options,
):
    """A compiled model, its map fitted on `images_and_labels()` unless told otherwise.

    `built` makes the variables of optimizer and metric at once. Else `fit` makes them in its first
    trace, as it does for users, and traces everything a second time: that is most of a small fit.
    Runs that start from a file must not find them made.
    """
    keras.utils.set_random_seed(0)
    source = source if source is not None else frozen_source()
    output_map = output_map or DenseMap(NUM_CLASSES)
    program = program or program_for(source, num_views)
    model = ReprogrammedModel(program, source, output_map, estimator, **options)
    if fitted:
        model.fit_output_map(*images_and_labels(), verbose=0)
    model.compile(
        optimizer=optimizer or keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy") if built else "accuracy"],
    )
    if built:
        model.optimizer.build(model.trainable_variables)
    return model


def head_model(**options):
    """A model on features, whose map needs no fitting."""
    source = frozen_source(output="features")
    return small_model(source, NewHead(NUM_CLASSES), fitted=False, **options)


def directions(number=1, **options):
    return RandomDirections(number, **({"smoothing": 0.005} | options))


def values(variables):
    return [keras.ops.convert_to_numpy(variable.value).copy() for variable in variables]


def trained_values(model):
    """Program, map and optimizer as arrays, to compare two runs bit for bit."""
    return values(model.program.weights + model.output_map.weights + model.optimizer.variables)


def assert_equal_values(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


def source_values(source):
    model = getattr(source, "model", None)
    return values(model.variables) if model else []
