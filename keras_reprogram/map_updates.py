"""MapUpdates: lets a map follow the program, from answers that the epoch's steps got."""

from __future__ import annotations

from typing import Any

import keras


class MapUpdates(keras.callbacks.Callback):
    """Calls `output_map.reassign()` once an epoch, after its last step.

    That is before the epoch's validation where there is one, so that the validated map is the
    one that other callbacks save. `fit` adds it by itself, in front of the user's callbacks: a
    backup of the epoch's end holds the new map, and one of mid-epoch what was observed so far.

    Args:
        output_map: an `OutputMap` that observes.
    """

    def __init__(self, output_map: Any) -> None:
        super().__init__()
        self.output_map = output_map

    def on_train_begin(self, logs: Any = None) -> None:
        # What a run left that was broken off; callbacks that restore a run come later.
        self.output_map.forget_observed()

    def on_test_begin(self, logs: Any = None) -> None:
        self.output_map.reassign()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.output_map.reassign()
