"""export_litert: one .tflite file for edge devices."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.asking.asker import say
from keras_reprogram.asking.images import check_images
from keras_reprogram.export.checks import (
    check_equivalent,
    export_blockers,
    refuse_blockers,
    sample_images,
)
from keras_reprogram.export.litert_agreement import (
    Agreement,
    LiteRTForm,
    compare,
    form_named,
    refuse_disagreement,
)
from keras_reprogram.export.litert_conversion import convert
from keras_reprogram.export.server_files import calibration_facts, scored_classes, threshold_facts
from keras_reprogram.files import write_whole_file
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source


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
    `scores`, both float32, any batch; of a calibrated model also the signature `sets`, whose
    outputs are those of `export_saved_model` without `classes`, and of a model of several findings
    the signature `findings`. The file is run with
    `ai_edge_litert` and compared with the model before it is written; class names and what the
    comparison found are stored in it, see `read_litert_facts`.

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
        source: an equivalent source that can be embedded; see `export_saved_model`.
        twin_tolerance: largest difference of a score between the two sources.
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
        check_equivalent(model, source, twin_tolerance)
    embedded = model.source.with_asked(source) if source else model.source
    content = convert(model, source, chosen, images)
    agreement = compare(model, embedded, content, images)
    refuse_disagreement(agreement, chosen, least_agreement, force)
    facts = litert_facts(model, embedded, chosen.name, agreement)
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


LABELS_FILE = "labels.txt"
FACTS_FILE = "keras_reprogram.json"
# A fixed date: the same model gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class LiteRTFacts:
    """Facts about a file that `export_litert` wrote.

    Args:
        form: `"float32"`, `"float16"`, `"dynamic_int8"` or `"int8"`.
        class_names: a name for each score.
        target_shape: `(h, w, c)` of an image.
        target_range: `(low, high)` of its pixels, `None` if the program does not say.
        num_views: views of an image, all inside the file.
        source: fingerprint of the source model.
        agreement: how well the file agreed with the model.
        calibration: what the sets promise of the float model, and from how many images it is
            known; `None` for a model that was not calibrated.
        thresholds: of several findings the probability from which each counts as found; else
            `None`.
    """

    form: str
    class_names: tuple[str, ...]
    target_shape: tuple[int, int, int]
    target_range: tuple[float, float] | None
    num_views: int
    source: str
    agreement: Agreement
    calibration: dict[str, Any] | None = None
    thresholds: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return f"{self.form}, {self.num_views} view(s): {self.agreement}."


def litert_facts(
    model: ReprogrammedModel, source: Source, form: str, agreement: Agreement
) -> LiteRTFacts:
    """The facts that a LiteRT file says of itself."""
    return LiteRTFacts(
        form=form,
        class_names=scored_classes(model),
        target_shape=tuple(model.input_shape[1:]),
        target_range=model.data_checks.target_range,
        num_views=model.queries_per_prediction,
        source=source.fingerprint,
        agreement=agreement,
        calibration=None if model.calibration is None else calibration_facts(model.calibration),
        thresholds=threshold_facts(model),
    )


def with_facts(content: bytes, facts: LiteRTFacts) -> bytes:
    """Appends labels.txt and keras_reprogram.json, as TFLite's own metadata tools append files."""
    # An interpreter reads from the front and does not see them; any unzip program does.
    labels = "".join(f"{name}\n" for name in facts.class_names)
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, _DATE), labels)
        text = json.dumps(asdict(facts), indent=1, ensure_ascii=False) + "\n"
        archive.writestr(zipfile.ZipInfo(FACTS_FILE, _DATE), text)
    return file.getvalue()


def read_litert_facts(path: str | Path) -> LiteRTFacts:
    """Reads what `export_litert` stored in its file.

    Args:
        path: the `.tflite` file.

    Returns:
        The facts.

    Raises:
        ValueError: for a file without them.

    Example:
    ```python
    import keras
    from keras_reprogram import (
        FrozenSource, NewHead, ProgramLayer, ReprogrammedModel, embedded_path, export_litert
    )
    from keras_reprogram.export.litert import read_litert_facts

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255), output="features")
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, NewHead(num_classes=10))
    facts = read_litert_facts(export_litert(model, "digits.tflite"))
    print(facts)  # float32, 1 view(s): 100.00% of 8 images get the same class; ...
    ```
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stored = json.loads(archive.read(FACTS_FILE))
        agreement = Agreement(**stored.pop("agreement"))
        tuples = {key: tuple(value) for key, value in stored.items() if isinstance(value, list)}
        return LiteRTFacts(**(stored | tuples), agreement=agreement)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a file that `export_litert` wrote. Received: {path}, which has no "
            f"{FACTS_FILE} at its end ({error}). Export the model again."
        ) from error


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
