"""Interpreters: LiteRT interpreters of one file, one thread at a time each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

# Enough for training; a server that is sent every batch size must not keep an arena for each.
_SPARE = 3


class Interpreters:
    """Lends interpreters and keeps the last few: opening one takes milliseconds.

    It keeps as many as were ever lent at the same time, and a few more for other batch sizes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # The last returned is the last of the list.
        self._idle: list[tuple[tuple, Interpreter]] = []
        self._lent = self._most_lent = 0
        self._lock = threading.Lock()

    @contextmanager
    def lent(self, input_shape: Sequence[int], num_threads: int | None) -> Iterator[Interpreter]:
        """An interpreter of this input shape; one that failed is not kept."""
        kind = (*input_shape, num_threads)
        interpreter = self._take(kind)
        try:
            if interpreter is None:
                interpreter = open_interpreter(self.path, num_threads)
                index = interpreter.get_input_details()[0]["index"]
                interpreter.resize_tensor_input(index, input_shape)
                interpreter.allocate_tensors()
            yield interpreter
        except BaseException:
            interpreter = None
            raise
        finally:
            self._give_back(kind, interpreter)

    def _take(self, kind: tuple) -> Interpreter | None:
        with self._lock:
            self._lent += 1
            self._most_lent = max(self._most_lent, self._lent)
            for place in reversed(range(len(self._idle))):
                if self._idle[place][0] == kind:
                    return self._idle.pop(place)[1]
        return None

    def _give_back(self, kind: tuple, interpreter: Interpreter | None) -> None:
        with self._lock:
            self._lent -= 1
            if interpreter is not None:
                self._idle.append((kind, interpreter))
            del self._idle[: max(0, len(self._idle) - self._most_lent - _SPARE)]


def open_interpreter(path: Path, num_threads: int | None) -> Interpreter:
    """An interpreter of a file as it is."""
    try:
        return Interpreter(model_path=str(path), num_threads=num_threads)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a readable LiteRT (.tflite) file: {error}") from error
