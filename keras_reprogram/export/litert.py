"""export_litert: one .tflite file for edge devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_reprogram.export.blockers import export_blockers, refuse_blockers
from keras_reprogram.export.litert_agreement import compare, refuse_disagreement
from keras_reprogram.export.litert_calibration import calibration_images_for
from keras_reprogram.export.litert_conversion import convert
from keras_reprogram.export.litert_facts import litert_facts, with_facts
from keras_reprogram.export.litert_form import form_named
from keras_reprogram.export.twin import check_twin
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source
from keras_reprogram.whole_file import write_whole_file


def export_litert(
    model: ReprogrammedModel,
    path: str | Path,
    *,
    form: str = "float32",
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
    `scores`, both float32, any batch. The file is run with `ai_edge_litert` and compared with the
    model before it is written; class names and what the comparison found are stored in it, see
    `read_litert_facts`.

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
        calibration_images: target images without labels, at least 32; needed for all forms but
            float32. Ranges are taken from at most 1,000 of them, and the agreement is measured
            on the same: images that the model was not fitted on tell it more honestly.
        least_agreement: share of images that must get the same class as from the model. `None`
            means .995 for float16 and .97 for the int8 forms. In float32 no score may differ by
            more than 1e-5; by up to 1e-4 if the model's own batches differ by a 30th of that.
        force: write a file that does not agree, with a warning.
        source: a twin of the model's source that can be embedded; see `export_saved_model`.
        twin_tolerance: largest difference of a score between source and twin.
        overwrite: replace an existing file.
        verbose: 1 prints size and agreement.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix or form, calibration images that do not fit, listing every
            blocker, or if the file does not agree with the model.
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
    refuse_blockers(export_blockers(model, source))
    images = calibration_images_for(model, chosen, calibration_images)
    if source is not None:
        check_twin(model, source, twin_tolerance)
    embedded = source or model.source
    content = convert(model, source, chosen, images)
    agreement = compare(model, embedded, content, images)
    refuse_disagreement(agreement, chosen, least_agreement, force)
    facts = litert_facts(model, embedded, chosen.name, agreement)
    whole = with_facts(content, facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole_file(path, whole)
    if verbose:
        print(f"{path}: {len(whole) / 1e6:.2f} MB, {facts}")
    return path


def _check_share(least_agreement: float | None) -> None:
    if least_agreement is not None and not 0 <= least_agreement <= 1:
        raise ValueError(
            f"`least_agreement` must be a share of images in [0, 1]. Received: {least_agreement}."
            " Write 97 % as 0.97."
        )
