"""ReprogrammedModel: program, source and output map joined as one Keras model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking import exact_fit
from keras_reprogram.asking.answer_cache import CachedFeatures, as_steps_take
from keras_reprogram.asking.asker import Asker
from keras_reprogram.asking.data import DataChecks, is_array, known_length, split_last
from keras_reprogram.estimators.gradient_estimator import GradientEstimator, row_loss
from keras_reprogram.estimators.random_directions import RandomDirections
from keras_reprogram.fitting.map_fitting import MapFit
from keras_reprogram.model.callbacks import BatchOrder, BudgetStop, MapUpdates, QueryLog
from keras_reprogram.model.train_steps import TrainSteps
from keras_reprogram.opaque import fit_opaque, plan, step_check, views
from keras_reprogram.opaque.query_estimate import QueryEstimate
from keras_reprogram.opaque.result import OpaqueFit
from keras_reprogram.opaque.step_check import StepCheck
from keras_reprogram.opaque.views import ViewSelection
from keras_reprogram.program.placement import Placement
from keras_reprogram.program.program import Program, as_program, target_range_of
from keras_reprogram.source.errors import BudgetSpentError
from keras_reprogram.source.source import Source


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
        updates = [MapUpdates(self.output_map)] if self.output_map.observes else []
        stop = BudgetStop()
        callbacks = [QueryLog(), stop, *updates, *_as_list(callbacks)]
        self._check_before_fit(callbacks)
        self.data_checks.validation(
            validation_data,
            costly=not self.source.in_graph,
            steps=options.get("validation_steps"),
        )
        cached = CachedFeatures(
            self, cache_features, epochs - initial_epoch, verbose, ReprogrammedModel
        )
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
        if step_check.check_queries(self, len(arrays[0])) and initial_epoch == 0:
            step_check.warn_if_below_quantisation(self, arrays[0])
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

    def _fit_in_budget(
        self, stop: BudgetStop, *data: Any, **options: Any
    ) -> keras.callbacks.History:
        """Keras's `fit`; a spent budget ends it as the last epoch does."""
        try:
            return super().fit(*data, **options)
        except BudgetSpentError as error:
            warnings.warn(stop.restore_best(error), stacklevel=3)
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
        self.asker.check_replicas()
        if not self.output_map.ready:
            raise ValueError(
                f"The output map must be fitted before `{what}`: call "
                "`model.fit_output_map(x, y)`. It asks the source once per image and view, and "
                f"fits the map exactly. Received: a {type(self.output_map).__name__} without "
                "answers."
            )

    def _check_before_fit(self, callbacks: list[Any]) -> None:
        """Checks that would otherwise fail after the first paid queries."""
        self._check_ready("fit")
        self.steps.check_gradient()
        if self.compiled and self.steps.estimates:
            row_loss(self.loss)
        for callback in callbacks:
            saves = isinstance(callback, keras.callbacks.ModelCheckpoint)
            if saves and not callback.save_weights_only:
                self.get_config()

    # === Learning from queries ===

    def collect_scores(
        self, x: Any, *, batch_size: int = 64, steps: int | None = None, verbose: Any = "auto"
    ) -> np.ndarray:
        """Asks the source once per image and view.

        Args:
            x: images `(n, h, w, c)`, or anything that yields batches of them.
            batch_size: images at once.
            steps: batches that are asked, of what yields batches; `None` for all. Needed where
                it has no end, and where a source that costs is asked and the data do not say how
                many batches they have, as a generator does not.
            verbose: 0 for silence.

        Returns:
            Scores `(n, V, S)`, for `fit_output_map(scores=...)`.

        Raises:
            ValueError: for images that do not fit.
        """
        return exact_fit.collect_scores(
            self, x, batch_size=batch_size, steps=steps, verbose=verbose
        )

    def fit_output_map(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        validation_split: float = 0.2,
        groups: np.ndarray | None = None,
        scores: np.ndarray | None = None,
        batch_size: int = 64,
        steps: int | None = None,
        verbose: Any = "auto",
    ) -> MapFit | None:
        """Asks the source once per image and view, and fits the output map exactly.

        Args:
            x: images `(n, h, w, c)`, or a `tf.data.Dataset`, `PyDataset` or other iterable of
                `(x, y)` or `(x, y, sample_weight)` batches.
            y: integer or one-hot labels, with arrays. Of rows of probabilities the most probable
                class counts, and a warning says so.
            sample_weight: `(n,)`, with arrays.
            class_weight: weight for each class, by index.
            validation_split: share held out to choose the regularisation; the map is fitted on
                all images afterwards.
            groups: `(n,)`; images of one value (a patient's, a track's) stay on one side of that
                split. In the order of the images, also where they come in batches.
            scores: answers `(n, V, S)` that were paid for; then `x` is not needed, and nothing
                is asked.
            batch_size: images at once.
            steps: batches that are asked, as of `collect_scores`.
            verbose: 0 for silence.

        Returns:
            A `MapFit` for maps that are solved, `None` for those that assign labels.

        Raises:
            ValueError: for images or labels that do not fit, and for a class without an image.
        """
        return exact_fit.fit_output_map(
            self,
            x,
            y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            validation_split=validation_split,
            groups=groups,
            scores=scores,
            batch_size=batch_size,
            steps=steps,
            verbose=verbose,
        )

    def select_views(
        self,
        x: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        pool_size: int = 48,
        num_views: int | None = None,
        pilot_images: int | None = None,
        style: str = "mixed",
        batch_size: int = 64,
        verbose: Any = "auto",
    ) -> ViewSelection:
        """Chooses the best views of a pool from few queries.

        A few pilot images are shown under every view of the pool, and views are added one by one,
        each the one that lowers the leave-one-out error most (`ViewPool`). The pilot costs
        `pilot_images * pool_size` queries. The model stays as it is: `use_placement` takes the
        result, or a new `ProgramLayer(placement=selection.placement)`.

        Args:
            x: images `(n, h, w, c)`.
            y: integer or one-hot labels. Of rows of probabilities the most probable class counts,
                and a warning says so.
            sample_weight: `(n,)`.
            class_weight: weight for each class, by index.
            pool_size: views to choose from.
            num_views: how many to choose; `None` for as many as the model has.
            pilot_images: images to ask, drawn with the classes' shares. `None` for a quarter of
                `x`, at most 300.
            style: of the pool's views, see `draw_views`. Every style has the plain image first.
            batch_size: images at once.
            verbose: 0 for silence.

        Returns:
            A `ViewSelection`.

        Raises:
            ValueError: for data that do not fit, a pool smaller than the choice, or too few images.

        Example:
        ```python
        import numpy as np
        from keras_reprogram import (
            DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
        )

        source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
        program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                               placement="views", num_views=2)
        model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
        x = np.random.default_rng(0).uniform(0, 255, (80, 8, 8, 1))
        y = np.arange(80) % 3
        selection = model.select_views(x, y, pool_size=6, verbose=0)
        assert selection.queries_used == 20 * 6
        model.use_placement(selection.placement)
        ```
        """
        return views.select_views(
            self,
            x,
            y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            pool_size=pool_size,
            num_views=num_views,
            pilot_images=pilot_images,
            style=style,
            batch_size=batch_size,
            verbose=verbose,
        )

    def use_placement(self, placement: Placement) -> None:
        """Takes other views, as many as before; the output map has to be fitted again.

        Args:
            placement: as many views as the program has.

        Raises:
            ValueError: for another number of views, or a program without views.
        """
        views.check_placement(self)
        self.program.use_placement(placement)
        # Compiled functions hold the old views as constants.
        self.train_function = self.test_function = self.predict_function = None
        self.asker.forget_views()
        self.steps.use_views()

    def fit_opaque(
        self,
        x: Any,
        y: Any,
        *,
        query_budget: int,
        validation_data: Any = None,
        validation_split: float = 0.2,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        groups: np.ndarray | None = None,
        choose_views: bool | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        verbose: Any = "auto",
    ) -> OpaqueFit:
        """Learns from queries alone: exact map, then views, then estimated steps while they pay.

        1. If the budget has room, a pilot looks for better views (`select_views`).
        2. Every image is asked once under every view, and the map is fitted exactly. Whether it
           reads all views or the first few of them is chosen on validation.
        3. What is left of the budget goes into epochs of estimated steps for the program. The
           steps' own clean answers refit the map, so that nothing is asked twice. Two epochs
           without a better validation loss end it.

        All of it is reckoned before the first query, as `estimate_queries` says it.
        The budget is never exceeded but by repetitions after a service's failures, which a ledger's
        own budget bounds; validation counts. If it does not pay for all images, a
        stratified part of them is used. What is kept is never worse on validation than the map
        alone. In the end the map is fitted on training and held-out images together, unless
        `validation_data` was given. A model that was not compiled is compiled with Adam and
        cross-entropy if it comes to steps.

        Args:
            x: images `(n, h, w, c)`.
            y: integer or one-hot labels. Of rows of probabilities the most probable class counts,
                and a warning says so.
            query_budget: image queries that may be asked: `n * num_views` for views as they are,
                more to choose views and to train the program.
            validation_data: `(x, y)` of your own; `None` holds out a part of `x`.
            validation_split: that part, in (0, 1).
            sample_weight: `(n,)`. `validation_data` takes its own, `(x, y, sample_weight)`.
            class_weight: weight for each class, by index; of validation images too. Everything that
                is chosen is chosen by weighted validation figures.
            groups: `(n,)`; images with one value (a patient's, a track's) stay on one side of the
                split.
            choose_views: `False` keeps the program's views; `None` chooses others where view 0
                covers the whole canvas (`placement="views"` or `"full"`), not where the image was
                given a place with a frame around it.
            batch_size: images at once.
            progress: called with the number of queries asked so far, instead of the bar.
            verbose: 0 for silence.

        Returns:
            An `OpaqueFit`.

        Raises:
            ValueError: for data that do not fit, or a budget that does not pay for four images of
                every class.

        Example:
        ```python
        import numpy as np
        from keras_reprogram import (
            DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
        )

        source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
        program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                               placement="views", num_views=2)
        model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
        x = np.random.default_rng(0).uniform(0, 255, (60, 8, 8, 1))
        y = np.arange(60) % 3
        fit = model.fit_opaque(x, y, query_budget=200, verbose=0)
        assert fit.queries_used <= 200
        print(fit)
        ```
        """
        return fit_opaque.fit_opaque(
            self,
            x,
            y,
            query_budget=query_budget,
            validation_data=validation_data,
            validation_split=validation_split,
            sample_weight=sample_weight,
            class_weight=class_weight,
            groups=groups,
            choose_views=choose_views,
            batch_size=batch_size,
            progress=progress,
            verbose=verbose,
        )

    def estimate_queries(
        self,
        num_images: int,
        *,
        recipe: str = "fit_output_map",
        num_validation: int | None = None,
        validation_split: float | None = None,
        y: Any = None,
        groups: Any = None,
        epochs: int = 1,
        query_budget: int | None = None,
        choose_views: bool | None = None,
        cache_features: str | Path | None = "memory",
        price_per_thousand: float | None = None,
        queries_per_second: float | None = None,
    ) -> QueryEstimate:
        """Estimates the queries of a training, without asking any.

        Args:
            num_images: images `x`.
            recipe: `"fit_output_map"`, `"fit"` or `"fit_opaque"`.
            num_validation: images of `validation_data`, or `None` without.
            validation_split: as the recipe takes it; `None` for what it is there: 0 in `fit`, 0.2
                in `fit_opaque`.
            y: labels of `x`, for `groups` or classes of few images; `None` for as many images of
                each class.
            groups: as `fit_opaque` takes them; they decide how many images are held out.
            epochs: of `fit`.
            query_budget: of `fit_opaque`, which asks exactly what is said here, but for steps: they
                end after two epochs without a better validation loss. Only repetitions after
                failures are added, which a ledger's budget bounds.
            choose_views: as `fit_opaque` takes it.
            cache_features: as `fit` takes it. Where its answers stay the same, the source is asked
                once for all epochs; not at all for answers that an earlier `fit` kept.
            price_per_thousand: of 1,000 queries.
            queries_per_second: that the source allows.

        Returns:
            A `QueryEstimate`.

        Raises:
            ValueError: for an unknown recipe, `fit_opaque` without a budget, and for what the
                recipe itself would refuse.

        Example:
        ```python
        from keras_reprogram import (
            DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
        )

        source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
        program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                               placement="views", num_views=4)
        model = ReprogrammedModel(program, source, DenseMap(num_classes=10))
        estimate = model.estimate_queries(1000, price_per_thousand=1.5, queries_per_second=10)
        assert estimate.total == 4000
        print(estimate.to_markdown())
        ```
        """
        return plan.estimate_queries(
            self,
            num_images,
            recipe=recipe,
            num_validation=num_validation,
            validation_split=validation_split,
            y=y,
            groups=groups,
            epochs=epochs,
            query_budget=query_budget,
            choose_views=choose_views,
            cache_features=cache_features,
            price_per_thousand=price_per_thousand,
            queries_per_second=queries_per_second,
        )

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
        if not self.steps.estimates:
            raise ValueError(
                "A step can be checked where `fit` takes one. Received: a model without an "
                "estimator, or a program without weights. Pass `gradient_estimator=`."
            )
        return step_check.check_step(self, self.data_checks.images(x))

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


def check_parts(program: Program, source: Any, output_map: Any, class_names: Any) -> None:
    """Raises a ValueError unless program, source and output map belong together."""
    if not isinstance(source, Source):
        raise ValueError(
            f"`source` must be a `Source`. Received: {type(source).__name__}. Wrap a Keras model "
            "in `FrozenSource(model, value_range=...)`, another callable in `OpaqueSource`."
        )
    program_range = program.source_range
    if program_range is not None and tuple(program_range) != tuple(source.value_range):
        raise ValueError(
            f"The program must write the range that the source reads, {source.value_range}. "
            f"Received: source_range={tuple(program_range)}. Build it with "
            "`source_range=source.value_range`."
        )
    if class_names is not None and len(class_names) != output_map.num_classes:
        raise ValueError(
            f"`class_names` must name the output map's {output_map.num_classes} classes. "
            f"Received: {len(class_names)} names. Give one name a class, in order."
        )


def check_source_images(shape: tuple[int | None, ...], source: Source) -> None:
    """Raises a ValueError unless a program's output is `(n, views, H, W, C)` for the source."""
    if len(shape) != 5 or shape[1] is None or tuple(shape[2:]) != source.source_shape:
        raise ValueError(
            "`program` must turn images into (n, views, H, W, C), here "
            f"(n, views, {', '.join(map(str, source.source_shape))}). Received: shape {shape}. "
            "Build it with `source_shape=source.source_shape`; a single view needs its axis too."
        )


def check_seed(seed: int) -> int:
    """The seed; a ValueError if NumPy or TensorFlow cannot take it."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must lie in [0, 2**32). Received: seed={seed}. Pass 0, 1, ...")
    return int(seed)
