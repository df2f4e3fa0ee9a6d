"""Facts of a LiteRT file: stored at its end, where interpreters do not look and unzip does."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from keras_reprogram.export.litert_agreement import Agreement
from keras_reprogram.export.server_files import calibration_facts, scored_classes, threshold_facts
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

# Not labels.txt: that is what the metadata writers of MediaPipe and of TFLite Support add.
LABELS_FILE = "class_names.txt"
FACTS_FILE = "keras_reprogram.json"
# A fixed date: the same model gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class LiteRTFacts:
    """Facts about a file that `export_litert` wrote.

    Args:
        form: `"float32"`, `"float16"`, `"dynamic_int8"` or `"int8"`.
        class_names: a name for each score.
        target_shape: `(h, w, c)` of an image, or another number of axes.
        target_range: `(low, high)` of its pixels, `None` if the program does not say.
        num_views: views of an image, all inside the file.
        source: fingerprint of the source model.
        agreement: how well the file agreed with the model.
        calibration: what the sets promise of the float model, and from how many images it is
            known; `None` for a model that was not calibrated.
        thresholds: of several findings the probability from which each counts as found; else
            `None`.
        batch: images of a call, `None` for any number.
        target: the runtime that it was written for.
        rgb_input: whether grey images are taken in three channels.
        min_runtime_version: the oldest TensorFlow Lite runtime that has its operations, such as
            `"2.3.0"`; `None` if the converter did not say.
    """

    form: str
    class_names: tuple[str, ...]
    target_shape: tuple[int, ...]
    target_range: tuple[float, float] | None
    num_views: int
    source: str
    agreement: Agreement
    calibration: dict[str, Any] | None = None
    thresholds: tuple[float, ...] | None = None
    batch: int | None = None
    target: str = "litert"
    rgb_input: bool = False
    min_runtime_version: str | None = None

    def __str__(self) -> str:
        parts = [self.form, f"{self.num_views} view(s)"]
        if self.target != "litert":
            parts.append(f"for {self.target}")
        if self.batch is not None:
            parts.append(f"{self.batch} image(s) a call")
        if self.min_runtime_version is not None:
            parts.append(f"TFLite runtime {self.min_runtime_version} or newer")
        return f"{', '.join(parts)}: {self.agreement}."


def litert_facts(
    model: ReprogrammedModel, source: Source, form: str, agreement: Agreement, **written: Any
) -> LiteRTFacts:
    """The facts that a LiteRT file says of itself; `written` are those of how it was written."""
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
        **written,
    )


def min_runtime_version(content: bytes) -> str | None:
    """The oldest runtime that a file needs, as the converter noted it."""
    file = schema.Model.GetRootAs(content, 0)
    for entry in (file.Metadata(number) for number in range(file.MetadataLength())):
        if entry.Name() == b"min_runtime_version":
            said = file.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            return said.rstrip(b"\0").decode() or None
    return None


def with_facts(content: bytes, facts: LiteRTFacts) -> bytes:
    """Appends class names and facts as files, as TFLite's own metadata tools do."""
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
    from keras_reprogram.export import read_litert_facts

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
