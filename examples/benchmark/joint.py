"""What stands beside the source in one exact map: the pixels, and a local network's features."""

from __future__ import annotations

from functools import cache

from ours import ours
from task import Method, Outcome, Task

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    NewHead,
    PixelSource,
    ProgramLayer,
    ReprogrammedModel,
    join_sources,
)


def joint(num_queries: int, *, with_local: bool = False) -> Method:
    """The recipe of `ours`, with the pixels beside the source.

    Args:
        num_queries: for a training image, and for a prediction.
        with_local: whether the features of a local MobileNet stand beside it too.
    """

    def method(task: Task) -> Outcome:
        data = task.data
        images = {"target_shape": data.target_shape, "target_range": data.target_range}
        local = [_mobilenet()] if with_local else []
        parts = [task.choice.opaque(), PixelSource(**images), *local]
        source = join_sources(parts, **images)
        program = task.plain_program(source, num_queries)
        model = ReprogrammedModel(program, source, DenseMap(task.num_classes), seed=task.seed)
        budget = num_queries * task.num_train
        fit = ours(model, data.train_images, data.train_labels, budget, data.train_groups)
        queries = source.queries_used
        return Outcome(
            task.predict(model),
            fit.kept.validation_accuracy,
            queries_training=queries,
            views=num_queries,
            choices=f"kept={fit.kept.stage};reading={fit.reading}",
        )

    return method


def local_alone(task: Task) -> Outcome:
    """The exact map on the local network's features; nothing is asked that costs."""
    source, data = _mobilenet(), task.data
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="full",
    )
    model = ReprogrammedModel(program, source, NewHead(task.num_classes), seed=task.seed)
    fit = model.fit_output_map(
        data.train_images, data.train_labels, groups=data.train_groups, verbose=0
    )
    return Outcome(task.predict(model), fit.validation_accuracy)


@cache
def _mobilenet() -> FrozenSource:
    return FrozenSource.from_application(
        "MobileNet", output="features", alpha=0.25, input_shape=(128, 128, 3)
    )
