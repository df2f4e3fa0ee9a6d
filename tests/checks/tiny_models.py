"""Networks of a few hundred weights that stand for real classifiers."""

import keras
import numpy as np

SHAPE = (8, 8, 3)
NUM_LABELS = 6


def tiny_classifier(activation="softmax", seed=0):
    """Everything that can betray a frozen source: BatchNorm, dropout, and a smooth curve."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.Conv2D(4, 3, strides=2, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(NUM_LABELS, activation=activation),
        ],
        name=f"tiny_{activation}",
    )
    random = np.random.default_rng(seed)
    mean, variance = model.layers[2].moving_mean, model.layers[2].moving_variance
    mean.assign(random.normal(0, 0.1, mean.shape))
    variance.assign(random.uniform(0.5, 2.0, variance.shape))
    return model


def weights_of(model):
    return [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]


def random_images(count, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, *shape)).astype("float32")


def random_scores(count, views=1, labels=NUM_LABELS, seed=0):
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(labels, 0.5), size=(count, views)).astype("float32")
