"""Programs of published methods, trained once for all lines that read them."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from row_run import Run
from stored_answers import write_whole

from keras_reprogram.methods import Method, build_method


@dataclass(frozen=True)
class Trained:
    """A program that was trained, and what was seen of it.

    Attributes:
        weights: of the program.
        predicted: labels of the test images.
        facts: accuracies, the choice, epochs and seconds.
    """

    weights: list[np.ndarray]
    predicted: np.ndarray
    facts: dict[str, Any]


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the epoch that was best on validation.

    Accuracy decides, of equals the loss. The map is the one that was validated: maps that follow
    the program are renewed before.

    Args:
        method: whose program and map are trained.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        parts = (method.model.program, method.model.output_map)
        self._variables = [variable for part in parts for variable in part.weights]
        self.best, self.epoch = (-1.0, 0.0), 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        reached = (float(logs["val_accuracy"]), -float(logs["val_loss"]))
        if reached > self.best:
            self.best, self.epoch = reached, epoch + 1
            self._kept = [variable.numpy() for variable in self._variables]

    def restore(self) -> None:
        """Gives the model the weights that were kept."""
        for variable, value in zip(self._variables, self._kept, strict=True):
            variable.assign(value)


def trained_program(run: Run) -> Trained:
    """The program of a run's `program`, or of its method, from the cache or trained now.

    Each learning rate is tried on the training part, and validation chooses among them and among
    their epochs. What is kept has seen the training part only.

    Args:
        run: a line, a seed and a fold.

    Returns:
        A `Trained`.
    """
    path = run.cache / "programs" / f"{_fingerprint(run)}.npz"
    if not path.exists():
        trained = _train(run)
        arrays = {f"weight_{number}": value for number, value in enumerate(trained.weights)}
        facts = np.array(json.dumps(trained.facts))
        write_whole(
            path,
            lambda file: np.savez(file, predicted=trained.predicted, facts=facts, **arrays),
        )
    with np.load(path, allow_pickle=False) as stored:
        count = sum(name.startswith("weight_") for name in stored.files)
        weights = [stored[f"weight_{number}"] for number in range(count)]
        return Trained(weights, stored["predicted"], json.loads(str(stored["facts"])))


def new_method(run: Run, learning_rate: float | None = None) -> Method:
    """The published method of a run, untrained.

    Args:
        run: a line, a seed and a fold.
        learning_rate: the first; `None` for the paper's.
    """
    name = run.row.program or run.row.method
    options = dict(run.row.options)
    if learning_rate is not None:
        options["learning_rate"] = learning_rate
    keras.utils.set_random_seed(run.seed)
    return build_method(
        name,
        run.source("features" if _reads_features(name, options) else "scores"),
        run.data.target_shape,
        run.num_classes,
        target_range=run.data.target_range,
        seed=run.seed,
        **{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()},
    )


def _reads_features(name: str, options: dict[str, Any]) -> bool:
    """Whether a method replaces the source's last layer."""
    if name == "lor_vp_2025":
        return options.get("mapping", "linear_probe") == "linear_probe"
    return name == "kloberdanz_2020"


def resolution_of(program: Any) -> str:
    """Size of the image on the canvas, and of the canvas; one size where the image fills it.

    Args:
        program: a program layer.
    """
    height, width, _ = program.source_shape
    canvas = f"{height}x{width}"
    size = getattr(program, "image_size", None)
    return f"{size[0]}x{size[1]} on {canvas}" if size else canvas


def _train(run: Run) -> Trained:
    started, data, row = time.monotonic(), run.data, run.row
    train, held_out = run.parts
    tried = []
    for rate in row.learning_rates or (None,):
        method = new_method(run, rate)
        best = KeepBest(method)
        method.fit(
            data.train_images[train],
            data.train_labels[train],
            epochs=row.epochs or None,
            batch_size=row.batch_size or None,
            validation_data=(data.train_images[held_out], data.train_labels[held_out]),
            callbacks=[best, *run.callbacks()],
            # Where no pixel is trained the source's answers stay, and are kept.
            cache_features="memory" if method.model.program.trainable else run.cache / "features",
            verbose=0,
        )
        tried.append((best.best, rate, best, method))
    reached, rate, best, method = max(tried, key=lambda trial: trial[0])
    best.restore()
    model = method.model
    right = model.predict(data.train_images, batch_size=64, verbose=0).argmax(axis=1)
    facts = {
        "validation_accuracy": reached[0],
        "train_accuracy": float(np.mean(right == data.train_labels)),
        "learning_rate": rate,
        "best_epoch": best.epoch,
        "epochs": (row.epochs or method.epochs) * len(tried),
        "resolution": resolution_of(model.program),
        "seconds": time.monotonic() - started,
    }
    predicted = model.predict(data.test_images, batch_size=64, verbose=0).argmax(axis=1)
    return Trained(model.program.get_weights(), predicted, facts)


def _fingerprint(run: Run) -> str:
    """What a trained program depends on."""
    row, data, method = run.row, run.data, new_method(run)
    model = method.model
    facts = [row.learning_rates, row.epochs, row.batch_size, run.seed, data.target_range]
    # A method's own recipe may change, and what its parts start with.
    facts += [method.name, method.epochs, method.batch_size, method.class_balanced]
    facts += [method.rate(epoch, 10) for epoch in range(10)]
    parts = (model.program, model.output_map, model.loss)
    facts += [keras.saving.serialize_keras_object(part) for part in parts]
    # Keras numbers the names of optimizers.
    facts += [type(model.optimizer).__name__, model.optimizer.get_config() | {"name": ""}]
    facts.append(model.source.fingerprint)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in (data.train_images, data.train_labels, data.test_images, *run.parts):
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
