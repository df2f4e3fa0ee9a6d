"""ReprogrammedModel: program, source and output map joined as one Keras model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.answer_steps import AnswerSteps
from keras_reprogram.batch_order import BatchOrder, QueryLog, split_last
from keras_reprogram.budget_stop import BudgetStop
from keras_reprogram.cached_features import CachedFeatures, as_steps_take
from keras_reprogram.data_batches import is_array, known_length
from keras_reprogram.data_checks import DataChecks
from keras_reprogram.map_updates import MapUpdates
from keras_reprogram.part_checks import check_parts, check_seed, check_source_images
from keras_reprogram.program.target_range import target_range_of
from keras_reprogram.source.ledger_claim import BudgetSpentError
from keras_reprogram.step_check import (
    StepCheck,
    check_queries,
    check_step,
    warn_if_steps_drown,
)
from keras_reprogram.training.gradient_estimator import GradientEstimator
from keras_reprogram.training.random_directions import RandomDirections
from keras_reprogram.training.row_losses import row_loss


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ReprogrammedModel(AnswerSteps):
    """A source model, frozen or opaque, re-used for a new task.

    ```
    target image -> program -> source images -> source -> source scores -> output map -> classes
    ```

    `compile`, `fit`, `evaluate`, `predict` and `.keras` files work as in Keras. Only program and
    output map are trained. Where the source is opaque, or an estimator is given, `fit` swaps the
    program's gradient for an estimate from queries; the map and the regularisers keep exact ones.

    Args:
        program: layer `(n, h, w, c)` -> `(n, V, H, W, C)`, e.g. `ProgramLayer`.
        source: a `Source`.
        output_map: an `OutputMap`.
        gradient_estimator: a `GradientEstimator`. `None`: autodiff where the source is
            differentiable, else `RandomDirections()`.
        class_names: names of the target classes, or `None`.
        seed: draws the batch order and the estimator's directions; in [0, 2**32).
        name: model name.

    Raises:
        ValueError: if the parts do not fit together.

    Example:
    ```python
    import keras
    import numpy as np
    from keras_reprogram import DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel
    from keras_reprogram import embedded_path

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer(
        (8, 8, 1), source.source_shape, source_range=source.value_range,
        placement="views", num_views=2,
    )
    model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
    x = np.random.default_rng(0).uniform(0, 255, (30, 8, 8, 1))
    y = np.arange(30) % 3
    model.fit_output_map(x, y, verbose=0)
    assert model.queries_used == 30 * 2
    assert model.predict(x, verbose=0).shape == (30, 3)
    ```
    """

    def __init__(
        self,
        program: keras.layers.Layer,
        source: Any,
        output_map: Any,
        gradient_estimator: GradientEstimator | None = None,
        class_names: Sequence[str] | None = None,
        seed: int = 0,
        name: str = "reprogrammed_model",
    ) -> None:
        # === Functional model ===
        check_parts(program, source, output_map, class_names)
        output_map.attach(source.scores, source.score_step)
        image = keras.Input(program.target_shape, name="image", dtype="float32")
        source_images = program(image)
        check_source_images(source_images.shape, source)
        outputs = output_map(source(source_images))
        super().__init__(inputs=image, outputs=outputs, name=name)
        # Under a policy of half precision Keras would round the images before the program.
        self.dtype_policy = keras.DTypePolicy("float32")
        # === Parts ===
        self.program = program
        self.source = source
        self.output_map = output_map
        if gradient_estimator is None and not source.differentiable:
            gradient_estimator = RandomDirections()
        self.gradient_estimator = gradient_estimator
        self.class_names = tuple(class_names) if class_names is not None else None
        self.seed = check_seed(seed)
        self.queries_per_prediction = int(source_images.shape[1])
        self.data_checks = DataChecks(
            target_shape=tuple(program.target_shape),
            target_range=target_range_of(program),
            num_classes=output_map.num_classes,
        )
        self.prepare_steps()

    # === What is trained ===

    @property
    def trainable_variables(self) -> list[Any]:
        """Program and output map, whatever anyone does to the source's flags."""
        if not self.trainable:
            return []
        return self.program.trainable_variables + self.output_map.trainable_variables

    @property
    def trainable_weights(self) -> list[Any]:
        """The same as `trainable_variables`."""
        return self.trainable_variables

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Everything else, the source first of all."""
        return _without(self.variables, self.trainable_variables)

    @property
    def non_trainable_weights(self) -> list[Any]:
        """Everything else without metrics and random states."""
        return _without(self.weights, self.trainable_variables)

    # === Queries ===

    @property
    def queries_used(self) -> int:
        """Image queries of this model so far: `fit`, `evaluate`, `predict`, `fit_output_map`.

        One image shown to the source is one query, so that a target image costs
        `queries_per_prediction`, its number of views. Calls `model(x)` are not counted.
        """
        return self.counted_queries

    # === Keras's workflow ===

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        cache_features: str | Path | None = "memory",
        **options: Any,
    ) -> keras.callbacks.History:
        """Keras's `fit`, with the same arguments, for program and output map.

        The order of batches of arrays is a permutation drawn from `[seed, epoch]`, so that a run
        that was killed and resumed (`BackupAndRestore`) equals the uninterrupted one. Logs and
        History hold `queries_used` after each epoch, validation included. If a ledger's budget is
        spent, training ends with a warning, and the epoch with the best `val_loss` is kept.

        Where nothing that is trained reaches a pixel (a frozen program, or one whose weights all
        lie under the image), the source's answers to an image never change. Then they are asked
        once, in one pass under a bar, and all epochs train the map on them; a line says so.
        `cache_features` says where they are kept: `"memory"` (up to 2 GiB, until other data are
        trained on), a folder (read again by a resumed run, a later fit, or another map on the
        same source, program and images), or `None` to ask in every epoch. Arrays and `tf.data`
        of fixed order are cached; augmentation, other iterables and shuffled data sets turn it
        off, and a line says why.

        Raises:
            ValueError: for images or labels that do not fit, and for a map that must be fitted
                first.
        """
        updates = [MapUpdates(self.output_map)] if self.output_map.observes else []
        stop = BudgetStop()
        callbacks = [QueryLog(), stop, *updates, *_as_list(callbacks)]
        self._check_before_fit(callbacks)
        self.data_checks.validation(
            validation_data,
            costly=not self.source.in_graph,
            steps=options.get("validation_steps"),
        )
        cached = CachedFeatures(self, cache_features, epochs - initial_epoch, verbose)
        options |= {"batch_size": batch_size, "epochs": epochs, "verbose": verbose}
        options |= {"initial_epoch": initial_epoch, "steps_per_epoch": steps_per_epoch}
        options |= {"class_weight": class_weight, "validation_data": validation_data}
        if not is_array(x):
            self._check_data_set(x, steps_per_epoch, labelled=True, argument="steps_per_epoch")
            options |= {"validation_split": validation_split, "sample_weight": sample_weight}
            # Keras shuffles the batches of a `PyDataset`; elsewhere `True` would make it warn.
            shuffle = (
                shuffle and isinstance(x, keras.utils.PyDataset) and known_length(x) != math.inf
            )
            options["shuffle"] = shuffle
            x = cached.data_set(x, steps_per_epoch)
            options["validation_data"] = cached.validation(options)
            options["callbacks"] = [*callbacks, *cached.callbacks]
            return self._fit_in_budget(stop, x, y, **options)
        arrays = self.data_checks.arrays(x, y, sample_weight)
        if check_queries(self, len(arrays[0])) and initial_epoch == 0:
            warn_if_steps_drown(self, arrays[0])
        if validation_split and validation_data is None:
            arrays, options["validation_data"] = split_last(arrays, validation_split)
        size = options.pop("batch_size") or 32
        if options.get("validation_batch_size") is None:
            options["validation_batch_size"] = size
        arrays = cached.arrays(arrays, size, steps_per_epoch)
        options["validation_data"] = cached.validation(options)
        order = BatchOrder(arrays, size, self.seed, shuffle, initial_epoch, steps_per_epoch)
        if self.compiled:
            order.watch(self)
        # The data set is in order already.
        options |= {"callbacks": [*callbacks, *cached.callbacks, order], "shuffle": False}
        return self._fit_in_budget(stop, as_steps_take(order.dataset()), **options)

    def check_step(self, x: np.ndarray) -> StepCheck:
        """Asks a few images whether a step of the estimator survives the way to the source.

        Where the source is sent 8-bit images, `fit_opaque` and, with arrays, `fit` do so by
        themselves, and warn.

        Args:
            x: images `(n, h, w, c)`; the first 8 are asked three times.

        Returns:
            A `StepCheck`; print it.

        Raises:
            ValueError: if there is no estimator, or for images that do not fit.
        """
        if not self.estimates:
            raise ValueError(
                "A step can be checked where `fit` takes one. Received: a model without an "
                "estimator, or a program without weights. Pass `gradient_estimator=`."
            )
        return check_step(self, self.data_checks.images(x))

    def _fit_in_budget(
        self, stop: BudgetStop, *data: Any, **options: Any
    ) -> keras.callbacks.History:
        """Keras's `fit`, which a spent budget ends like a last epoch."""
        try:
            return super().fit(*data, **options)
        except BudgetSpentError as error:
            warnings.warn(stop.stop(error), stacklevel=3)
            return self.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **options: Any,
    ) -> Any:
        """Keras's `evaluate`, with the same arguments; see `fit` for what is checked."""
        self._check_ready("evaluate")
        # `fit` evaluates a cached iterator, whose data it checked.
        if not options.get("_use_cached_eval_dataset"):
            if is_array(x):
                x, y, sample_weight = (*self.data_checks.arrays(x, y, sample_weight), None)[:3]
            else:
                self._check_data_set(x, options.get("steps"), labelled=True)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **options)

    def predict(self, x: Any, batch_size: int | None = None, **options: Any) -> np.ndarray:
        """Keras's `predict`, with the same arguments.

        Returns:
            Probabilities `(n, classes)`.
        """
        self._check_ready("predict")
        if is_array(x):
            x = self.data_checks.images(x)
        else:
            self._check_data_set(x, options.get("steps"), labelled=False)
        return super().predict(x, batch_size, **options)

    def _check_data_set(
        self, x: Any, steps: int | None, *, labelled: bool, argument: str = "steps"
    ) -> None:
        costly = not self.source.in_graph
        self.data_checks.data_set(
            x, labelled=labelled, costly=costly, steps=steps, argument=argument
        )

    def _check_ready(self, what: str) -> None:
        self.check_replicas()
        if not self.output_map.ready:
            raise ValueError(
                f"The output map must be fitted before `{what}`: call "
                "`model.fit_output_map(x, y)`. It asks the source once per image and view, and "
                f"fits the map exactly. Received: a {type(self.output_map).__name__} without "
                "answers."
            )

    def _check_before_fit(self, callbacks: list[Any]) -> None:
        """What would otherwise fail after the first queries are paid."""
        self._check_ready("fit")
        self.check_gradient()
        if self.compiled and self.estimates:
            row_loss(self.loss)
        for callback in callbacks:
            saves = isinstance(callback, keras.callbacks.ModelCheckpoint)
            if saves and not callback.save_weights_only:
                self.get_config()

    # === Saving ===

    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Keras's `save`; a source without a config is refused before the file is opened."""
        self.get_config()
        super().save(filepath, overwrite=overwrite, **options)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "program": serialize(self.program),
            "source": serialize(self.source),
            "output_map": serialize(self.output_map),
            "gradient_estimator": serialize(self.gradient_estimator),
            "class_names": self.class_names,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ReprogrammedModel:
        parts = dict(config)
        for key in ("program", "source", "output_map", "gradient_estimator"):
            parts[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**parts)


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError("Pass `callbacks` as a list. Received: a CallbackList.")
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _without(variables: list[Any], taken: list[Any]) -> list[Any]:
    ids = {id(variable) for variable in taken}
    return [variable for variable in variables if id(variable) not in ids]
