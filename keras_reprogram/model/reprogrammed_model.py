"""ReprogrammedModel: program, source and output map joined as one Keras model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking import exact_fit, findings, prediction_sets
from keras_reprogram.asking.answer_cache import CachedFeatures, own_step
from keras_reprogram.asking.asker import Asker
from keras_reprogram.asking.data import DataChecks, is_array
from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.asking.label_forms import check_findings_loss
from keras_reprogram.asking.strategy import has_several_replicas
from keras_reprogram.estimators.gradient_estimator import GradientEstimator, row_loss
from keras_reprogram.estimators.random_directions import RandomDirections
from keras_reprogram.fitting.calibration import Calibration, from_plain, to_plain
from keras_reprogram.model import replicas
from keras_reprogram.model.callbacks import BudgetStop, MapUpdates, QueryLog
from keras_reprogram.model.fit_options import (
    as_list,
    batches_in_order,
    given,
    options_for_arrays,
    options_for_data_set,
)
from keras_reprogram.model.part_checks import check_parts, check_seed, check_source_images
from keras_reprogram.model.train_steps import TrainSteps
from keras_reprogram.opaque import fit_opaque, plan, step_check, view_choice
from keras_reprogram.program.placement import Placement
from keras_reprogram.program.program import as_program, target_range_of
from keras_reprogram.source.errors import BudgetSpentError


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ReprogrammedModel(keras.Model):
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
        program = as_program(program)
        check_parts(program, source, output_map, class_names)
        output_map.attach(source.score_kind, source.score_step)
        image = keras.Input(program.target_shape, name="image", dtype="float32")
        source_images = program(image)
        check_source_images(source_images.shape, source)
        if blocks := source.blocks(int(source_images.shape[1])):
            output_map.attach_blocks(blocks)
        outputs = output_map(source.answers(source(source_images), image))
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
        self.calibration: Calibration | None = None
        # How `predict` of the command line and exports read image files: a target's, if it has one.
        self.image_reading = ImageReading()
        self.queries_per_prediction = int(source_images.shape[1])
        self.data_checks = DataChecks(
            target_shape=tuple(program.target_shape),
            target_range=target_range_of(program),
            num_classes=output_map.num_classes,
            multi_label=output_map.multi_label,
            tokens=program.reads_tokens,
        )
        self.asker = Asker(program, source, self.queries_per_prediction, self.data_checks)
        self._direction_seed = keras.random.SeedGenerator(self.seed)
        self.steps = TrainSteps(self, self._direction_seed)
        if gradient_estimator is not None:
            # The loop over slices has rows of unknown number, which XLA does not compile.
            self.supports_jit = False

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

    # === Steps ===

    def train_step(self, data: Any) -> dict[str, Any]:
        return self.steps.train(data, super().train_step)

    def test_step(self, data: Any) -> dict[str, Any]:
        return self.steps.test(data, super().test_step)

    def predict_step(self, data: Any) -> Any:
        return self.steps.predict(data, super().predict_step)

    @property
    def run_eagerly(self) -> bool:
        """Always true for sources that run as Python code."""
        return not self.source.in_graph or super().run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        keras.Model.run_eagerly.fset(self, value)

    @property
    def metrics(self) -> list[Any]:
        """The model's own metrics, and those of layers in program and map.

        Keras leaves out what a network was compiled with where it is a layer of the model, but not
        where it is a layer inside one, as in a source and in a `DecoderProgram`.
        """
        inside = self._flatten_layers(include_self=False)
        networks = [layer for layer in inside if isinstance(layer, keras.Model)]
        theirs = [metric for network in networks for metric in network.metrics]
        theirs += keras.layers.Layer.metrics.fget(self.source)
        others = {id(metric) for metric in theirs}
        return [metric for metric in super().metrics if id(metric) not in others]

    def get_metrics_result(self) -> dict[str, Any]:
        # A run that was killed at the end of an epoch resumes with none of its batches left.
        if not all(getattr(metric, "built", True) for metric in self.metrics):
            return {}
        return super().get_metrics_result()

    # === Queries ===

    @property
    def queries_used(self) -> int:
        """Image queries of this model so far: `fit`, `evaluate`, `predict`, `fit_output_map`.

        One image shown to the source is one query, so that a target image costs
        `queries_per_prediction`, its number of views. Calls `model(x)` are not counted.
        """
        return self.asker.count.used

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
        stop = BudgetStop()
        updates = [MapUpdates(self.output_map)] if self.output_map.observes else []
        callbacks = [QueryLog(), stop, *updates, *as_list(callbacks)]
        self._check_before_fit(callbacks, class_weight)
        if validation_data is not None and not is_array(validation_data):
            replicas.check_data_set(self, validation_data)
        self.data_checks.validation(
            validation_data,
            costly=not self.source.in_graph,
            steps=options.get("validation_steps"),
        )
        cached = CachedFeatures(
            self.asker,
            cache_features,
            epochs - initial_epoch,
            verbose,
            trainable=self.trainable,
            own_step=own_step(type(self), ReprogrammedModel),
        )
        options |= {"batch_size": batch_size, "epochs": epochs, "verbose": verbose}
        options |= {"callbacks": callbacks, "initial_epoch": initial_epoch}
        options |= {"steps_per_epoch": steps_per_epoch, "class_weight": class_weight}
        options |= {"validation_data": validation_data, "validation_split": validation_split}
        if is_array(x):
            arrays = self.data_checks.arrays(x, y, sample_weight)
            self.asker.learned.add(arrays[0])
            if initial_epoch == 0 and step_check.check_queries(self, len(arrays[0])):
                step_check.warn_if_below_quantisation(self, arrays[0])
            options = options_for_arrays(
                options, arrays, cached, self.seed, shuffle, endless=self._on_several
            )
        else:
            self._check_data_set(x, steps_per_epoch, labelled=True, argument="steps_per_epoch")
            options |= {"y": y, "sample_weight": sample_weight}
            options = options_for_data_set(options, x, cached, shuffle)
        if self._on_several:
            options = replicas.fit_options(self, options)
        try:
            with batches_in_order():
                return super().fit(**given(options))
        except BudgetSpentError as error:
            warnings.warn(stop.restore_best(error), stacklevel=2)
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
            if self._on_several:
                data = (x, y, sample_weight) if is_array(x) else x
                y = sample_weight = None
                x, options["steps"] = replicas.divided(self, data, batch_size, options.get("steps"))
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **options)

    def predict(self, x: Any, batch_size: int | None = None, **options: Any) -> np.ndarray:
        """Keras's `predict`, with the same arguments.

        See `predict_sets` for sets and abstention, `predict_findings` for several findings.

        Returns:
            Probabilities `(n, classes)`, as the output map gives them.
        """
        self._check_ready("predict")
        if is_array(x):
            x = self.data_checks.images(x)
        else:
            self._check_data_set(x, options.get("steps"), labelled=False)
        if self._on_several:
            data = (x,) if is_array(x) else x
            x, options["steps"] = replicas.divided(self, data, batch_size, options.get("steps"))
        return super().predict(x, batch_size, **options)

    def train_on_batch(self, *batch: Any, **options: Any) -> Any:
        """Keras's `train_on_batch`, on one device."""
        replicas.check_single_batch(self)
        return super().train_on_batch(*batch, **options)

    def test_on_batch(self, *batch: Any, **options: Any) -> Any:
        """Keras's `test_on_batch`, on one device."""
        replicas.check_single_batch(self)
        return super().test_on_batch(*batch, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """Keras's `predict_on_batch`, on one device."""
        replicas.check_single_batch(self)
        return super().predict_on_batch(x)

    @property
    def _on_several(self) -> bool:
        """Whether batches are divided among several replicas."""
        return has_several_replicas(self.distribute_strategy)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Keras 3.15 averages the replicas' batches here, which fails with several workers; it
        # needs their shapes only.
        if iterator is not None and self._on_several:
            data_batch, iterator = replicas.local_batch(self.distribute_strategy, iterator), None
        super()._maybe_symbolic_build(iterator, data_batch)

    def _check_data_set(
        self, x: Any, steps: int | None, *, labelled: bool, argument: str = "steps"
    ) -> None:
        replicas.check_data_set(self, x)
        costly = not self.source.in_graph
        self.data_checks.data_set(
            x, labelled=labelled, costly=costly, steps=steps, argument=argument
        )

    def _check_ready(self, what: str) -> None:
        self.asker.check_replicas()
        if not self.output_map.ready:
            raise ValueError(
                f"The output map must be fitted before `{what}`: call "
                "`model.fit_output_map(x, y)`. It asks the source once per image and view, and "
                f"fits the map exactly. Received: a {type(self.output_map).__name__} without "
                "answers."
            )

    def _check_before_fit(self, callbacks: list[Any], class_weight: Any) -> None:
        """Checks that would otherwise fail after the first paid queries."""
        self._check_ready("fit")
        findings.check_no_class_weight(self, class_weight)
        self.data_checks.class_weights(class_weight)
        replicas.check_fit(self)
        self.steps.check_gradient()
        if self.compiled and self.output_map.multi_label:
            check_findings_loss(self.loss, self.output_map.num_classes)
        elif self.compiled and self.steps.estimates:
            row_loss(self.loss)
        for callback in callbacks:
            saves = isinstance(callback, keras.callbacks.ModelCheckpoint)
            if saves and not callback.save_weights_only:
                self.get_config()

    # === Learning from queries ===

    # Functions of their folders, which document themselves; `self` is their `model`.
    collect_scores = exact_fit.collect_scores
    fit_output_map = exact_fit.fit_output_map
    select_views = view_choice.select_views
    fit_opaque = fit_opaque.fit_opaque
    estimate_queries = plan.estimate_queries
    check_step = step_check.check_step
    calibrate = prediction_sets.calibrate
    predict_sets = prediction_sets.predict_sets
    predict_findings = findings.predict_findings
    fit_thresholds = findings.fit_thresholds

    def use_placement(self, placement: Placement) -> None:
        """Takes other views, as many as before; the output map has to be fitted again.

        Args:
            placement: as many views as the program has.

        Raises:
            ValueError: for another number of views, or a program without views.
        """
        view_choice.check_placement(self)
        self.program.use_placement(placement)
        # Compiled functions hold the old views as constants.
        self.train_function = self.test_function = self.predict_function = None
        self.asker.forget_views()
        self.steps.use_views()
        # It was of answers under the old views.
        self.calibration = None

    # === Saving ===

    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Keras's `save`; a source without a config is refused before the file is opened.

        Of several workers the chief writes, and all must call it.
        """
        self.get_config()
        with replicas.written_by_chief(self, filepath) as path:
            super().save(path, overwrite=overwrite, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Keras's `save_weights`; of several workers the chief writes, and all must call it."""
        with replicas.written_by_chief(self, filepath) as path:
            super().save_weights(path, overwrite=overwrite, **options)

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
            **self._calibration_config(),
            **({"image_reading": reading} if (reading := self.image_reading.as_facts()) else {}),
        }

    def _calibration_config(self) -> dict[str, Any]:
        if self.calibration is None:
            return {}
        plain, arrays = to_plain(self.calibration)
        return {"calibration": [plain, {name: a.tolist() for name, a in arrays.items()}]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ReprogrammedModel:
        parts = dict(config)
        calibration = parts.pop("calibration", None)
        reading = ImageReading.from_facts(parts.pop("image_reading", None))
        for key in ("program", "source", "output_map", "gradient_estimator"):
            parts[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        model = cls(**parts)
        model.image_reading = reading
        if calibration is not None:
            plain, arrays = calibration
            model.calibration = from_plain(plain, arrays)
        return model


def _without(variables: list[Any], taken: list[Any]) -> list[Any]:
    ids = {id(variable) for variable in taken}
    return [variable for variable in variables if id(variable) not in ids]
