"""Targets: the runtimes that a LiteRT file is written for, and what each of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from keras_reprogram.arguments import is_image, positive_integer
from keras_reprogram.export.litert_agreement import FORMS, LiteRTForm, form_named
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel


@dataclass(frozen=True)
class LiteRTTarget:
    """A runtime, and what it takes.

    Args:
        runs_on: the runtime's name.
        form: what is written unless the caller chooses.
        refused: form -> why the runtime cannot take it.
        fixed_batch: whether files must fix the images of a call; to 1 unless the caller chooses.
        one_image: whether a call is of one image always.
        colours: whether images must have three channels.
        metadata: whether the file describes itself in TensorFlow Lite's metadata.
        scores_only: whether sets and findings are left out, because it runs one signature only.
        newest: of a runtime that is no longer made, its last version.
    """

    runs_on: str
    form: str = "float32"
    refused: Mapping[str, str] = field(default_factory=dict)
    fixed_batch: bool = False
    one_image: bool = False
    colours: bool = False
    metadata: bool = False
    scores_only: bool = False
    newest: str | None = None


TARGETS = {
    "litert": LiteRTTarget("LiteRT (ai-edge-litert)"),
    "mediapipe": LiteRTTarget(
        "MediaPipe's ImageClassifier",
        form="float16",
        fixed_batch=True,
        one_image=True,
        colours=True,
        metadata=True,
        scores_only=True,
    ),
    # Its dynamic_int8 fails where dense layers are large enough to be quantised: the file says so.
    "tflite-runtime": LiteRTTarget("tflite-runtime", newest="2.14.0"),
    "microcontroller": LiteRTTarget(
        "TFLite Micro",
        form="int8",
        refused={
            "float16": "it has no kernel that reads float16 weights",
            "dynamic_int8": "it has no kernels of int8 weights and float activations",
        },
        fixed_batch=True,
        scores_only=True,
    ),
    # LiteRT.js opens no file that has an output of yes and no, as sets and findings are.
    "browser": LiteRTTarget("LiteRT.js", form="float16", fixed_batch=True, scores_only=True),
    "android": LiteRTTarget("LiteRT on Android", form="float16", fixed_batch=True, metadata=True),
    "ios": LiteRTTarget("LiteRT on iOS", form="float16", fixed_batch=True, metadata=True),
}


class LiteRTPlan(NamedTuple):
    """How a file is written.

    Args:
        name: of the target.
        target: what it takes.
        form: the file's form.
        batch: images of a call, `None` for any number.
        rgb_input: whether images of a grey target are taken in three channels.
    """

    name: str
    target: LiteRTTarget
    form: LiteRTForm
    batch: int | None
    rgb_input: bool

    def taken(self, images: np.ndarray) -> np.ndarray:
        """Target images as the file takes them."""
        return np.repeat(images, 3, axis=-1) if self.rgb_input else images


def plan_litert(
    model: ReprogrammedModel,
    target: str,
    form: str | None,
    batch: int | None,
    rgb_input: bool | None,
) -> LiteRTPlan:
    """What the caller and the target say together; a ValueError if they contradict each other."""
    if target not in TARGETS:
        raise ValueError(
            f"`target` (--for) must be one of {', '.join(TARGETS)}. Received: {target!r}."
        )
    takes = TARGETS[target]
    chosen = form_named(takes.form if form is None else form)
    if chosen.name in takes.refused:
        others = " or ".join(name for name in FORMS if name not in takes.refused)
        raise ValueError(
            f"{takes.runs_on} cannot run the form {chosen.name}: {takes.refused[chosen.name]}. "
            f'Received: `target="{target}"` (--for {target}) with `form="{chosen.name}"`. Choose '
            f"{others}; nothing was written."
        )
    return LiteRTPlan(
        target, takes, chosen, _batch(target, takes, batch), _rgb(target, takes, model, rgb_input)
    )


def _batch(target: str, takes: LiteRTTarget, batch: int | None) -> int | None:
    if batch is None:
        return 1 if takes.fixed_batch else None
    batch = positive_integer("batch", batch)
    if takes.one_image and batch != 1:
        raise ValueError(
            f"{takes.runs_on} takes one image a call. Received: `batch={batch}` (--batch {batch}) "
            f'with `target="{target}"`. Leave it out; nothing was written.'
        )
    return batch


def _rgb(
    target: str, takes: LiteRTTarget, model: ReprogrammedModel, rgb_input: bool | None
) -> bool:
    channels = _channels(target, takes, model, rgb_input)
    if takes.metadata and model.data_checks.target_range is None:
        raise ValueError(
            f"{takes.runs_on} must be told what the pixels of an image become, but the program "
            f'does not know the range of its images. Received: `target="{target}"` (--for '
            f"{target}) with `target_range=None`. Make the program with "
            "`ProgramLayer(target_range=(0, 255))`; nothing was written."
        )
    if rgb_input and channels != 1:
        raise ValueError(
            "`rgb_input=True` (--rgb-input) is for targets of one channel. Received: images of "
            f"{channels} channels. Leave it out; nothing was written."
        )
    if not takes.colours or channels == 3:
        return bool(rgb_input)
    if channels != 1 or rgb_input is False:
        raise ValueError(
            f"{takes.runs_on} takes images of three channels. Received: {channels} channels"
            f"{' and `rgb_input=False`' if rgb_input is False else ''}. "
            + (
                "Leave `rgb_input` out: colours are then made grey inside; nothing was written."
                if channels == 1
                else "It cannot run this model; nothing was written."
            )
        )
    return True


def _channels(
    target: str, takes: LiteRTTarget, model: ReprogrammedModel, rgb_input: bool | None
) -> int | None:
    """The channels of target images; of other targets `None`, which some runtimes cannot take."""
    target_shape = model.input_shape[1:]
    if is_image(target_shape):
        return target_shape[-1]
    if takes.colours or takes.metadata or rgb_input:
        raise ValueError(
            f"{takes.runs_on} takes images here. Received: targets of shape {target_shape} with "
            f'`target="{target}"` (--for {target}) and `rgb_input={rgb_input}`. Choose '
            '`target="litert"` (--for litert) without `rgb_input`; nothing was written.'
        )
    return None


def refuse_newer(plan: LiteRTPlan, needed: str | None) -> None:
    """Refuses a file that needs a newer runtime than there is of its target."""
    newest = plan.target.newest
    if newest is None or needed is None or _numbers(needed) <= _numbers(newest):
        return
    raise ValueError(
        f"{plan.target.runs_on} ends at version {newest}. Received: a {plan.form.name} file whose "
        f"operations need version {needed}. Nothing was written. Choose another form, or "
        f'`target="litert"` (--for litert), whose runtime is ai-edge-litert.'
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
