"""BatchStream: one pass over the images after the other, each in an order of its own."""

from collections.abc import Iterator

import numpy as np


class BatchStream:
    """Endless batches of row numbers, all of one size.

    Args:
        batch_size: Rows a batch; fewer only where there are fewer in all.
        random: What the orders are drawn from.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.batch_stream import BatchStream

        stream = BatchStream(2, np.random.default_rng(0))
        print(len(stream.next(5)), stream.steps_a_pass(5))  # 2 2
        ```
    """

    def __init__(self, batch_size: int, random: np.random.Generator) -> None:
        self.batch_size = batch_size
        self._random = random
        self._batches: Iterator[np.ndarray] = iter(())

    def next(self, count: int) -> np.ndarray:
        """The rows of the next batch.

        Args:
            count: How many rows there are, the same at every call.

        Returns:
            Integer array.
        """
        batch = next(self._batches, None)
        if batch is None:
            order, size = self._random.permutation(count), self.batch_size
            whole = self.steps_a_pass(count)
            self._batches = iter([order[i * size : (i + 1) * size] for i in range(whole)])
            batch = next(self._batches)
        return batch

    def steps_a_pass(self, count: int) -> int:
        """How many batches make up one pass; what is left over comes in another one.

        Args:
            count: How many rows there are.
        """
        return max(count // self.batch_size, 1)
