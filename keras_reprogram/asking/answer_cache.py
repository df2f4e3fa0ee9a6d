"""CachedFeatures: asks the source once for all epochs of a fit, if its answers do not change."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.asking.answer_store import MOST_MEMORY as _MOST_MEMORY
from keras_reprogram.asking.answer_store import (
    AnswerFiles,
    AnswerMemory,
    CacheGuard,
    MovingAnswersError,
    answers_fingerprint,
    check_cacheable,
    images_digest,
    is_cacheable,
)
from keras_reprogram.asking.asker import Asker, say
from keras_reprogram.asking.data import DataChecks, batches, is_array
from keras_reprogram.source.errors import BudgetSpentError

_MEMORY = "memory"
# A batch of images is a tensor; a batch of answers is a mapping with this key. Keras's compiled
# functions keep the two apart, so a callback may evaluate images during a `fit`.
ANSWERS = "answers"
# What a subclass may have made to look at images.
_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics", "call")

Arrays = tuple[np.ndarray, ...]


class CachedFeatures:
    """Replaces the images of one `fit` with the source's answers.

    That is right where nothing that is trained reaches a pixel: under a program without weights,
    or with dead or frozen ones. What cannot be replaced is handed back as it came, and a sentence
    says why. Training data come first: where they are asked in every epoch, validation is too.
    """

    def __init__(
        self,
        asker: Asker,
        place: str | Path | None,
        epochs: int,
        verbose: Any,
        *,
        trainable: bool,
        own_step: str | None,
    ) -> None:
        self.asker, self.epochs, self.verbose = asker, epochs, verbose
        self.trainable = trainable
        self.in_files = place not in (None, _MEMORY)
        self.store: AnswerMemory | AnswerFiles = asker.memory
        if self.in_files:
            self.store = AnswerFiles(str(place))
        self.on, self._said = place is not None and epochs > 0, False
        # For a training on kept answers.
        self.callbacks: list[keras.callbacks.Callback] = []
        try:
            self._check_model(own_step)
        except MovingAnswersError as error:
            self._turn_off(None, error, stacklevel=4)

    def arrays(self, arrays: Arrays, batch_size: int, steps: int | None) -> Arrays:
        """Training arrays, with answers in place of the images."""
        if not self._saves(_num_batches(arrays, batch_size), steps, self.epochs):
            return arrays
        try:
            replaced = self._array_answers(arrays, batch_size)
            self.callbacks = [self._guard()]
            return replaced
        except MovingAnswersError as error:
            return self._turn_off(arrays, error)

    def data_set(self, x: Any, steps: int | None) -> Any:
        """A training data set of the same batches, with answers in place of the images."""
        if not self.on:
            return x
        try:
            replaced = self._replaced(x, steps, self.epochs)
            self.callbacks = [self._guard()] if replaced is not x else []
            return replaced
        except MovingAnswersError as error:
            return self._turn_off(x, error)

    def validation(self, options: dict[str, Any]) -> Any:
        """The `validation_data` of a fit, with answers in place of the images."""
        data, steps = options["validation_data"], options.get("validation_steps")
        freq = options.get("validation_freq", 1)
        runs = self.epochs // freq if isinstance(freq, int) else len(freq)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if x is None or not self.on:
            return data
        try:
            if not is_array(x):
                replaced = self._replaced(x, steps, runs)
                return data if replaced is x else replaced
            arrays = self.asker.checks.arrays(x, y, sample_weight)
            size = options.get("validation_batch_size") or options.get("batch_size") or 32
            if not self._saves(_num_batches(arrays, size), steps, runs):
                return data
            answers, *others = self._array_answers(arrays, size)
        except MovingAnswersError as error:
            return self._turn_off(data, error, " for validation" if self.callbacks else "")
        starts = range(0, len(answers), size)
        return _in_order(answers, [tuple(a[s : s + size] for a in others) for s in starts])

    def _guard(self) -> CacheGuard:
        return CacheGuard(self.asker.program, self.trainable)

    def _check_model(self, own_step: str | None) -> None:
        if not self.on:
            return
        if not is_cacheable(self.asker.program, self.trainable):
            self.on = False
            if self.in_files:
                raise MovingAnswersError("the program is trained, so its images change")
            # The usual case, which needs no message.
            return
        if self.asker.has_strategy:
            raise MovingAnswersError("a `tf.distribute` strategy distributes the images")
        if own_step is not None:
            raise MovingAnswersError(own_step)
        if self.asker.source.answers_at_random:
            raise MovingAnswersError("the source answers at random")

    def _saves(self, num_batches: int, steps: int | None, epochs: int) -> bool:
        """Whether caching saves queries, in this fit or, with files, in the next one."""
        asked = epochs * (steps or num_batches)
        return self.on and (asked > num_batches or (self.in_files and asked == num_batches))

    def _array_answers(self, arrays: Arrays, batch_size: int) -> Arrays:
        images = arrays[0]
        starts = range(0, len(images), batch_size)
        batches = (images[start : start + batch_size] for start in starts)
        return (self._answers(images, len(images), images_digest(images), batches), *arrays[1:])

    def _replaced(self, x: Any, steps: int | None, epochs: int) -> Any:
        # A `PyDataset` has no cardinality, others have -1 or -2 if it is unknown.
        known = int(x.cardinality()) if hasattr(x, "cardinality") else 1
        if not self._saves(max(known, 1), steps, epochs):
            return x
        data = RepeatedData(x, self.asker.checks)
        answers = self._answers(data.first_images, data.count, data.digest, data.images())
        return _in_order(answers, data.others)

    def _answers(
        self, some: np.ndarray, count: int, digest: str, batches: Iterable[np.ndarray]
    ) -> np.ndarray:
        """Answers `(count, V, S)` to all batches, kept from an earlier fit or asked now."""
        program, source = self.asker.program, self.asker.source
        shown = check_cacheable(program, some)
        fingerprint = answers_fingerprint(program, source, digest, shown, self.trainable)
        shape = (count, *self.asker.answer_shape)
        answers = self.store.get(fingerprint, shape)
        if answers is not None:
            self._say("No query is sent: the source's answers are stored")
            return answers
        self._check_size(shape)
        self._say(
            "The source is asked once, because its answers are the same in all epochs. Stored"
        )
        try:
            asked = self.asker.each(batches, count, self.verbose)
            return self.store.keep(fingerprint, shape, asked)
        except BudgetSpentError as error:
            raise MovingAnswersError("the ledger's budget did not pay for one pass") from error

    def _check_size(self, shape: tuple[int, int, int]) -> None:
        queries = shape[0] * self.asker.num_views
        ledger = self.asker.source.ledger
        left = None if ledger is None else ledger.left
        if left is not None and left < queries:
            raise MovingAnswersError(
                f"one pass may take {queries} queries, and the ledger's budget has {left} left"
            )
        if not self.in_files and 4 * math.prod(shape) > _MOST_MEMORY:
            raise MovingAnswersError(
                "its answers would fill more than 2 GiB of memory; `cache_features=path` keeps "
                "them in files"
            )

    def _say(self, sentence: str) -> None:
        where = f"in {self.store.folder}" if isinstance(self.store, AnswerFiles) else "in memory"
        # Once for training and validation together.
        if self.verbose != 0 and not self._said:
            say(f"{sentence} {where}.")
        self._said = True

    def _turn_off(
        self, data: Any, reason: Exception, purpose: str = "", stacklevel: int = 5
    ) -> Any:
        self.on = False
        sentence = f"The source is asked in every epoch{purpose}: {reason}."
        if self.in_files:
            warnings.warn(f"{sentence} `cache_features` has no effect.", stacklevel=stacklevel)
        elif self.verbose != 0:
            say(sentence)
        return data


def own_step(kind: type, base: type) -> str | None:
    """Says which step a subclass has of its own, as it may look at images; `None` without one."""
    own = [name for name in _STEPS if getattr(kind, name) is not getattr(base, name)]
    return f"{kind.__name__} has a `{own[0]}` of its own" if own else None


def as_steps_take(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Marks the batches of a data set as answers: steps cannot tell them from rows of a series."""
    return dataset.map(lambda answers, *others: ({ANSWERS: answers}, *others))


def _in_order(answers: np.ndarray, others: Sequence[Arrays]) -> tf.data.Dataset:
    """Batches of answers with the labels and weights that belong to them."""
    arrays = (answers, *others[0])
    signature = tuple(tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in arrays)

    def batches() -> Iterator[Arrays]:
        start = 0
        for other in others:
            yield answers[start : start + len(other[0])], *other
            start += len(other[0])

    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(others)))
    return as_steps_take(dataset.prefetch(2))


def _num_batches(arrays: Arrays, batch_size: int) -> int:
    return -(-len(arrays[0]) // batch_size)


class RepeatedData:
    """One pass over a data set, kept without its images; their digests detect changes."""

    def __init__(self, x: Any, checks: DataChecks) -> None:
        self._data, self._checks = x, checks
        _check_repeatable(x)
        self.others: list[tuple[np.ndarray, ...]] = []
        self._digests: list[str] = []
        self.first_images = np.zeros(0)
        for images, *others in batches(x):
            if not self._digests:
                self.first_images = checks.images(images)
            self._digests.append(images_digest(images))
            self.others.append(_given(others))

    @property
    def count(self) -> int:
        """The number of images."""
        return sum(len(others[0]) for others in self.others)

    @property
    def digest(self) -> str:
        """Digest of all images, in order."""
        return hashlib.sha256("".join(self._digests).encode()).hexdigest()

    def images(self) -> Iterator[np.ndarray]:
        """Reads the images again; raises at the first batch that differs."""
        first = zip(self._digests, self.others, strict=True)
        for (images, *others), (digest, known) in zip(batches(self._data), first, strict=True):
            if images_digest(images) != digest or not _equal(_given(others), known):
                raise MovingAnswersError(
                    "the data set gives other images, labels or weights, or another order, in "
                    "each pass"
                )
            yield self._checks.images(images)


def _given(others: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    return tuple(part for part in others if part is not None)


def _equal(some: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def _check_repeatable(x: Any) -> None:
    if not hasattr(x, "cardinality"):
        raise MovingAnswersError(
            f"a {type(x).__name__} may give other images in each epoch; pass arrays or a "
            "`tf.data.Dataset`"
        )
    if int(x.cardinality()) < 0:
        raise MovingAnswersError(
            "the data set does not say that it ends; leave out `.repeat()`, or use "
            "`.apply(tf.data.experimental.assert_cardinality(batches))`"
        )
