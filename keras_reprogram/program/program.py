"""Program: the contract of every program, and the adapter for plain Keras layers."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.program.placement import Placement


class FixedProgram(NamedTuple):
    """A program at its weights of now, as constant arrays.

    With pixels `x` in [0, 1], a source image is
    `gain * rows @ clip(x @ colours + offsets, 0, 1) @ columns.T + behind`, clipped to the range
    of the source.
    """

    # (V, c, C), (V, C), (V, H, h), (V, W, w).
    colours: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    # One number, or as `behind`: (V, H, W, C).
    gain: np.ndarray
    behind: np.ndarray


class Program(keras.layers.Layer):
    """Target images -> source images: the trained stage of the pipeline.

    Contract: `(n, h, w, c) -> (n, V, H, W, C)` in `source_range`, one source image a view. The
    trainable variables are the program; estimators perturb them as one flat vector. A subclass
    implements `build` and `call`, and adds its own arguments to `get_config`.

    Three axes are an image. Programs of series or texts have other shapes, such as `(n, length) ->
    (n, V, samples)`: the same holds for these axes. Targets arrive as float32, token numbers too,
    which it holds exactly up to 2^24.

    `target_range` may be `None`: the range of the images is unknown, and none is assumed. Images
    are not checked against a range. A SavedModel's JSON and a `.tflite` file say null. An export
    has no signatures that take files, and the server's page shows a message instead. Pictures show
    images from their darkest to their brightest value. `keras-reprogram predict` passes on the
    pixels of files as they are, 0 to 255.

    Optional capabilities have defaults here: `placement` and `use_placement` (views that
    can be changed), `transform` (many candidate programs at once), `live_coordinates` (weights
    that reach a pixel), `program_images` (the program as a picture), `draws` (source images can be
    drawn at random, see `TextProgram`).

    A plain Keras layer with a `target_shape` is a program too: these defaults apply to
    whatever it does not define, with `source_range` and `target_range` unknown.

    Args:
        target_shape: `(h, w, c)` of target images, or another number of axes.
        source_shape: `(H, W, C)` of source images, or another number of axes.
        source_range: `(low, high)`, what the source expects (`source.value_range`); `None` if
            nobody knows it, of series and texts only.
        target_range: `(low, high)` of target images, or `None` if it is unknown.
        name: layer name.

    Call arguments:
        images: `(batch, h, w, c)` in `target_range`.

    Input shape:
        `(batch, h, w, c)`.

    Output shape:
        `(batch, num_views, H, W, C)` in `source_range`, float32.

    Raises:
        ValueError: for shapes and ranges that are none.

    Example:
    ```python
    import numpy as np
    from keras import ops
    from keras_reprogram import Program

    class Brighter(Program):
        def build(self, input_shape):
            self.change = self.add_weight(shape=(1,), initializer="zeros", name="change")

        def call(self, images):
            return ops.clip(images + self.change, *self.source_range)[:, None]

    program = Brighter((8, 8, 3), (8, 8, 3), source_range=(0, 255), target_range=(0, 255))
    assert program(np.zeros((2, 8, 8, 3), "float32")).shape == (2, 1, 8, 8, 3)
    assert program.live_coordinates().tolist() == [True]
    ```
    """

    # Of three axes where images are meant; code that takes others checks.
    target_shape: Any
    source_shape: Any
    source_range: tuple[float, float] | None = None
    target_range: tuple[float, float] | None = None
    # Source images that a target image becomes, and whether each has weights of its own.
    num_views = 1
    per_view = False
    # Whether it has `draw` and `log_likelihood`, which a `ScoreFunction` learns from.
    draws = False
    # Whether targets are numbers of tokens: whole ones, each of which stands for something else.
    reads_tokens = False
    # The views of a program that can take others, see `use_placement`.
    placement: Placement | None = None

    def __init__(
        self,
        target_shape: tuple[int, ...],
        source_shape: tuple[int, ...],
        *,
        source_range: tuple[float, float] | None,
        target_range: tuple[float, float] | None = None,
        name: str = "program",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.target_shape = checks.data_shape("target_shape", target_shape)
        self.source_shape = checks.data_shape("source_shape", source_shape)
        if source_range is not None or checks.is_image(self.source_shape):
            self.source_range = checks.value_range("source_range", source_range)
        if target_range is not None:
            self.target_range = checks.value_range("target_range", target_range)
        self.input_spec = keras.InputSpec(shape=(None, *self.target_shape))

    def transform(self, images: Any, values: Any) -> Any:
        """Source images under other weights than the stored ones, one row of weights an image.

        The default calls the program row by row; override it where one pass will do.

        Args:
            images: `(batch, h, w, c)` in `target_range`.
            values: `(batch or 1, size)`, flat weights.

        Returns:
            `(batch, num_views, H, W, C)` in `source_range`.
        """
        non_trainable = [v.value for v in self.non_trainable_variables]
        options = {"training": False} if _takes_training(self) else {}

        def one_row(row: tuple[Any, Any]) -> Any:
            image, value = row
            outputs, _ = self.stateless_call(
                unflatten(self, value), non_trainable, image[None], **options
            )
            return outputs[0]

        values = ops.broadcast_to(values, (ops.shape(images)[0], values.shape[-1]))
        return ops.map(one_row, (images, values))

    def live_coordinates(self) -> np.ndarray:
        """Active coordinates, the flat weights that can change a source image: bool `(size,)`."""
        return np.ones(sum(int(np.prod(v.shape)) for v in self.trainable_variables), bool)

    def program_images(self) -> np.ndarray | None:
        """The program to look at, `(num_views, H, W, C)`, 1 for half of `source_range`; or `None`.

        `None`, the default, is for programs that cannot be seen without an image.
        """
        return None

    def fixed(self) -> FixedProgram | None:
        """The program at its weights of now, as constants for other runtimes; or `None`.

        `None`, the default, is for programs that compute more than a `FixedProgram` can say.
        """
        return None

    def use_placement(self, placement: Placement) -> None:
        """Takes other views, as many as before, under the same weights; by default it cannot.

        Args:
            placement: `num_views` views.

        Raises:
            ValueError: for another number of views, or a program without a `placement`.
        """
        raise ValueError(
            f"{type(self).__name__} has no views to change. Received: {placement.num_views} views. "
            "Use a program that places images, such as `ProgramLayer`."
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.num_views, *self.source_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            "target_shape": self.target_shape,
            "source_shape": self.source_shape,
            "source_range": self.source_range,
            "target_range": self.target_range,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        trainable = config.pop("trainable")
        layer = cls(**config)
        layer.trainable = trainable
        return layer


# Attributes that a plain layer may define itself, see `Program`.
_OPTIONAL = (
    "source_range",
    "target_range",
    "placement",
    "transform",
    "live_coordinates",
    "draws",
    "reads_tokens",
    "program_images",
    "fixed",
    "use_placement",
)


def as_program(layer: Any) -> Program:
    """`layer` itself; a plain layer gets the defaults of `Program` for what it does not say."""
    if not hasattr(layer, "target_shape"):
        raise ValueError(
            "`program` must be a layer with a `target_shape` (h, w, c), such as `ProgramLayer`. "
            f"Received: {type(layer).__name__}."
        )
    for name in () if isinstance(layer, Program) else _OPTIONAL:
        if not hasattr(layer, name):
            default = getattr(Program, name)
            setattr(layer, name, MethodType(default, layer) if callable(default) else default)
    return layer


def target_range_of(program: Program) -> tuple[float, float] | None:
    """A program's `target_range`, checked; `None` where it is unknown, see `Program`."""
    said = program.target_range
    return None if said is None else checks.value_range("target_range", said)


def flat_value(program: Program) -> Any:
    """The trainable variables as one flat float32 tensor `(size,)`, in their order."""
    parts = [ops.reshape(v.value, (-1,)) for v in program.trainable_variables]
    return ops.concatenate(parts) if parts else ops.zeros((0,), "float32")


def unflatten(program: Program, flat: Any) -> list[Any]:
    """Cuts a flat tensor `(size,)` into one tensor a trainable variable."""
    pieces, start = [], 0
    for variable in program.trainable_variables:
        size = int(np.prod(variable.shape))
        pieces.append(ops.reshape(flat[start : start + size], variable.shape))
        start += size
    return pieces


def _takes_training(program: Program) -> bool:
    """Whether `call` has the argument: Keras hands it only to layers that do."""
    parameters = inspect.signature(program.call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
