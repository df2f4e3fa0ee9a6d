"""lor_vp_2025: a low-rank prompt over the whole image, and a new head (LoR-VP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.arguments import one_of
from keras_reprogram.methods.method import Method, compiled_method, full_program
from keras_reprogram.methods.rate_schedule import cosine
from keras_reprogram.output_map import DenseMap, MultiLabelMap, NewHead, OutputMap
from keras_reprogram.source.source import Source

_MAPPINGS = ("linear_probe", "dense", "iterative", "frequency")
# The authors add B A to pixels in [0, 1]; one unit of `ProgramLayer` is half of the range.
_WHOLE_RANGE = 2.0


def lor_vp_2025(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    mapping: str = "linear_probe",
    learning_rate: float = 0.02,
    **program_options: Any,
) -> Method:
    """Low-rank visual prompting, LoR-VP (Jin et al. 2025).

    The image is resized to the whole canvas, and `B A` is added to it, rank 4 a channel, B zero
    and A normal with standard deviation .01 at first. The source's last layer is replaced. SGD at
    0.02 with momentum .9 and weight decay 1e-4, whose rate falls by a cosine over 20 epochs, in
    batches of 256, is that of the released script for Tiny-ImageNet.

    Deviations: the result is clipped to the source's range. Keras's weight decay does not pass
    through the momentum, theirs does. Their training runs in float16. The released script never
    builds its prompt (it compares `"lor_vp"` with `"LoR_VP"`), so that it trains the new head
    alone; this trains both. `"dense"` reads standardised log-scores, theirs logits.

    Args:
        source: a `FrozenSource(model, output="features")`; for the other mappings any `Source`
            that gives scores. Where it is opaque, `fit` estimates the gradient: pass
            `rank_spread=1.0` then.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws A, the batch order and nothing else.
        mapping: `"linear_probe"` (LP, a new head), or what the authors compare with: `"dense"`
            (FM), `"iterative"` (ILM), `"frequency"` (FLM).
        learning_rate: the first, for prompt and head.
        **program_options: of `ProgramLayer`, such as `rank`.

    Returns:
        A `Method`.

    Raises:
        ValueError: for an unknown mapping, a rank that does not fit, a source that gives scores
            where features are read or the reverse, or one with fewer labels than classes where
            labels are assigned.

    References:
        Jin, Li, Zhao, Zhao, Wang, He, Han, Che, Metaxas, "LoR-VP: Low-Rank Visual Prompting for
        Efficient Vision Model Adaptation", ICLR 2025.
    """
    one_of("mapping", mapping, _MAPPINGS)
    options = {"rank": 4, "masked": False, "squash": "none", "strength": _WHOLE_RANGE, "seed": seed}
    program = full_program(
        source, target_shape, target_range=target_range, **options | program_options
    )
    return compiled_method(
        "lor_vp_2025",
        program,
        source,
        _output_map(mapping, num_classes),
        optimizer=keras.optimizers.SGD(learning_rate, momentum=0.9, weight_decay=1e-4),
        rate=cosine(learning_rate),
        epochs=20,
        batch_size=256,
        class_names=class_names,
        seed=seed,
    )


def _output_map(mapping: str, num_classes: int) -> OutputMap:
    if mapping == "linear_probe":
        return NewHead(num_classes)
    if mapping == "dense":
        return DenseMap(num_classes)
    return MultiLabelMap(num_classes, assignment=mapping)
