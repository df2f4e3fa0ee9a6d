"""Checks of an export: its blockers, and whether a fresh process reproduces the model's output."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.arguments import is_image
from keras_reprogram.asking.prediction_sets import checked_calibration
from keras_reprogram.export import fresh_process
from keras_reprogram.export.raw_inputs import raw_input_named, sample_raw_inputs
from keras_reprogram.export.server_files import example_of
from keras_reprogram.export.verdicts import OF_FILES, verdict_of
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

_BLOCKED = ("keras", "keras_reprogram")
# Blocked, so that a custom object left in the file shows.
_BLOCK = "import sys\nsys.modules.update(dict.fromkeys({names}))\n"


def check_reloaded(
    version: Path, inputs: Mapping[str, Any], expected: ModelAnswers
) -> tuple[float, int]:
    """Runs all signatures and warm-up requests of an export in a fresh process, on the CPU."""
    answers, replayed = _answers(version, inputs)
    return max(expected.compare("SavedModel", *answer) for answer in answers), replayed


def images_for(
    model: ReprogrammedModel, signatures: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """The same images as every signature takes them, and as pixels; texts, and as numbers."""
    raw = raw_input_named(signatures)
    if raw is None:
        images = sample_images(model)
        return dict.fromkeys(signatures, images), images
    contents, images = sample_raw_inputs(model, _NUM_PROBES)
    encoded = {raw.signature: contents}
    encoded["classify"] = [example_of(content, raw.feature) for content in contents]
    encoded |= dict.fromkeys(OF_FILES, contents)
    return {name: encoded.get(name, images) for name in signatures}, images


def _answers(version: Path, inputs: Mapping[str, Any]) -> tuple[list[tuple[str, np.ndarray]], int]:
    """Names and values of all signatures' outputs of numbers."""
    with tempfile.TemporaryDirectory() as exchange:
        for name, value in inputs.items():
            Path(exchange, f"{name}.input").write_bytes(tf.io.serialize_tensor(value).numpy())
        run_afresh("SavedModel", fresh_process, str(version.resolve()), exchange)
        files = sorted(Path(exchange).glob("*.npy"))
        answers = [(file.suffixes[0].removeprefix("."), np.load(file)) for file in files]
        return answers, int(Path(exchange, "replayed").read_text())


def run_afresh(
    what: str, script: ModuleType, *arguments: str, without: Sequence[str] = _BLOCKED
) -> None:
    """Runs a file as another Python would that cannot import the packages in `without`."""
    # The parent may hold all of the GPU's memory, and rounds differently there.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = _BLOCK.format(names=list(without)) + inspect.getsource(script)
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if run.returncode:
        last = "\n".join(run.stderr.strip().splitlines()[-5:])
        raise ValueError(
            f"The {what} cannot be run by a fresh process without this package, and so not "
            f"by a server. Nothing was kept. Received: exit code "
            f"{run.returncode}\n{last}\nCheck the source for operations or files that exist in "
            f"this process only."
        )


_PARITY = 1e-5
# Deep networks round more; anything above is a broken export all the same.
_LARGEST_PARITY = 1e-3


# Expected numbers of this ending say how far the flags before it are from turning.
_MARGIN = ".margin"


def verdict_answers(model: ReprogrammedModel, source_scores: Any, scores: Any) -> dict[str, Any]:
    """A model's verdict on answers, as `ModelAnswers` compares it; without one nothing."""
    if (verdict := verdict_of(model)) is None:
        return {}
    found = _arrays(verdict.judge(source_scores, scores))
    margins = verdict.margins(keras.ops.convert_to_numpy(scores), found)
    return found | {f"{name}{_MARGIN}": margin for name, margin in margins.items()}


class ModelAnswers:
    """The model's own outputs for some rows, and the rounding noise in them.

    Outputs may differ by 1e-5, or by four times what the model's own differ by between a batch
    and its rows one by one. Outputs that reach beyond 1 are compared as shares of the largest.
    """

    def __init__(self, answer: Callable[[np.ndarray], Mapping[str, Any]], rows: np.ndarray) -> None:
        with tf.device("CPU"):
            self.expected = _arrays(answer(rows))
            alone = [_arrays(answer(row[None])) for row in rows]
        self._singly = {
            name: np.concatenate([one[name] for one in alone]) for name in self.expected
        }

    def compare(self, what: str, name: str, values: np.ndarray) -> float:
        """The largest difference of an output; a ValueError if it is more than rounding."""
        if values.dtype == bool:
            return self._compare_flags(what, name, values)
        difference = self._difference(name, values)
        noise = self._difference(name, self._singly[name])
        allowed = min(max(_PARITY, 4.0 * noise), _LARGEST_PARITY)
        if not difference <= allowed:
            raise ValueError(
                f"The {what} does not agree with the model: {name} differ by {difference:.3g}, at "
                f"most {allowed:.3g} is allowed. Nothing was kept. Check custom layers for "
                "operations that behave differently in a graph."
            )
        return difference

    def _compare_flags(self, what: str, name: str, values: np.ndarray) -> float:
        clear = self.expected[f"{name}{_MARGIN}"] > _LARGEST_PARITY
        if wrong := int(np.count_nonzero(clear & (values != self.expected[name]))):
            raise ValueError(
                f"The {what} does not agree with the model: {wrong} values of {name} differ. "
                "Nothing was kept. Check custom layers for operations that behave differently in a "
                "graph."
            )
        return 0.0

    def _difference(self, name: str, values: np.ndarray) -> float:
        expected = self.expected[name]
        return float(np.abs(values - expected).max() / max(1.0, np.abs(expected).max()))


def _arrays(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


_NUM_PROBES = 8


def sample_images(model: ReprogrammedModel, count: int = _NUM_PROBES) -> np.ndarray:
    """Seeded random target images `(count, h, w, c)`, to compare two forms of a model on."""
    # Where the program does not know its range, every second image spans 0 to 255, the rest 0 to 1.
    known = model.data_checks.target_range
    low, high = known or (0.0, 1.0)
    shape = (count, *model.input_shape[1:])
    if known is None and not is_image(shape[1:]):
        # Series are often brought to mean 0 and deviation 1.
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)
    images = np.random.default_rng(0).uniform(low, high, shape)
    if known is None:
        images[1::2] *= 255.0
    return images.astype(np.float32)


def check_equivalent(model: ReprogrammedModel, other: Source, tolerance: float) -> None:
    """Compares the scores of both sources for the same images (`8 * V` queries)."""
    images = model.program(sample_images(model))
    answers = [keras.ops.convert_to_numpy(source(images)) for source in (model.source, other)]
    difference = float(np.abs(answers[0] - answers[1]).max())
    if difference > tolerance:
        raise ValueError(
            "`source=` is not equivalent to the model's source: scores differ by "
            f"{difference:.3g}, at most {tolerance:g} is allowed. Received: "
            f"{type(other).__name__}. Pass the same network, or in Python a larger "
            "`twin_tolerance` if rounding explains the difference."
        )


def export_blockers(model: ReprogrammedModel, source: Source | None = None) -> list[str]:
    """Reasons why a model cannot be exported, empty if it can.

    Args:
        model: the model to export.
        source: an exportable source to export in place of `model.source`, or `None`.

    Returns:
        One sentence for each blocker.

    Example:
    ```python
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path, export_blockers
    )

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=10))
    assert len(export_blockers(model)) == 2
    ```
    """
    embedded = model.source.with_asked(source) if source else model.source
    blockers = []
    if not embedded.exportable:
        blockers.append(
            f"The source is a {type(embedded.asked_part()).__name__}, which runs as Python code "
            "and cannot become part of a graph. If you have the same network as a Keras model or a "
            "SavedModel, pass it as `source=` (--source); otherwise `export_halves` (--format "
            "halves) writes the parts before and after the source, for a server that asks the "
            "source in between. Around an ONNX file, `export_onnx` (--format onnx) writes all as "
            "one."
        )
    if embedded.answers_at_random:
        blockers.append(
            "The source answers at random, so that an export cannot be compared with the model, "
            "answer by answer, before it is kept. Serve the source by itself, with its own draws, "
            "and write the parts before and after it with `export_halves` (--format halves)."
        )
    return blockers + half_blockers(model) + different_facts(model, embedded)


def different_facts(model: ReprogrammedModel, embedded: Source) -> list[str]:
    """A sentence for each fact in which an equivalent source differs."""
    given, expected = _facts_to_match(embedded), _facts_to_match(model.source)
    return [
        f"`source=` differs from the model's source in `{fact}`: {value} instead of "
        f"{expected[fact]}."
        for fact, value in given.items()
        if value != expected[fact]
    ]


def _facts_to_match(source: Source) -> dict[str, Any]:
    facts = {name: getattr(source, name) for name in ("source_shape", "value_range", "num_labels")}
    # The map reads scores as it was fitted, even if another normalisation is declared.
    return facts | {"scores": source.fingerprinted_scores}


def half_blockers(model: ReprogrammedModel) -> list[str]:
    """Blockers of a split export, empty if there are none."""
    if not model.output_map.ready:
        return ["The output map was never fitted: call `model.fit_output_map(x, y)`."]
    if model.calibration is not None:
        try:
            checked_calibration(model)
        except ValueError as error:
            return [str(error)]
    return []


def refuse_blockers(blockers: list[str]) -> None:
    """Raises a ValueError that lists every blocker, if there is one."""
    if blockers:
        listed = "\n".join(f"- {blocker}" for blocker in blockers)
        raise ValueError(f"This model cannot be exported; nothing was written.\n{listed}")
