"""Writes the files of this folder, by Keras 2: `pip install tf_keras`, then run it here.

`teachable_machine.h5` has the layout of Teachable Machine's `keras_model.h5`, a Sequential of
Sequentials around a MobileNet, with a network of a few layers in place of the MobileNet.
"""

import numpy as np
import tf_keras as keras

layers = keras.layers
keras.utils.set_random_seed(0)
image = keras.Input((16, 16, 3), name="input_1")
y = layers.Conv2D(4, 3, strides=2, use_bias=False, name="Conv1")(image)
y = layers.BatchNormalization(name="bn_Conv1")(y)
y = layers.ReLU(6.0)(y)
y = layers.DepthwiseConv2D(3, padding="same", name="expanded_conv_depthwise")(y)
shared = keras.Model(image, layers.Add()([y, layers.Conv2D(4, 1)(y)]), name="model1")
features = keras.Sequential([shared, layers.GlobalAveragePooling2D()], name="sequential_1")
head = keras.Sequential(
    [
        layers.Dense(5, "relu", input_shape=(4,), name="dense_Dense1"),
        layers.Dense(3, "softmax", use_bias=False, name="dense_Dense2"),
    ],
    name="sequential_3",
)
machine = keras.Sequential([features, head], name="sequential_4")
machine.build((None, 16, 16, 3))

other = keras.Sequential(
    [
        layers.Conv2D(4, 3, input_shape=(16, 16, 3)),
        layers.BatchNormalization(),
        layers.SeparableConv2D(4, 3),
        layers.Conv2DTranspose(4, 3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, "softmax"),
    ]
)
for network in (machine, other):
    # Nothing stays as it was drawn: statistics of a batch would be 0 and 1.
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.2, 1, w.shape) * 0.7 for w in network.get_weights()])

machine.save("teachable_machine.h5")
other.save("other.h5")
other.save("other.keras")
code = layers.Lambda(lambda pixels: pixels / 255)(image)
keras.Model(image, layers.Dense(3)(layers.Flatten()(code[:, :2, :2]))).save("with_lambda.h5")
images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
scores = {"teachable_machine": machine, "other": other}
np.savez(
    "scores.npz",
    images=images,
    **{name: network.predict(images, verbose=0) for name, network in scores.items()},
)
