"""export_litert: one .tflite file for edge devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_reprogram.asking.asker import say
from keras_reprogram.export.checks import check_equivalent, export_blockers, refuse_blockers
from keras_reprogram.export.litert_agreement import compare, refuse_disagreement
from keras_reprogram.export.litert_conversion import convert
from keras_reprogram.export.litert_facts import litert_facts, min_runtime_version, with_facts
from keras_reprogram.export.litert_images import ImageBar, conversion_images
from keras_reprogram.export.litert_metadata import described, schema_of_metadata, with_metadata
from keras_reprogram.export.litert_targets import plan_litert, refuse_newer
from keras_reprogram.files import write_whole_file
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source


def export_litert(
    model: ReprogrammedModel,
    path: str | Path,
    *,
    target: str = "litert",
    form: str | None = None,
    batch: int | None = None,
    rgb_input: bool | None = None,
    calibration_images: Any = None,
    held_out_images: Any = None,
    held_out_labels: Any = None,
    description: str | None = None,
    licence: str = "",
    least_agreement: float | None = None,
    force: bool = False,
    source: Source | None = None,
    twin_tolerance: float = 1e-3,
    overwrite: bool = False,
    verbose: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Converts program, source and output map to one `.tflite` file.

    Only LiteRT's builtin operations are used. All views are inside; input `image`, output
    `scores`, both float32, any batch unless `batch` or `target` says; of a calibrated model also
    the signature `sets`, whose outputs are those of `export_saved_model` without `classes`, and of
    a model of several findings the signature `findings`. The file is run with `ai_edge_litert` and
    compared with the model before it is written; class names and what the comparison found are
    stored in it, see `read_litert_facts`.

    Forms:

    - `"float32"`: the model's own numbers.
    - `"float16"`: half the size; the small form to take first.
    - `"dynamic_int8"`: int8 weights, a quarter of the size; activations stay in float.
    - `"int8"`: int8 weights and activations in the source, the fastest. Program and output map
      stay in float: 8 bits blur what the one places, and break the other's logarithms; so does
      the first eighth of a deep source's convolutions, whose rounding all others would carry on.

    An int8 file is compared with XNNPACK and with LiteRT's reference kernels, which round in other
    places; the worse of both decides. OpenVINO and onnxruntime read 8-bit files differently again:
    take float16 or float32 there.

    Targets, the runtimes that a file is for (what each takes: `keras_reprogram.export.TARGETS`):

    - `"litert"`: `ai-edge-litert`, any form and batch.
    - `"mediapipe"`: MediaPipe's ImageClassifier. One image a call in three channels, scores alone,
      float16, and the metadata that MediaPipe reads; the package `mediapipe` brings its schema.
    - `"tflite-runtime"`: version 2.14, the last on PyPI, for boards; a file whose operations are
      newer, such as dynamic_int8 of large dense layers, is refused.
    - `"microcontroller"`: TFLite Micro. One image a call, scores alone; int8 or float32.
    - `"browser"`: LiteRT.js. One image a call, float16.
    - `"android"`, `"ios"`: one image a call, float16, with metadata.

    Args:
        model: a trained model.
        path: file name ending in `.tflite`.
        target: one of the above.
        form: one of the above; `None` for the target's own, float32 for LiteRT.
        batch: images of a call; `None` for the target's own, any number for LiteRT. LiteRT.js in a
            browser and TFLite Micro on a board run only files with a fixed batch, LiteRT's
            `CompiledModel` more than one image likewise: 1 suits all three.
        rgb_input: takes the images of a target of one channel in three, and makes them grey inside,
            weighed as image files are. `None` does so where the target takes nothing else.
        calibration_images: target images without labels; int8 takes ranges from at most 1,000
            of them. At least 32, and for int8 at least 64 if no others are held out: a quarter is
            then, and the agreement is measured on that.
        held_out_images: at least 32 target images to measure the agreement on, on at most 1,000 of
            them; images that the model was not fitted on tell it most honestly. For float16 and
            dynamic_int8 one of the two is needed, for float32 neither.
        held_out_labels: their labels; the accuracy of model and file is then stored beside the
            agreement.
        description: a sentence for the metadata; `None` names the classes.
        licence: terms of use for the metadata.
        least_agreement: share of images that must get the same class as from the model. `None`
            means .995 for float16 and .97 for the int8 forms. In float32 no score may differ by
            more than 1e-5; by up to 1e-4 if the model's own batches differ by a 30th of that.
        force: write a file that does not agree, with a warning.
        source: an equivalent source that can be embedded; see `export_saved_model`.
        twin_tolerance: largest difference of a score between the two sources.
        overwrite: replace an existing file.
        verbose: 1 shows a bar while images are calibrated on and compared, and prints size and
            agreement.
        progress: is called with the images that are done and their total, in place of the bar.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, target, form or batch, what the target cannot take, images
            that do not fit, listing every blocker, or if the file does not agree with the model.
        FileExistsError: if the file exists and `overwrite` is false.
        ImportError: for metadata without the package that brings its schema.

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
    plan = plan_litert(model, target, form, batch, rgb_input)
    if plan.target.metadata:
        schema_of_metadata()
    _check_share(least_agreement)
    refuse_blockers(export_blockers(model, source))
    images = conversion_images(
        model, plan.form, calibration_images, held_out_images, held_out_labels
    )
    if source is not None:
        check_equivalent(model, source, twin_tolerance)
    embedded = model.source.with_asked(source) if source else model.source
    # Without images of the caller it takes a moment.
    shown = verbose if plan.form.needs_images else 0
    with ImageBar(images.steps(plan.form), shown, progress) as report:
        content = convert(model, source, plan, images.calibrating, report)
        needed = min_runtime_version(content)
        refuse_newer(plan, needed)
        agreement = compare(
            model,
            embedded,
            content,
            images.judging,
            labels=images.labels,
            eight_bit=plan.form.eight_bit,
            taken=plan.taken,
            report=report,
        )
    refuse_disagreement(agreement, plan.form, least_agreement, force)
    facts = litert_facts(
        model,
        embedded,
        plan.form.name,
        agreement,
        batch=plan.batch,
        target=plan.name,
        rgb_input=plan.rgb_input,
        min_runtime_version=needed,
    )
    if plan.target.scores_only:
        facts = replace(facts, calibration=None)
    if plan.target.metadata:
        said = described(model, path.stem, description, licence)
        content = with_metadata(content, facts, said)
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
