"""bar_2020_white_box: BAR's program, map and focal loss with true gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reprogram.methods.method import Method, compiled_method, framed_program
from keras_reprogram.methods.rate_schedule import constant
from keras_reprogram.output_map import MultiLabelMap
from keras_reprogram.source.source import Source

# Source labels a class of the paper's retinopathy and melanoma runs.
_MOST_LABELS = 10


def bar_2020_white_box(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    assignment: str = "frequency",
    labels_per_class: int | None = None,
    learning_rate: float = 0.01,
    gamma: float = 2.0,
    **program_options: Any,
) -> Method:
    """The white-box counterpart of BAR (Tsai, Chen, Ho 2020, eq. 1-4), "AR" in its tables.

    `pad(x) + tanh(W * M)`; a class has the mean score of m source labels; focal loss with
    `omega_j = 1 / n_j`, which weighs the frequency map too. Adam at 0.01 for 9 epochs is that of
    the released script, which applies true gradients. With an opaque source `fit` estimates them;
    BAR as it was published, SGD and one direction a batch, is `examples/benchmark/bar.py`.

    Deviations: those of `ProgramLayer` and `assign_labels`, and of `MultiLabelMap`: the classes'
    means are scaled to sum to 1. The frequency map counts first answers, the released one ranks
    labels by their mean score among the 30 highest of an image. Class weights are scaled to a
    mean of 1. Batches of 20 and this loss are the paper's; the script has 10, a binary focal loss
    a class, and m = 6.

    Args:
        source: any `Source` with at least `K * m` labels.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order and a random map.
        assignment: `"frequency"` or `"random"`.
        labels_per_class: m; `None` for the paper's 10, or as many as the source has for each.
        learning_rate: of Adam.
        gamma: of the focal loss, >= 0.
        **program_options: of `ProgramLayer`; without `image_size` images that would fill the
            canvas are shrunk to 4/7 of it.

    Returns:
        A `Method`.

    Raises:
        ValueError: if the source has too few labels.

    References:
        Tsai, Chen, Ho, "Transfer Learning without Knowing: Reprogramming Black-box Machine
        Learning Models with Scarce Data and Limited Resources", ICML 2020.
    """
    if labels_per_class is None:
        labels_per_class = max(1, min(_MOST_LABELS, source.num_labels // num_classes))
    output_map = MultiLabelMap(
        num_classes, labels_per_class=labels_per_class, assignment=assignment, seed=seed
    )
    return compiled_method(
        "bar_2020_white_box",
        framed_program(source, target_shape, target_range=target_range, **program_options),
        source,
        output_map,
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=constant(learning_rate),
        epochs=9,
        batch_size=20,
        class_names=class_names,
        seed=seed,
        loss=FocalLoss(gamma),
        class_balanced=True,
    )


@keras.saving.register_keras_serializable(package="keras_reprogram")
class FocalLoss(keras.losses.Loss):
    """`-(1 - p)^gamma * log(p)` of the true class's probability p (Tsai et al. 2020, eq. 4).

    Keras's own focal losses take one-hot labels, and have no gradient where p is below 1e-7. The
    paper's class weights omega are `class_weight` of `fit`.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        reduction: str = "sum_over_batch_size",
        name: str = "focal_loss",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        if not gamma >= 0:
            raise ValueError(f"`gamma` must be at least 0. Received: gamma={gamma}.")
        self.gamma = float(gamma)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        # Keras takes the softmax's own inputs here, and clips p nowhere: where p is 1e-9 the
        # gradient is still there.
        cross_entropy = keras.losses.sparse_categorical_crossentropy(
            ops.reshape(y_true, (-1,)), y_pred
        )
        missing = ops.maximum(-ops.expm1(-cross_entropy), keras.config.epsilon())
        return ops.power(missing, self.gamma) * cross_entropy

    def get_config(self) -> dict[str, Any]:
        return {"gamma": self.gamma, "reduction": self.reduction, "name": self.name}
