"""Server files of an export: facts, warm-up requests, configurations."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.export.graph_decoder import RESIZE_METHOD
from keras_reprogram.export.raw_inputs import FILES, raw_input_named, vocabulary_of
from keras_reprogram.export.verdicts import OF_FILES, OF_SCORES
from keras_reprogram.files import write_whole_file
from keras_reprogram.fitting.calibration import Calibration
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source
from keras_reprogram.version import __version__

_MODELS = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""

_BATCHING = """\
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 1000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 4 }}
"""


def served_name(base_dir: Path) -> str:
    """The folder's name, without what URLs do not take."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", base_dir.resolve().name) or "model"


def docker_command(base_dir: Path) -> str:
    """The line that serves a folder of versions over gRPC (8500) and REST (8501)."""
    name = served_name(base_dir)
    mount = f"type=bind,source={base_dir.resolve()},target=/models/{name},readonly"
    return (
        f"docker run --rm -p 8500:8500 -p 8501:8501 --mount {shlex.quote(mount)} "
        f"tensorflow/serving --model_config_file=/models/{name}/models.config "
        f"--enable_batching --batching_parameters_file=/models/{name}/batching.config"
    )


def write_server_files(base_dir: Path, batch_sizes: Sequence[int]) -> None:
    """Writes models.config, batching.config and serve.sh, unless they are there already."""
    sizes = sorted(set(batch_sizes))
    allowed = "".join(f"allowed_batch_sizes: {size}\n" for size in sizes)
    contents = {
        "models.config": _MODELS.format(name=served_name(base_dir)),
        "batching.config": _BATCHING.format(largest=sizes[-1]) + allowed,
        "serve.sh": f"#!/bin/sh\nexec {docker_command(base_dir)}\n",
    }
    for name, content in contents.items():
        # They are samples, which users edit: never overwrite them.
        if not (base_dir / name).exists():
            write_whole_file(base_dir / name, content.encode())


FACTS_FILE = "assets.extra/keras_reprogram.json"


def scored_classes(model: ReprogrammedModel) -> tuple[str, ...]:
    """A name for each score: the model's class names, else `"0"`, `"1"`, ..."""
    numbers = range(model.output_map.num_classes)
    names = tuple(str(name) for name in model.class_names or numbers)
    if wrong := [name for name in names if not name or len(name.splitlines()) != 1]:
        raise ValueError(
            "Each class name must be one line, because labels.txt holds one name per line. "
            f"Received: {wrong[0]!r}. Rename the class in `class_names`."
        )
    return names


def plain_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metrics as JSON holds them."""
    if metrics is None:
        return None
    try:
        return json.loads(json.dumps(dict(metrics), default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`metrics` must be a dictionary of finite numbers, strings and lists of them. "
            f"Received: {error}. Leave out the other values."
        ) from error


def write_facts(
    folder: Path,
    model: ReprogrammedModel,
    source: Source,
    class_names: Sequence[str],
    signatures: Sequence[str],
    metrics: Mapping[str, Any] | None,
    half: str | None = None,
) -> None:
    """Writes keras_reprogram.json."""
    facts = export_facts(model, source, class_names, signatures, metrics, half)
    file = folder / FACTS_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def export_facts(
    model: ReprogrammedModel,
    source: Source,
    class_names: Sequence[str],
    signatures: Sequence[str],
    metrics: Mapping[str, Any] | None,
    half: str | None = None,
) -> dict[str, Any]:
    """What an export says of itself."""
    facts = {
        "format": 1,
        "half": half,
        "versions": {
            "keras_reprogram": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        # Of a joint source the one that is asked, which a gateway needs; the others are inside.
        "source": _facts_of(model.source.asked_part()),
        "embedded_twin": _facts_of(source.asked_part()) if source is not model.source else None,
        "beside": model.source.describe().get("beside"),
        "target_shape": list(model.input_shape[1:]),
        "target_range": model.data_checks.target_range,
        "image_reading": model.image_reading.as_facts(),
        "num_views": model.queries_per_prediction,
        "program": type(model.program).__name__,
        "output_map": type(model.output_map).__name__,
        "class_names": list(class_names),
        "signatures": list(signatures),
        "vocabulary": None if (words := vocabulary_of(model)) is None else words.get_config(),
        "resize_of_files": RESIZE_METHOD if "image_bytes" in signatures else None,
        "metrics": metrics,
    }
    if model.calibration is not None:
        facts["calibration"] = calibration_facts(model.calibration)
    if (thresholds := threshold_facts(model)) is not None:
        facts["thresholds"] = list(thresholds)
    return facts


def threshold_facts(model: ReprogrammedModel) -> tuple[float, ...] | None:
    """The probability from which each of several findings counts as found."""
    if not model.output_map.multi_label:
        return None
    return tuple(map(float, keras.ops.convert_to_numpy(model.output_map.thresholds)))


def calibration_facts(calibration: Calibration) -> dict[str, Any]:
    """What the sets of an export promise, and from how many images it is known."""
    names = ("coverage", "class_wise", "abstain", "temperature", "num_images", "num_groups")
    return {name: getattr(calibration, name) for name in names}


def _facts_of(source: Source) -> dict[str, Any]:
    labels = list(source.class_names) if source.class_names is not None else None
    return {"fingerprint": source.fingerprint, **source.describe(), "labels": labels}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r}")


WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    folder: Path,
    name: str,
    target_shape: Any,
    signatures: Sequence[str],
    batch_sizes: Sequence[int],
    answer_shape: tuple[int, int] = (1, 1),
    texts: Sequence[bytes] | None = None,
) -> None:
    """Writes a request for each signature and batch size; one of one image for `steps`."""
    raw = raw_input_named(signatures)
    raw_contents = _example_files(target_shape) if raw is FILES else list(texts or ())
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for signature, size in _requests(signatures, batch_sizes):
            asked = _field(1, _field(1, name.encode()) + _field(3, signature.encode()))
            contents = list(itertools.islice(itertools.cycle(raw_contents), size))
            if raw is not None and signature == "classify":
                writer.write(_classify_log(asked, contents, raw.feature))
            elif raw is not None and signature in (raw.signature, *OF_FILES):
                tensor = tf.make_tensor_proto(contents, tf.string)
                writer.write(_predict_log(asked, raw.signature, tensor))
            elif signature in OF_SCORES:
                writer.write(_predict_log(asked, "source_scores", _zeros((size, *answer_shape))))
            else:
                writer.write(_predict_log(asked, "image", _zeros((size, *target_shape))))


def _requests(signatures: Sequence[str], batch_sizes: Sequence[int]) -> list[tuple[str, int]]:
    # `steps` calls what the others call, and people look at one image at a time.
    one = dict.fromkeys(("steps", *OF_SCORES), (1,))
    sizes = {signature: one.get(signature, batch_sizes) for signature in signatures}
    return [(signature, size) for signature in signatures for size in sizes[signature]]


def _predict_log(asked: bytes, key: str, tensor: Any) -> bytes:
    entry = _field(1, key.encode()) + _field(2, tensor.SerializeToString())
    request = asked + _field(2, entry)
    return _field(6, _field(1, request))


def _classify_log(asked: bytes, contents: Sequence[bytes], feature: str) -> bytes:
    example_list = b"".join(_field(1, example_of(content, feature)) for content in contents)
    request = asked + _field(2, _field(1, example_list))
    return _field(2, _field(1, request))


def example_of(content: bytes, feature: str = FILES.feature) -> bytes:
    """A serialized `tf.Example` that holds an image file or a text, as `classify` takes it."""
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    features = tf.train.Features(feature={feature: value})
    return tf.train.Example(features=features).SerializeToString()


def _example_files(target_shape: tuple[int, int, int]) -> list[bytes]:
    """The same picture as PNG and as JPEG."""
    codes = np.random.default_rng(0).integers(0, 256, target_shape, np.uint8)
    return [tf.io.encode_png(codes).numpy(), tf.io.encode_jpeg(codes).numpy()]


def _zeros(shape: tuple[int, ...]) -> Any:
    """A tensor of one value, which is stored once however large the tensor is."""
    proto = tf.make_tensor_proto(0.0, tf.float32)
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return proto


def _field(number: int, payload: bytes) -> bytes:
    """A field of a protocol buffer whose payload has a length."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
