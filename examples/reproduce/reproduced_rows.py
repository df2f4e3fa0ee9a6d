"""One row a run: what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class ReproducedRow:
    """What a run reached; `None` is an empty cell.

    Attributes:
        row: name of the table's line.
        form: `"here"`, `"paper"`, or one of the cuts that only test the machinery.
        target: name of the target.
        source: name of the source, `"none"` where none is asked.
        method: name of the method.
        seed: draws images, splits, starts and batches.
        fold: number of the part of a cross-validation, from 0; 0 where there is none.
        n_train: training images, those held out for validation included.
        n_test: test images.
        resolution: size of the image on the canvas, and of the canvas.
        epochs: that were run, all learning rates together.
        validation_accuracy: on the part of the training images that was held out.
        test_accuracy: on the test images, looked at once.
        balanced_accuracy: mean of the classes' accuracies on the test images.
        train_accuracy: on the training images, held-out ones included.
        seconds: of the run; answers and programs that were kept cost nothing again.
        choices: what was chosen on validation, `name=value` by semicolons.
        notes: what a reader should know.
    """

    row: str
    form: str
    target: str
    source: str
    method: str
    seed: int
    fold: int
    n_train: int
    n_test: int
    resolution: str = ""
    epochs: int | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    balanced_accuracy: float | None = None
    train_accuracy: float | None = None
    seconds: float | None = None
    choices: str = ""
    notes: str = ""

    @property
    def key(self) -> Key:
        """What tells one run from another."""
        return (self.row, self.form, self.seed, self.fold)

    @property
    def line(self) -> str:
        """What is shown when the run is done."""
        name = f"{self.row:32} seed {self.seed} fold {self.fold}"
        figures = f"{self.test_accuracy or 0:.3f} (balanced {self.balanced_accuracy or 0:.3f})"
        return f"{name}  {figures}  {self.seconds or 0:7.1f} s  {self.choices}"
