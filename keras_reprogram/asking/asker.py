"""Asker: asks a source about many images, counts the queries and shows a progress bar."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.asking.answer_store import AnswerMemory
from keras_reprogram.asking.data import DataChecks, batches, is_array
from keras_reprogram.asking.held_out import LearnedImages
from keras_reprogram.asking.images import EMPTY
from keras_reprogram.asking.strategy import (
    check_not_shared,
    check_one_replica,
    check_strategy,
    count_variable,
    in_replica,
    sum_over_replicas,
)

# Of one call, where a source names no limit; sums of two such numbers still fit 32 bits.
_MOST_IMAGES = 2**30


class QueryCount:
    """Image queries of one source, counted inside graphs and outside of them.

    Args:
        source: whose own count is read where it runs as Python code: a ledger's answers are free.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        # TensorFlow's own variable, because a step in a graph can add to it. Keras would save a
        # variable of its own and pass it to optimizers and `stateless_call`.
        self._in_graph = count_variable()
        self._sent, self._asked = 0, 0

    @property
    def used(self) -> int:
        """Queries that were sent."""
        return self._sent + int(self._in_graph.numpy())

    @property
    def asked(self) -> int:
        """Queries put to the source, including those that a ledger answered."""
        # Equal in an interrupted, resumed run and an uninterrupted one, which `used` is not.
        return self._asked + int(self._in_graph.numpy())

    @contextmanager
    def counting(self, num_images: Any) -> Iterator[None]:
        """Counts queries in the block: by `num_images` in a graph, else by the source itself."""
        if self.source.in_graph:
            # Of all replicas: each knows the sum.
            self._in_graph.assign_add(sum_over_replicas(tf.cast(num_images, tf.int64)))
            yield
            return
        before = self.source.queries_used
        self._asked += int(num_images)
        try:
            yield
        finally:
            self._sent += self.source.queries_used - before


class Asker:
    """Asks one source about target images under one program.

    Args:
        program: a built layer, target images -> source images.
        source: a `Source`.
        num_views: source images that the program makes of a target image.
        checks: of the images.
        count: of an asker that this one asks on behalf of; `None` for a count of its own.
    """

    def __init__(
        self,
        program: Any,
        source: Any,
        num_views: int,
        checks: DataChecks,
        count: QueryCount | None = None,
    ) -> None:
        self.program, self.source, self.num_views = program, source, num_views
        self.checks = checks
        self.count = count or QueryCount(source)
        self.strategy = tf.distribute.get_strategy()
        self._in_strategy = tf.distribute.has_strategy()
        # Answers of the last fit, which the next one may need again.
        self.memory = AnswerMemory()
        self.learned = LearnedImages()

    def under(self, program: Any) -> Asker:
        """An asker with another program, whose queries are counted here; builds the program."""
        num_views = int(program(keras.Input(program.target_shape)).shape[1])
        # Views are judged by what is asked under them, not by what is beside it.
        asker = Asker(program, self.source.asked_part(), num_views, self.checks, self.count)
        # The strategy that its queries are counted under.
        asker.strategy, asker._in_strategy = self.strategy, self._in_strategy
        return asker

    def forget_views(self) -> None:
        """Drops the compiled function, which holds the program's views as constants."""
        self.__dict__.pop("_answer_batch", None)

    # === Inside a step ===

    @contextmanager
    def counting(self, num_images: Any) -> Iterator[None]:
        """Counts the queries of what runs inside, `num_views` for each target image."""
        self.check_replicas()
        if not in_replica():
            check_not_shared(self.strategy, "Asking outside of `fit`, `evaluate` and `predict`")
        with self.count.counting(num_images * self.num_views):
            yield

    def check_replicas(self) -> None:
        """Refuses strategies of several devices under which this asker cannot ask."""
        check_strategy(self.strategy, self._in_strategy)
        if not self.source.in_graph:
            check_one_replica(
                self.strategy,
                f"A source that runs as Python code ({type(self.source).__name__})",
                "Build the model without the strategy: such a source is asked by one process, and "
                "several servers are shared by passing the list of their addresses.",
            )

    @property
    def has_strategy(self) -> bool:
        """Whether steps run under a `tf.distribute` strategy, be it of one device."""
        return self._in_strategy or tf.distribute.has_strategy()

    @property
    def rows_per_call(self) -> int:
        """Target images whose views are asked about in one call of the source."""
        return max(1, (self.source.max_batch or _MOST_IMAGES) // self.num_views)

    @property
    def answer_shape(self) -> tuple[int, int]:
        """Of what a map reads for one target image: `(V, S)`, but of a joint source `(1, A)`."""
        return self.source.answer_shape(self.num_views)

    def scores_of(self, x: Any, source_images: Any = None) -> Any:
        """What a map reads for target images, at most `max_batch` source images at once.

        The source is shown what the program makes of them, or the `source_images` given.
        """
        x = tf.convert_to_tensor(x)

        def scores(start: Any, stop: Any) -> Any:
            part = x[start:stop]
            shown = self.program(part) if source_images is None else source_images[start:stop]
            return self.source.answers(self.answer(shown), part)

        return split_calls(scores, tf.shape(x)[0], self.rows_per_call, self.answer_shape)

    def answer(self, source_images: Any) -> Any:
        """Source scores of `(n, V, H, W, C)`, by groups of views where one image has too many."""
        limit = self.source.max_batch or self.num_views
        if limit >= self.num_views:
            return self.source(source_images)
        starts = range(0, self.num_views, limit)
        parts = [self.source(source_images[:, start : start + limit]) for start in starts]
        return tf.concat(parts, axis=1)

    # === Many images ===

    def ask(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int,
        steps: int | None = None,
        verbose: Any = "auto",
        learned: bool = False,
    ) -> tuple[np.ndarray, Any, Any]:
        """Answers `(n, V, S)`, labels and weights of all batches, `learned` from or not."""
        total = None
        if is_array(x):
            x = self.checks.images(x)
            total = len(x)
            y, sample_weight = (None if a is None else np.asarray(a) for a in (y, sample_weight))
        others: list[tuple[Any, Any]] = []

        def images() -> Iterator[np.ndarray]:
            for batch, labels, weight in batches(x, y, sample_weight, batch_size, steps):
                others.append((labels, weight))
                batch = self.checks.images(batch)
                if learned:
                    self.learned.add(batch)
                yield batch

        answers = list(self.each(images(), total, verbose))
        if not answers:
            raise ValueError(EMPTY)
        labels, weights = zip(*others, strict=True)
        return np.concatenate(answers), _joined(labels), _joined(weights)

    def each(
        self,
        batches: Iterable[np.ndarray],
        num_images: int | None,
        verbose: Any = "auto",
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Scores `(rows, V, S)` of one batch of float32 images after the other.

        Under a bar, or with calls of `progress` with the queries so far in its place.
        """
        total = None if num_images is None else num_images * self.num_views
        bar = QueryBar(self.source, total, verbose if progress is None else 0)
        before = self.count.asked
        for images in batches:
            with self.counting(len(images)):
                scores = np.asarray(self._answer_batch(tf.constant(images)))
            (progress or bar.update)(self.count.asked - before)
            yield scores
        if self.count.asked > before:
            bar.finish()

    @cached_property
    def _answer_batch(self) -> Callable[[Any], Any]:
        if not self.source.in_graph:
            return self.scores_of
        image = tf.TensorSpec((None, *self.program.target_shape), tf.float32)
        # A concrete function: TensorFlow warns of `tf.function`s that several models trace.
        return tf.function(self.scores_of, autograph=False).get_concrete_function(image)


_log = logging.getLogger("keras_reprogram")


def say(sentence: str) -> None:
    """Writes a line where Keras writes its progress: to the terminal, or to a log."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(f"{sentence}\n")
        sys.stdout.flush()
    else:
        _log.info(sentence)


class QueryBar:
    """Keras's progress bar, counting queries."""

    def __init__(self, source: Any, total: int | None, verbose: Any = "auto") -> None:
        self.ledger = source.ledger
        self.total, self._last, self._started = total, 0, time.monotonic()
        self._bar = keras.utils.Progbar(
            total,
            verbose=1 if verbose == "auto" else int(verbose),
            unit_name="query",
            stateful_metrics=["queries_per_second", "spent", "money_spent"],
        )

    def update(self, queries: int) -> None:
        """Updates the bar with the number of answered queries."""
        # The bar's own last step is the end of the run: `finish`.
        self._last = queries if self.total is None else min(queries, self.total - 1)
        self._bar.update(max(self._last, 0), self._values(queries))

    def finish(self) -> None:
        """Ends the line."""
        self._bar.update(self.total or self._last, finalize=True)

    def _values(self, queries: int) -> list[tuple[str, float]]:
        seconds = max(time.monotonic() - self._started, 1e-9)
        values = [("queries_per_second", queries / seconds)]
        if self.ledger is not None:
            # Of all runs on this ledger.
            values.append(("spent", self.ledger.spent))
            if self.ledger.price_per_thousand is not None:
                values.append(("money_spent", self.ledger.money_spent))
        return values


def split_calls(
    function: Callable[[Any, Any], Any], num_rows: Any, rows_per_call: int, row_shape: tuple
) -> Any:
    """Concatenates `function(start, stop)` over consecutive slices of rows."""
    # Eagerly this is a Python loop, so that an error of the source keeps its type; in a graph it is
    # a `tf.while_loop`, one slice at a time.
    if tf.executing_eagerly():
        total = int(num_rows)
        starts = range(0, total, rows_per_call)
        parts = [function(start, min(start + rows_per_call, total)) for start in starts]
        return tf.concat(parts, axis=0)
    num_calls = (num_rows + rows_per_call - 1) // rows_per_call
    array = tf.TensorArray(
        tf.float32, size=num_calls, infer_shape=False, element_shape=(None, *row_shape)
    )

    def step(index: Any, array: Any) -> tuple[Any, Any]:
        start = index * rows_per_call
        part = function(start, tf.minimum(start + rows_per_call, num_rows))
        return index + 1, array.write(index, part)

    _, array = tf.while_loop(
        lambda index, _: index < num_calls, step, (0, array), parallel_iterations=1
    )
    return array.concat()


def _joined(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate([np.asarray(part) for part in parts])
