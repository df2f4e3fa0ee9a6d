"""Method: a published method as a compiled model with its training settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.data import is_array
from keras_reprogram.asking.images import most_probable_labels
from keras_reprogram.methods.rate_schedule import Rate, RateSchedule
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.output_map import DenseMap, MultiLabelMap, OutputMap
from keras_reprogram.output_map.label_counts import check_label_budget
from keras_reprogram.program import ProgramLayer
from keras_reprogram.program.views import framed_size
from keras_reprogram.source.source import Source


@dataclass(frozen=True)
class Method:
    """A published method: a compiled model, and for how long and at what rate it is trained.

    `build_method` makes one. `method.model` is an ordinary `ReprogrammedModel`: evaluate it,
    save it, export it, or train it otherwise.

    Args:
        name: as in `method_names()`.
        model: compiled.
        epochs: of the paper.
        batch_size: of the paper.
        rate: the paper's learning rate over the epochs.
        class_balanced: whether each class weighs the same, however many images it has.

    Example:
    ```python
    import keras
    from keras_reprogram import FrozenSource, embedded_path
    from keras_reprogram.datasets import load_target
    from keras_reprogram.methods import build_method

    data = load_target("digits").draw(train_images=60, test_images=None, seed=0)
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255))
    method = build_method("ilm_vp_2023", source, data.target_shape, num_classes=10)
    method.fit(data.train_images, data.train_labels, epochs=1, verbose=0)
    method.model.evaluate(data.test_images, data.test_labels, verbose=0)
    ```
    """

    name: str
    model: ReprogrammedModel
    epochs: int
    batch_size: int
    rate: Rate
    class_balanced: bool = False

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        callbacks: Sequence[Any] = (),
        class_weight: dict[int, float] | None = None,
        **options: Any,
    ) -> keras.callbacks.History:
        """The model's `fit` as the paper trains: its epochs, batch size, rates and class weights.

        A map that reads stored answers is fitted on `x` first, once; that asks the source one
        query for each image and view. Fewer epochs than the paper's run through the same rates
        faster.

        Args:
            x: images `(n, h, w, c)`, or anything that yields batches of `(x, y)`.
            y: integer labels, with arrays.
            epochs: `None` for the paper's.
            batch_size: `None` for the paper's; not with data that come in batches.
            callbacks: further ones.
            class_weight: weight for each class, by index; `None` for the paper's.
            **options: further ones of `ReprogrammedModel.fit`.

        Returns:
            Keras's history.

        Raises:
            ValueError: for images or labels that do not fit, and where class weights would have
                to be counted on data that come in batches.
        """
        if class_weight is None and self.class_balanced:
            class_weight = self._class_weight(x, y)
        self._prepare_map(x, y, class_weight, options)
        if is_array(x):
            options["batch_size"] = batch_size or self.batch_size
        return self.model.fit(
            x,
            y,
            epochs=epochs or self.epochs,
            callbacks=[RateSchedule(self.rate), *callbacks],
            class_weight=class_weight,
            **options,
        )

    def _prepare_map(
        self, x: Any, y: Any, class_weight: dict[int, float] | None, options: dict[str, Any]
    ) -> None:
        """Fits the map before the first step, unless it is ready."""
        output_map = self.model.output_map
        if output_map.ready:
            return
        asking = {"verbose": options.get("verbose", "auto")}
        if not is_array(x):
            asking["steps"] = options.get("steps_per_epoch")
        if isinstance(output_map, DenseMap):
            # Only the scale of its inputs: the papers train this map from its start.
            output_map.adapt(self.model.collect_scores(x, **asking))
            return
        weight = options.get("sample_weight")
        self.model.fit_output_map(x, y, sample_weight=weight, class_weight=class_weight, **asking)

    def _class_weight(self, x: Any, y: Any) -> dict[int, float]:
        """`n / (K * n_j)` for the `n_j` images of class j, so that their mean is 1."""
        if not is_array(x):
            raise ValueError(
                f"{self.name} weighs classes by their number of images, which must be known before "
                "the first step. Received: data that come in batches. Pass "
                "`class_weight=`, or arrays."
            )
        num_classes = self.model.output_map.num_classes
        labels = most_probable_labels(y, len(x), num_classes, stacklevel=4)
        counts = np.bincount(labels, minlength=num_classes)
        weights = counts.sum() / (num_classes * np.maximum(counts, 1))
        return dict(enumerate(weights.tolist()))


def compiled_method(
    name: str,
    program: keras.layers.Layer,
    source: Source,
    output_map: OutputMap,
    *,
    optimizer: keras.optimizers.Optimizer,
    rate: Rate,
    epochs: int,
    batch_size: int,
    class_names: Sequence[str] | None,
    seed: int,
    loss: Any = "sparse_categorical_crossentropy",
    class_balanced: bool = False,
) -> Method:
    """Joins and compiles the parts of a method."""
    model = ReprogrammedModel(program, source, output_map, class_names=class_names, seed=seed)
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    return Method(name, model, epochs, batch_size, rate, class_balanced)


def framed_program(
    source: Source,
    target_shape: tuple[int, int, int],
    *,
    image_size: int | tuple[int, int] | None = None,
    **options: Any,
) -> ProgramLayer:
    """A `ProgramLayer` with a trainable frame, also for images as large as the canvas."""
    # Without `image_size`, an image that leaves no frame takes 4/7 of the canvas, 128 of 224 pixels
    # (Chen et al. 2023).
    size = image_size or framed_size(target_shape, source.source_shape)
    return ProgramLayer(
        target_shape,
        source.source_shape,
        source_range=source.value_range,
        image_size=size,
        **options,
    )


def full_program(
    source: Source, target_shape: tuple[int, int, int], **options: Any
) -> ProgramLayer:
    """A `ProgramLayer` whose image covers the whole canvas."""
    options = {"source_range": source.value_range, "placement": "full"} | options
    return ProgramLayer(target_shape, source.source_shape, **options)


def first_labels(source: Source, num_classes: int) -> MultiLabelMap:
    """A `MultiLabelMap` that gives each class the source label of its own number."""
    check_label_budget(num_classes, source.num_labels, 1)
    table = [[label] for label in range(num_classes)]
    return MultiLabelMap(num_classes, assignment="self-defined", label_table=table)
