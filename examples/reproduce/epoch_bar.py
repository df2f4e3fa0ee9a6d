"""The epochs of a training, as a line under the bar of the runs."""

from __future__ import annotations

from typing import Any

import keras
from rich.progress import Progress


class EpochBar(keras.callbacks.Callback):
    """Shows how many epochs are done, and what the last one reached on validation.

    Args:
        bars: to which a bar is added while a model is trained.
    """

    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self.bars = bars

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = self.bars.add_task("  epochs", total=self.params["epochs"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        reached = f"  epochs, validation {logs['val_accuracy']:.3f}"
        self.bars.update(self._bar, description=reached, completed=epoch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        self.bars.remove_task(self._bar)
