"""BudgetStop: what `fit` does when a ledger's budget ends it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class BudgetStop(keras.callbacks.Callback):
    """Remembers the weights of the best epoch, to go back to when the budget is spent.

    The best epoch has the lowest `val_loss`. Without validation data nothing tells epochs apart,
    and the weights stay as they are when the budget ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.best_loss, self.best_epoch = np.inf, -1
        self._best_weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("val_loss")
        if loss is not None and loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self._best_weights = [v.numpy() for v in self._variables]

    @property
    def _variables(self) -> list[Any]:
        # A map that observes has weights that are not trained.
        return [*self.model.trainable_variables, *self.model.output_map.weights]

    def stop(self, error: Exception) -> str:
        """Goes back to the best epoch.

        Args:
            error: what the ledger said.

        Returns:
            What was done, in words.
        """
        if not self._best_weights:
            return f"{error} Training ended; the weights are those of the last step."
        for variable, value in zip(self._variables, self._best_weights, strict=True):
            variable.assign(value)
        return (
            f"{error} Training ended; the weights are those of epoch {self.best_epoch + 1}, "
            f"val_loss {self.best_loss:.4f}."
        )
