"""ProgramImages: shows the program and its source images in TensorBoard."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.report.pictures import one_if_shared, own_range

_CHANNELS = (1, 3)


class ProgramImages(keras.callbacks.Callback):
    """Writes the program's images and a few source images to TensorBoard while `fit` runs.

    They appear under "Images": `program`, one picture a view (one in all if the views share it),
    mid-grey where it is zero, and `source images, view 1`, `view 2`, ... of the samples, which are
    written once as `target images`. Steps are epochs counted from 0, as in
    `keras.callbacks.TensorBoard`, whose job the scalars are. No query is asked: only the program
    runs, not the source.

    Args:
        log_dir: of TensorBoard; these pictures become its run `program`.
        sample_images: `(n, h, w, c)` target images in the program's range, or None for the
            program alone.
        every: epochs from one picture to the next; the last epoch is always written.

    Raises:
        ImportError: If TensorBoard is not installed.
        ValueError: For samples of another shape, `every` below 1, or a model that has nothing to
            show.

    Example:
        ```python
        import keras
        from keras_reprogram.report import ProgramImages

        def train(model, images, labels):
            scalars = keras.callbacks.TensorBoard("logs")
            pictures = ProgramImages("logs", images[:4], every=5)
            model.fit(images, labels, epochs=20, callbacks=[scalars, pictures])
            # Then: tensorboard --logdir logs
        ```
    """

    def __init__(self, log_dir: str | Path, sample_images: Any = None, *, every: int = 1) -> None:
        super().__init__()
        with needs_extra("tensorboard", "tensorboard"):
            importlib.import_module("tensorboard")
        if every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every}. Pass 1, say.")
        self.log_dir, self.every = Path(log_dir) / "program", every
        self.samples = None if sample_images is None else np.asarray(sample_images, "float32")
        self._written: int | None = None
        self._epoch = 0
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._check_model()
        self._written = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if epoch % self.every == 0:
            self.write(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        if self._written != self._epoch:
            self.write(self._epoch)
        self._close()

    def write(self, step: int) -> None:
        """Writes the pictures of the program as it is now.

        `fit` calls it; after `fit_opaque`, which takes no callbacks, call it yourself: first
        `set_model(model)`, then `write(0)`.

        Args:
            step: where they stand on TensorBoard's slider.
        """
        self._check_model()
        pictures = self._program_pictures() | self._source_pictures()
        summary = _summary()
        if self._writer is None:
            self._writer = summary.create_file_writer(str(self.log_dir))
            pictures |= self._target_pictures()
        # What users log themselves, and whether they do, is another matter.
        with self._writer.as_default(), summary.record_if(True):
            for name, images in pictures.items():
                summary.image(name, images, step=step, max_outputs=len(images))
        self._writer.flush()
        self._written = step

    def _program_pictures(self) -> dict[str, np.ndarray]:
        images = self.model.program.program_images()
        if images is None:
            return {}
        # P is in units of half the range.
        return {"program": _clipped(0.5 + 0.5 * one_if_shared(images))}

    def _source_pictures(self) -> dict[str, np.ndarray]:
        if self.samples is None:
            return {}
        made = keras.ops.convert_to_numpy(self.model.program(self.samples))
        pictures = _scaled(made, self.model.source.value_range)
        return {
            f"source images, view {view + 1}": pictures[:, view]
            for view in range(pictures.shape[1])
        }

    def _target_pictures(self) -> dict[str, np.ndarray]:
        if self.samples is None or self.samples.shape[-1] not in _CHANNELS:
            return {}
        target_range = self.model.data_checks.target_range or own_range(self.samples)
        return {"target images": _scaled(self.samples, target_range)}

    def _check_model(self) -> None:
        if self.samples is None and self.model.program.program_images() is None:
            raise ValueError(
                "A program without `program_images` shows itself in source images only. Received: "
                f"{type(self.model.program).__name__} without `sample_images`. Pass a few images."
            )
        if self.model.source.source_shape[-1] not in _CHANNELS:
            raise ValueError(
                "TensorBoard shows source images of 1 or 3 channels. Received: source shape "
                f"{self.model.source.source_shape}. Leave `ProgramImages` out."
            )
        shape = tuple(self.model.program.target_shape)
        if self.samples is not None and (self.samples.shape[1:] != shape or not len(self.samples)):
            raise ValueError(
                f"Expected `sample_images` of shape (n, {', '.join(map(str, shape))}). Received: "
                f"shape {self.samples.shape}. Pass some of the images that the model learns from."
            )

    def _close(self) -> None:
        self._writer.close()
        self._writer = None


def _summary() -> Any:
    import tensorflow

    return tensorflow.summary


def _scaled(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    low, high = value_range
    return _clipped((images - low) / (high - low))


def _clipped(images: np.ndarray) -> np.ndarray:
    return np.clip(images, 0.0, 1.0).astype("float32")
