"""TextProgram: target tokens -> source tokens, by a convolution or by fixed random remappings."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.program.program import Program
from keras_reprogram.program.vocabulary import END, Vocabulary

# Tokens whose neighbours decide what a token becomes, as published.
_TRAINED_WIDTH = 5
# Logarithms are taken of nothing smaller.
_TINY = 1e-20


@keras.saving.register_keras_serializable(package="keras_reprogram")
class TextProgram(Program):
    """Context-based vocabulary remapping (Neekhara et al. 2019).

    A text of the target task is a row of token numbers, see `Vocabulary`. At position i the source
    is shown the token with the largest score, of K:
    `z_i = sum_k theta_k[x_(i + k - n // 2)] + b`, k from 0 to n - 1, with weights theta of shape
    `(n, target tokens, K)` for each view. Beyond the row there is nothing to add. Source images are
    one-hot rows `(T, K)`, whoever trains:

    - White box: `fit` of a model with a differentiable source shows soft rows,
      `softmax((z + Gumbel noise) / temperature)`. The temperature falls linearly with the steps.
    - Black box: `ScoreFunction` shows tokens drawn from `softmax(z)` and learns from the answers.
    - `trained=False`: fixed random remappings, one a view, whose answers an exact map reads
      (`fit_output_map`, `fit_opaque`). With `width=1`, their default, a token always becomes the
      same source token.

    Predictions, exact fits and exports show hard one-hot rows.

    Deviations: the temperature falls by steps, where the paper's code lowers it once an epoch, from
    2 to 0.01 in 15 epochs. With `keeps_end` an end stays an end, where the code remaps it as any
    token. Rows longer than the source's are refused where the code cuts them: cut texts with the
    vocabulary's `length`. Several views are an addition. Weights start as in the code, uniform in
    +-1 / sqrt(n * target tokens).

    Args:
        vocabulary: of the target task; its `length` is that of a row.
        source_shape: `(T, K)`: tokens of a source text, and the source's vocabulary. Number 0 is
            the source's end.
        num_views: remappings, each of weights of its own.
        trained: whether the weights are trained.
        width: n, how many neighbouring tokens decide, odd. `None`: 5 if trained, else 1.
        keeps_end: whether a target's end becomes the source's end.
        temperatures: of the first step and the last, the second not above the first, > 0.
        temperature_steps: training steps between them; 15 epochs as published.
        seed: draws the first weights of view i from `[seed, i]`, and the Gumbel noise.
        name: layer name.

    Call arguments:
        images: `(batch, L)` token numbers.
        training: whether rows are soft.

    Input shape:
        `(batch, L)`, whole numbers in [0, target tokens).

    Output shape:
        `(batch, num_views, T, K)`, float32 in [0, 1]; each row sums to 1.

    Raises:
        ValueError: for a vocabulary longer than the source's texts, and numbers out of range.

    Example:
    ```python
    from keras_reprogram import TextProgram, Vocabulary

    words = Vocabulary.from_texts(["what is a fox", "who is that"])
    letters = Vocabulary("abcdefghijklmnopqrstuvwxyz", length=12, unit="characters")
    program = TextProgram(words, (12, letters.size), num_views=2, trained=False)
    rows = program(words.encode(["who is a fox"]))
    assert rows.shape == (1, 2, 12, 28)
    print(letters.decode(rows[:, 0]))
    ```

    References:
        Neekhara, Hussain, Dubnov, Koushanfar, "Adversarial Reprogramming of Text Classification
        Neural Networks", EMNLP-IJCNLP 2019.
    """

    source_range: tuple[float, float]
    per_view = True
    draws = True
    reads_tokens = True

    def __init__(
        self,
        vocabulary: Vocabulary,
        source_shape: tuple[int, int],
        *,
        num_views: int = 1,
        trained: bool = True,
        width: int | None = None,
        keeps_end: bool = True,
        temperatures: tuple[float, float] = (2.0, 0.01),
        temperature_steps: int = 1000,
        seed: int = 0,
        name: str = "program",
    ) -> None:
        _check_shapes(vocabulary, source_shape)
        super().__init__(
            (vocabulary.length,),
            source_shape,
            source_range=(0.0, 1.0),
            target_range=(0.0, vocabulary.size - 1.0),
            name=name,
        )
        self.vocabulary = vocabulary
        self.num_views = checks.positive_integer("num_views", num_views)
        self.trained, self.keeps_end = bool(trained), bool(keeps_end)
        usual = _TRAINED_WIDTH if trained else 1
        self.width = _odd_width(usual if width is None else width)
        self.temperatures = _falling(temperatures)
        self.temperature_steps = checks.positive_integer("temperature_steps", temperature_steps)
        self.seed = seed
        self.build((None, *self.target_shape))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.width, self.vocabulary.size, self.num_views, self.source_shape[1])
        limit = 1.0 / math.sqrt(shape[0] * shape[1])
        draws = [_drawn(shape, limit, self.seed, view) for view in range(self.num_views)]
        kernel, bias = (np.stack(parts, axis=-2) for parts in zip(*draws, strict=True))
        self.kernel = self._weight("kernel", kernel)
        self.bias = self._weight("bias", bias)
        if self.trained:
            # A weight, so that files keep it and a resumed run draws what the other one would.
            self.steps = self.add_weight(
                shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps"
            )
            self._noise = keras.random.SeedGenerator(self.seed)

    def _weight(self, name: str, value: np.ndarray) -> Any:
        weight = self.add_weight(
            shape=value.shape, initializer="zeros", trainable=self.trained, name=name
        )
        weight.assign(value)
        return weight

    def call(self, images: Any, training: bool = False) -> Any:
        scores = self.token_scores(images)
        if training and self.trained and self.trainable:
            return self._soft_rows(scores)
        return _hard_rows(scores)

    def token_scores(self, images: Any) -> Any:
        """`z`, what source tokens score at each position.

        Args:
            images: `(batch, L)` token numbers.

        Returns:
            `(batch, num_views, T, K)`. Where an end is kept, all others score -infinity, nearly.
        """
        length, missing = self.source_shape[0], self.source_shape[0] - self.target_shape[0]
        numbers = ops.pad(ops.cast(images, "int32"), ((0, 0), (0, missing)), constant_values=END)
        half = self.width // 2
        around = ops.pad(numbers, ((0, 0), (half, half)))
        inside = np.pad(np.ones(length, np.float32), half)[:, None, None]
        total = self.bias
        for place in range(self.width):
            here = slice(place, place + length)
            total = total + inside[here] * ops.take(self.kernel[place], around[:, here], axis=0)
        if self.keeps_end:
            total = ops.where((numbers == END)[..., None, None], self._end_scores(), total)
        return ops.transpose(total, (0, 2, 1, 3))

    def draw(self, images: Any, seed: Any) -> Any:
        """Hard rows, drawn from `softmax(z)`.

        Args:
            images: `(batch, L)` token numbers.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            `(batch, num_views, T, K)`.
        """
        scores = self.token_scores(images)
        return _hard_rows(scores + _gumbel(ops.shape(scores), seed))

    def log_likelihood(self, images: Any, rows: Any) -> Any:
        """The logarithm of the probability that `draw` gives these rows, by position.

        Args:
            images: `(batch, L)` token numbers.
            rows: `(batch, num_views, T, K)`, what `draw` gave for them.

        Returns:
            `(batch, num_views, T)`, differentiable in the weights; 0 where an end is kept.
        """
        return ops.sum(rows * ops.log_softmax(self.token_scores(images), axis=-1), axis=-1)

    @property
    def temperature(self) -> Any:
        """Of the next training step."""
        first, last = self.temperatures
        share = ops.cast(self.steps, "float32") / self.temperature_steps
        return ops.maximum(first - (first - last) * share, last)

    def get_config(self) -> dict[str, Any]:
        return {
            "vocabulary": keras.saving.serialize_keras_object(self.vocabulary),
            "source_shape": self.source_shape,
            "num_views": self.num_views,
            "trained": self.trained,
            "width": self.width,
            "keeps_end": self.keeps_end,
            "temperatures": self.temperatures,
            "temperature_steps": self.temperature_steps,
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TextProgram:
        vocabulary = keras.saving.deserialize_keras_object(config["vocabulary"])
        return super().from_config(config | {"vocabulary": vocabulary})

    def _soft_rows(self, scores: Any) -> Any:
        # Its state is the step's alone, see `steps`.
        self._noise.state.assign(
            ops.stack([ops.cast(self.seed, "uint32"), ops.cast(self.steps, "uint32")])
        )
        noisy = (scores + _gumbel(ops.shape(scores), self._noise)) / self.temperature
        self.steps.assign(self.steps + 1)
        return ops.softmax(noisy, axis=-1)

    def _end_scores(self) -> np.ndarray:
        # Of float32 the largest that noise cannot move, far from overflow at low temperatures.
        scores = np.full(self.source_shape[1], -1e9, np.float32)
        scores[END] = 0.0
        return scores


def _hard_rows(scores: Any) -> Any:
    # Keras's `argmax` takes operations on bits, which LiteRT does not have.
    best = ops.top_k(scores, 1)[1][..., 0]
    return ops.one_hot(best, scores.shape[-1], dtype="float32")


def _gumbel(shape: Any, seed: Any) -> Any:
    uniform = keras.random.uniform(shape, seed=seed)
    return -ops.log(-ops.log(uniform + _TINY) + _TINY)


def _drawn(
    shape: tuple[int, int, int, int], limit: float, seed: int, view: int
) -> tuple[np.ndarray, np.ndarray]:
    """First weights of a view, `(width, target tokens, K)` and `(K,)`."""
    random = np.random.default_rng([seed, view])
    width, tokens, _, wide = shape
    return (
        random.uniform(-limit, limit, (width, tokens, wide)).astype(np.float32),
        random.uniform(-limit, limit, (1, wide))[0].astype(np.float32),
    )


def _check_shapes(vocabulary: Any, source_shape: Any) -> None:
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError(
            "`vocabulary` must be a `Vocabulary`. Received: "
            f"{type(vocabulary).__name__}. Make one: `Vocabulary.from_texts(texts)`."
        )
    if len(tuple(source_shape)) != 2:
        raise ValueError(
            "`source_shape` of texts must be (tokens, vocabulary). Received: "
            f"source_shape={source_shape}. Use a source that reads one-hot rows."
        )
    if vocabulary.length > source_shape[0]:
        raise ValueError(
            f"Rows of the vocabulary must not be longer than the source's {source_shape[0]} "
            f"tokens. Received: length={vocabulary.length}. Pass `length={source_shape[0]}` to "
            "`Vocabulary.from_texts`; longer texts are cut then."
        )


def _odd_width(width: int) -> int:
    if checks.positive_integer("width", width) % 2 == 0:
        raise ValueError(f"`width` must be odd, a token in the middle. Received: width={width}.")
    return int(width)


def _falling(temperatures: tuple[float, float]) -> tuple[float, float]:
    first, last = (checks.positive_number("temperatures", t) for t in temperatures)
    if last > first:
        raise ValueError(
            "`temperatures` must be (first, last), the second not above the first. Received: "
            f"{temperatures}."
        )
    return first, last
