"""The program of Wang et al. 2019: a locally connected layer, as in their reprogramming test.

The image in a frame of zeros, then at each place weights of its own for its 3 x 3 neighbourhood
and each of three channels, a ReLU and a tanh: 28 x 28 x 1 becomes 32 x 32 x 3 in 0 to 1, with
30,720 weights. Keras 3 has no `LocallyConnected2D`.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reprogram import Program

_SIDE = 3


class LocallyConnectedProgram(Program):
    """`tanh(relu(patches(zero_padded(image)) . kernel + bias))`, one 3 x 3 kernel a place.

    Args:
        target_shape: `(h, w, 1)`, smaller than the source's.
        source_shape: `(H, W, C)`.
        target_range: of target images, which become 0 to 1.
    """

    def __init__(self, target_shape: Any, source_shape: Any, *, target_range: Any) -> None:
        super().__init__(
            target_shape, source_shape, source_range=(0.0, 1.0), target_range=target_range
        )

    def build(self, input_shape: Any) -> None:
        height, width, channels = self.source_shape
        patch = _SIDE * _SIDE * self.target_shape[2]
        self.kernel = self.add_weight(
            shape=(height, width, patch, channels), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(
            shape=(height, width, channels), initializer="zeros", name="bias"
        )

    def call(self, images: Any) -> Any:
        low, high = self.target_range or (0.0, 255.0)
        frame = [(0, 0)]
        for size, whole in zip(self.target_shape[:2], self.source_shape[:2], strict=True):
            before = (whole + _SIDE - 1 - size) // 2
            frame.append((before, whole + _SIDE - 1 - size - before))
        framed = ops.pad((images - low) / (high - low), (*frame, (0, 0)))
        patches = ops.image.extract_patches(framed, _SIDE, 1, padding="valid")
        values = ops.einsum("nhwp,hwpc->nhwc", patches, self.kernel) + self.bias
        return ops.tanh(ops.relu(values))[:, None]
