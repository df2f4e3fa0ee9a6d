"""RandomSwitching: channels of equal architecture, one of which answers at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_reprogram.arguments import one_of
from keras_reprogram.inner_networks import network_config, network_from

DRAWS = ("call", "image")
# `input_shape` without the batch -> a new block with weights of its own.
BlockBuilder = Callable[[tuple[int, ...]], keras.Model]


@keras.saving.register_keras_serializable(package="keras_reprogram")
class RandomSwitching(keras.layers.Layer):
    """A block of channels, one of which is drawn for each request, in training and afterwards.

    Hierarchical random switching (HRS, Wang et al. 2019): blocks follow each other,
    and each draws its channel by itself, so that M blocks of N channels are N^M networks with the
    cost of one. Gradients and answers of one request say little about the next one's. It is for
    owners of a network who want to make its misuse harder; `train_random_switching` trains it.

    What a request is, `draw` says. A `"call"` has one path for all its images, as the authors'
    code has it, and only the drawn channels are computed. With `"image"` each image of a batch has
    a path of its own, so that a server that puts requests of several users together keeps them
    apart, and a batch tells a stranger as much as single images; all channels are computed.

    Args:
        channels: networks `(n, ...) -> (n, ...)` of the same shapes, two or more.
        draw: `"call"` or `"image"`.
        seed: of the draws; `None` takes another one in each process. A known seed gives away
            which channel comes next: it is for experiments.
        name: layer name.

    Input shape:
        That of the channels.

    Output shape:
        That of the channels.

    Raises:
        ValueError: for fewer than two channels, or channels of different shapes.

    Example:
    ```python
    import keras
    import numpy as np
    from keras_reprogram import RandomSwitching

    def head(bias):
        dense = keras.layers.Dense(2, bias_initializer=keras.initializers.Constant(bias))
        return keras.Sequential([keras.Input((3,)), dense])

    block = RandomSwitching([head(0.0), head(1.0)], draw="image", seed=0)
    answers = keras.ops.convert_to_numpy(block(np.zeros((50, 3))))
    assert sorted(set(answers[:, 0].tolist())) == [0.0, 1.0]
    ```

    References:
        Wang, Wang, Chen, Wang, Zhao, Ren, Feng, Chen, "Protecting Neural Networks with Hierarchical
        Random Switching: Towards Better Robustness-Accuracy Trade-off for Stochastic Defenses",
        IJCAI 2019.
    """

    # A source around it finds this, see `Source.answers_at_random`.
    answers_at_random = True

    def __init__(
        self,
        channels: Sequence[keras.Model],
        *,
        draw: str = "call",
        seed: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.channels = list(channels)
        _check_channels(self.channels)
        self.draw, self.seed = one_of("draw", draw, DRAWS), seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self.draw == "call":
            branches = [partial(channel, training=training) for channel in self.channels]
            return ops.switch(self._drawn(()), branches, inputs)
        answers = [channel(inputs, training=training) for channel in self.channels]
        drawn = self._drawn((ops.shape(inputs)[0],))
        shares = ops.one_hot(drawn, len(self.channels), dtype=answers[0].dtype)
        rank = len(answers[0].shape)
        return sum(
            answer * ops.reshape(shares[:, number], (-1, *[1] * (rank - 1)))
            for number, answer in enumerate(answers)
        )

    def _drawn(self, shape: tuple[Any, ...]) -> Any:
        return keras.random.randint(shape, 0, len(self.channels), seed=self.seed_generator)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        return self.channels[0].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "channels": [network_config(channel) for channel in self.channels],
            "draw": self.draw,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RandomSwitching:
        """Rebuilds what `get_config` wrote."""
        config = dict(config)
        channels = [network_from(channel) for channel in config.pop("channels")]
        return cls(channels, **config)


def _check_channels(channels: list[keras.Model]) -> None:
    shapes = [(channel.input_shape, channel.output_shape) for channel in channels]
    if len(shapes) < 2 or len(set(shapes)) > 1:
        raise ValueError(
            "`channels` must be two or more networks of the same input and output shapes. "
            f"Received: {len(shapes)}, of shapes {sorted(set(map(str, shapes)))}. Build them with "
            "one function."
        )


def train_random_switching(
    blocks: Sequence[BlockBuilder],
    num_channels: int | Sequence[int],
    input_shape: tuple[int, ...],
    fit: Callable[[keras.Model], Any],
    *,
    draw: str = "call",
    seed: int | None = None,
) -> keras.Model:
    """Trains a network of random switching blocks from the bottom up (Wang et al. 2019).

    For each block in turn, and each of its channels: a network of the blocks below, which are
    trained, switch and stay as they are; of one new channel; and of one fresh channel for each
    block above. `fit` trains that network; the new channel is kept, and those above are thrown
    away. So channels of a block learn to work on whatever path lies below, and differ from each
    other.

    Args:
        blocks: from the first to the last; each builds a block with new weights for an input shape
            without the batch.
        num_channels: N of all blocks, or of each of them.
        input_shape: of one image, say `(32, 32, 3)`.
        fit: compiles and trains a network in place; called once for every channel.
        draw: of the blocks, see `RandomSwitching`. While channels are trained it is `"call"`.
        seed: of the draws, see `RandomSwitching`.

    Returns:
        A Keras model, not compiled: one `RandomSwitching` a block.

    Raises:
        ValueError: without blocks, or for numbers of channels that do not fit them.

    Deviations:
        The authors train with stochastic gradient descent for 40 epochs a channel; here `fit` says
        how.

    Example:
    ```python
    import keras
    import numpy as np
    from keras_reprogram import train_random_switching

    def dense(units, activation):
        return lambda shape: keras.Sequential(
            [keras.Input(shape), keras.layers.Dense(units, activation=activation)]
        )

    images, labels = np.eye(4, dtype="float32"), np.arange(4) % 2

    def fit(network):
        network.compile("adam", "sparse_categorical_crossentropy")
        network.fit(images, labels, verbose=0)

    network = train_random_switching([dense(5, "relu"), dense(2, "softmax")], 2, (4,), fit)
    assert network.predict(images, verbose=0).shape == (4, 2)
    ```
    """
    counts = [num_channels] * len(blocks) if isinstance(num_channels, int) else list(num_channels)
    if not blocks or len(counts) != len(blocks) or min(counts) < 2:
        raise ValueError(
            "`num_channels` must be 2 or more for each block, of which there is one at least. "
            f"Received: num_channels={num_channels} for {len(blocks)} blocks."
        )
    below: list[RandomSwitching] = []
    for number, count in enumerate(counts):
        channels = [_trained_channel(blocks, number, below, input_shape, fit) for _ in range(count)]
        # Another seed a block: they would draw the same channels.
        own_seed = None if seed is None else seed + number
        block = RandomSwitching(channels, seed=own_seed, name=f"switching_{number}")
        block.trainable = False
        below.append(block)
    for block in below:
        block.draw = one_of("draw", draw, DRAWS)
    return keras.Sequential([keras.Input(input_shape), *below])


def _trained_channel(
    blocks: Sequence[BlockBuilder],
    number: int,
    below: list[RandomSwitching],
    input_shape: tuple[int, ...],
    fit: Callable[[keras.Model], Any],
) -> keras.Model:
    """A channel of a block, trained over the blocks below it."""
    image = keras.Input(input_shape)
    values = image
    for block in below:
        values = block(values)
    fresh = []
    for build in blocks[number:]:
        fresh.append(build(tuple(values.shape[1:])))
        values = fresh[-1](values)
    fit(keras.Model(image, values))
    return fresh[0]
