"""export_litert: one .tflite file for edge devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.arguments import positive_integer
from keras_reprogram.asking.asker import say
from keras_reprogram.asking.images import check_images
from keras_reprogram.export.checks import (
    check_equivalent,
    export_blockers,
    refuse_blockers,
    sample_images,
)
from keras_reprogram.export.litert_agreement import (
    LiteRTForm,
    compare,
    form_named,
    refuse_disagreement,
)
from keras_reprogram.export.litert_conversion import convert
from keras_reprogram.export.litert_facts import litert_facts, with_facts
from keras_reprogram.files import write_whole_file
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source


def export_litert(
    model: ReprogrammedModel,
    path: str | Path,
    *,
    form: str = "float32",
    batch: int | None = None,
    calibration_images: Any = None,
    least_agreement: float | None = None,
    force: bool = False,
    source: Source | None = None,
    twin_tolerance: float = 1e-3,
    overwrite: bool = False,
    verbose: int = 0,
) -> Path:
    """Converts program, source and output map to one `.tflite` file.

    Only LiteRT's builtin operations are used. All views are inside; input `image`, output
    `scores`, both float32, any batch unless `batch` says; of a calibrated model also the signature
    `sets`, whose outputs are those of `export_saved_model` without `classes`, and of a model of
    several findings the signature `findings`. The file is run with `ai_edge_litert` and compared
    with the model before it is written; class names and what the comparison found are stored in
    it, see `read_litert_facts`.

    Forms:

    - `"float32"`: the model's own numbers.
    - `"float16"`: half the size; the small form to take first.
    - `"dynamic_int8"`: int8 weights, a quarter of the size; activations stay in float.
    - `"int8"`: int8 weights and activations in the source, the fastest. Program and output map
      stay in float: 8 bits blur what the one places, and break the other's logarithms; so does
      the first eighth of a deep source's convolutions, whose rounding all others would carry on.

    Args:
        model: a trained model.
        path: file name ending in `.tflite`.
        form: one of the above.
        batch: images of a call; `None` for any number, which LiteRT itself takes. LiteRT.js in a
            browser and TFLite Micro on a board run only files with a fixed batch, LiteRT's
            `CompiledModel` more than one image likewise: 1 suits all three.
        calibration_images: target images without labels, at least 32; needed for all forms but
            float32. Ranges are taken from at most 1,000 of them, and the agreement is measured
            on the same: images that the model was not fitted on tell it more honestly.
        least_agreement: share of images that must get the same class as from the model. `None`
            means .995 for float16 and .97 for the int8 forms. In float32 no score may differ by
            more than 1e-5; by up to 1e-4 if the model's own batches differ by a 30th of that.
        force: write a file that does not agree, with a warning.
        source: an equivalent source that can be embedded; see `export_saved_model`.
        twin_tolerance: largest difference of a score between the two sources.
        overwrite: replace an existing file.
        verbose: 1 prints size and agreement.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, form or batch, calibration images that do not fit, listing
            every blocker, or if the file does not agree with the model.
        FileExistsError: if the file exists and `overwrite` is false.

    Example:
    ```python
    import keras
    from keras_reprogram import (
        FrozenSource, NewHead, ProgramLayer, ReprogrammedModel, embedded_path, export_litert
    )

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255), output="features")
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, NewHead(num_classes=10))
    export_litert(model, "digits.tflite")
    ```
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise ValueError(f"A LiteRT file must end in `.tflite`. Received: {path.name}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Pass `overwrite=True` to replace it.")
    chosen = form_named(form)
    _check_share(least_agreement)
    if batch is not None:
        batch = positive_integer("batch", batch)
    refuse_blockers(export_blockers(model, source))
    images = calibration_images_for(model, chosen, calibration_images)
    if source is not None:
        check_equivalent(model, source, twin_tolerance)
    embedded = model.source.with_asked(source) if source else model.source
    content = convert(model, source, chosen, images, batch)
    agreement = compare(model, embedded, content, images)
    refuse_disagreement(agreement, chosen, least_agreement, force)
    facts = litert_facts(model, embedded, chosen.name, agreement, batch)
    whole = with_facts(content, facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole_file(path, whole)
    if verbose:
        say(f"{path}: {len(whole) / 1e6:.2f} MB, {facts}")
    return path


def _check_share(least_agreement: float | None) -> None:
    if least_agreement is not None and not 0 <= least_agreement <= 1:
        raise ValueError(
            f"`least_agreement` must be a share of images in [0, 1]. Received: {least_agreement}."
            " Write 97 % as 0.97."
        )


LEAST_IMAGES = 32
# The ranges hardly move beyond, and each image is asked of the model once more.
MOST_IMAGES = 1_000


def calibration_images_for(model: ReprogrammedModel, form: LiteRTForm, images: Any) -> np.ndarray:
    """The images to convert with, checked: at most 1,000, at even distances."""
    if images is None:
        if form.needs_images:
            raise ValueError(
                f'`form="{form.name}"` needs `calibration_images`, because only real images show '
                f"how well it agrees. Received: None. Pass {LEAST_IMAGES} to {MOST_IMAGES:,} "
                "training images, without labels."
            )
        return sample_images(model)
    target_range = model.data_checks.target_range
    try:
        images = check_images(images, model.input_shape[1:], target_range)
    except ValueError as error:
        raise ValueError(f"`calibration_images` cannot be used: {error}") from error
    if len(images) < LEAST_IMAGES:
        raise ValueError(
            f"`calibration_images` must be at least {LEAST_IMAGES}. Received: {len(images)}. Pass "
            "more training images, of every class: ranges and agreement are measured on them."
        )
    if len(images) > MOST_IMAGES:
        images = images[np.linspace(0, len(images) - 1, MOST_IMAGES).astype(int)]
    return images.astype(np.float32)
