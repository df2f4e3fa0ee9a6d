"""ReprogrammedModel: program, source and output map joined as one Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.batch_order import BatchOrder, QueryLog
from keras_reprogram.image_checks import (
    batches,
    check_every_class,
    check_images,
    check_labels,
    first_batch,
    is_array,
)
from keras_reprogram.tensorflow_steps import TensorFlowSteps
from keras_reprogram.training.gradient_estimator import GradientEstimator
from keras_reprogram.training.map_fitting import fit_logistic_regression
from keras_reprogram.training.random_directions import RandomDirections


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ReprogrammedModel(TensorFlowSteps):
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
        seed: draws the batch order and the estimator's directions.
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
        _check_parts(program, source, output_map, class_names)
        output_map.attach(source.scores, source.score_step)
        image = keras.Input(program.target_shape, name="image", dtype="float32")
        source_images = program(image)
        outputs = output_map(source(source_images))
        super().__init__(inputs=image, outputs=outputs, name=name)
        # === Parts ===
        self.program = program
        self.source = source
        self.output_map = output_map
        if gradient_estimator is None and not source.differentiable:
            gradient_estimator = RandomDirections()
        self.gradient_estimator = gradient_estimator
        self.class_names = tuple(class_names) if class_names is not None else None
        self.seed = int(seed)
        self.queries_per_prediction = int(source_images.shape[1])
        self.prepare_steps()
        self._answer_batch = self.source_scores
        if source.in_graph:
            self._answer_batch = tf.function(self.source_scores, reduce_retracing=True)

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
        **options: Any,
    ) -> keras.callbacks.History:
        """Keras's `fit`, with the same arguments, for program and output map.

        The order of batches is a permutation drawn from `[seed, epoch]`, so that a run that was
        killed and resumed (`BackupAndRestore`) equals the uninterrupted one. Logs and History
        hold `queries_used` after each epoch, validation included.

        Raises:
            ValueError: for images or labels that do not fit, and for a map that must be fitted
                first.
        """
        self._check_ready("fit")
        callbacks = [QueryLog(), *_as_list(callbacks)]
        options |= {"epochs": epochs, "verbose": verbose, "initial_epoch": initial_epoch}
        options |= {"class_weight": class_weight, "validation_data": validation_data}
        self._check_validation(validation_data)
        if not is_array(x):
            self._check_first_batch(x)
            # A data set comes in its own order; `True` would only make Keras warn.
            return super().fit(x, y, callbacks=callbacks, shuffle=False, **options)
        arrays = self._checked_arrays(x, y, sample_weight)
        if validation_split and validation_data is None:
            arrays, options["validation_data"] = _split_last(arrays, validation_split)
        order = BatchOrder(arrays, batch_size or 32, self.seed, shuffle, initial_epoch)
        if self.optimizer is not None:
            order.watch(self)
        options.setdefault("validation_batch_size", batch_size)
        dataset = order.dataset(any(map(_backs_up_batches, callbacks)))
        # The data set is in order already.
        return super().fit(dataset, callbacks=[*callbacks, order], shuffle=False, **options)

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Keras's `evaluate`, with the same arguments; see `fit` for what is checked."""
        self._check_ready("evaluate")
        # `fit` evaluates a cached iterator, whose data it checked.
        if not options.get("_use_cached_eval_dataset"):
            if is_array(x):
                self._checked_arrays(x, y, options.get("sample_weight"))
            else:
                self._check_first_batch(x)
        return super().evaluate(x, y, **options)

    def predict(self, x: Any, **options: Any) -> np.ndarray:
        """Keras's `predict`, with the same arguments.

        Returns:
            Probabilities `(n, classes)`.
        """
        self._check_ready("predict")
        if is_array(x):
            x = self._checked_images(x)
        else:
            self._check_first_batch(x)
        return super().predict(x, **options)

    # === Exact fit on paid answers ===

    def collect_scores(self, x: Any, *, batch_size: int = 64, verbose: Any = "auto") -> np.ndarray:
        """Asks the source once per image and view.

        Args:
            x: images `(n, h, w, c)`, or anything that yields batches of them.
            batch_size: images at once.
            verbose: 0 for silence.

        Returns:
            Scores `(n, V, S)`, for `fit_output_map(scores=...)`.
        """
        return self._collect(x, None, None, batch_size, verbose)[0]

    def fit_output_map(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        validation_split: float = 0.2,
        scores: np.ndarray | None = None,
        batch_size: int = 64,
        verbose: Any = "auto",
    ) -> Any:
        """Asks the source once per image and view, and fits the output map exactly.

        Args:
            x: images `(n, h, w, c)`, or a `tf.data.Dataset`, `PyDataset` or other iterable of
                `(x, y)` or `(x, y, sample_weight)` batches.
            y: integer or one-hot labels, with arrays.
            sample_weight: `(n,)`, with arrays.
            class_weight: weight for each class, by index.
            validation_split: share held out to choose the regularisation; the map is fitted on
                all images afterwards.
            scores: answers `(n, V, S)` that were paid for; then `x` is not needed, and nothing
                is asked.
            batch_size: images at once.
            verbose: 0 for silence.

        Returns:
            A `MapFit` for maps that are solved, `None` for those that assign labels.

        Raises:
            ValueError: for images or labels that do not fit, and for a class without an image.
        """
        if scores is None:
            scores, y, sample_weight = self._collect(x, y, sample_weight, batch_size, verbose)
        labels = check_labels(y, len(scores), self.output_map.num_classes)
        check_every_class(labels, self.output_map.num_classes, self.class_names)
        weight = _image_weights(labels, sample_weight, class_weight)
        solver = partial(_solve, self.output_map.num_classes, validation_split, self.seed)
        return self.output_map.fit_answers(scores, labels, solver=solver, sample_weight=weight)

    # === Saving ===

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

    # === Checks ===

    def _collect(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int, verbose: Any
    ) -> tuple[np.ndarray, Any, Any]:
        """Scores, labels and weights of all batches; arrays are checked before one is asked."""
        total = None
        if is_array(x):
            x = self._checked_images(x)
            total = -(-len(x) // batch_size)
            y = None if y is None else np.asarray(y)
        bar = keras.utils.Progbar(total, verbose=_verbosity(verbose), unit_name="batch")
        parts: list[tuple[Any, Any, Any]] = []
        for batch, labels, weight in batches(x, y, sample_weight, batch_size):
            images = self._checked_images(batch).astype(np.float32)
            with self.counting(len(images) * self.queries_per_prediction):
                answer = np.asarray(self._answer_batch(images))
            parts.append((answer, labels, weight))
            bar.update(len(parts), [("queries_used", self.queries_used)])
        if not parts:
            raise ValueError("There are no images. Received: an empty data set.")
        scores, labels, weights = zip(*parts, strict=True)
        return np.concatenate(scores), _joined(labels), _joined(weights)

    def _checked_images(self, x: Any) -> np.ndarray:
        target_range = getattr(self.program, "target_range", None)
        return check_images(x, self.input_shape[1:], target_range)

    def _checked_arrays(self, x: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, ...]:
        images = self._checked_images(x).astype(np.float32)
        check_labels(y, len(images), self.output_map.num_classes)
        arrays = (images, np.asarray(y))
        if sample_weight is None:
            return arrays
        weight = np.asarray(sample_weight, np.float32)
        if len(weight) != len(images):
            raise ValueError(
                f"`sample_weight` must have {len(images)} rows. Received: {len(weight)}."
            )
        return (*arrays, weight)

    def _check_first_batch(self, x: Any) -> None:
        """Data sets are checked where that costs little: in their first batch."""
        batch = first_batch(x)
        if batch is not None:
            images = self._checked_images(batch[0])
            if batch[1] is not None:
                check_labels(batch[1], len(images), self.output_map.num_classes)
        elif not hasattr(x, "__next__"):
            raise ValueError("There are no images. Received: an empty data set.")

    def _check_validation(self, validation_data: Any) -> None:
        if validation_data is None:
            return
        if isinstance(validation_data, list | tuple):
            self._checked_arrays(*validation_data[:2], None)
        else:
            self._check_first_batch(validation_data)

    def _check_ready(self, what: str) -> None:
        if not self.output_map.ready:
            raise ValueError(
                f"The output map must be fitted before `{what}`: call "
                "`model.fit_output_map(x, y)`. It asks the source once per image and view, and "
                f"fits the map exactly. Received: a {type(self.output_map).__name__} without "
                "answers."
            )


def _check_parts(program: Any, source: Any, output_map: Any, class_names: Any) -> None:
    if not hasattr(program, "target_shape"):
        raise ValueError(
            "`program` must be a layer with a `target_shape` (h, w, c), such as `ProgramLayer`. "
            f"Received: {type(program).__name__}."
        )
    program_range = getattr(program, "source_range", None)
    if program_range is not None and tuple(program_range) != tuple(source.value_range):
        raise ValueError(
            f"The program must write the range that the source reads, {source.value_range}. "
            f"Received: source_range={tuple(program_range)}. Build it with "
            "`source_range=source.value_range`."
        )
    if class_names is not None and len(class_names) != output_map.num_classes:
        raise ValueError(
            f"`class_names` must name the output map's {output_map.num_classes} classes. "
            f"Received: {len(class_names)} names."
        )


def _solve(
    num_classes: int,
    validation_split: float,
    seed: int,
    features: np.ndarray,
    labels: np.ndarray,
    sample_weight: np.ndarray | None,
) -> Any:
    return fit_logistic_regression(
        features,
        labels,
        num_classes=num_classes,
        sample_weight=sample_weight,
        validation_split=validation_split,
        seed=seed,
    )


def _image_weights(
    labels: np.ndarray, sample_weight: Any, class_weight: dict[int, float] | None
) -> np.ndarray | None:
    """One weight an image from weights of images and of classes."""
    if sample_weight is None and class_weight is None:
        return None
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    if weight.reshape(-1).shape != labels.shape:
        raise ValueError(f"`sample_weight` must be {labels.shape}. Received: {weight.shape}.")
    by_class = class_weight or {}
    return weight.reshape(-1) * np.array([by_class.get(int(label), 1.0) for label in labels])


def _split_last(
    arrays: tuple[np.ndarray, ...], share: float
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Training part and the last images as validation, as Keras splits arrays."""
    split = int(len(arrays[0]) * (1 - share))
    if split == 0 or split == len(arrays[0]):
        raise ValueError(
            f"`validation_split` must leave images on both sides. Received: {share} of "
            f"{len(arrays[0])} images."
        )
    return tuple(a[:split] for a in arrays), tuple(a[split:] for a in arrays)


def _backs_up_batches(callback: Any) -> bool:
    backs_up = isinstance(callback, keras.callbacks.BackupAndRestore)
    return backs_up and callback.save_freq != "epoch"


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError("Pass `callbacks` as a list. Received: a CallbackList.")
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _without(variables: list[Any], taken: list[Any]) -> list[Any]:
    ids = {id(variable) for variable in taken}
    return [variable for variable in variables if id(variable) not in ids]


def _joined(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate([np.asarray(part) for part in parts])


def _verbosity(verbose: Any) -> int:
    return 1 if verbose == "auto" else int(verbose)
