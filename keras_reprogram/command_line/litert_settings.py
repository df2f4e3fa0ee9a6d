"""Settings of a LiteRT file, such as `--for` and `--litert-form`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.option_groups import with_options

if TYPE_CHECKING:
    from keras_reprogram.command_line.run_folder import Run
    from keras_reprogram.export.litert_targets import LiteRTPlan
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.source import Source


class LiteRTNumbers(StrEnum):
    """Number formats of a LiteRT file."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic_int8"
    INT8 = "int8"


class LiteRTRuntime(StrEnum):
    """Runtimes that a LiteRT file can be for."""

    LITERT = "litert"
    MEDIAPIPE = "mediapipe"
    TFLITE_RUNTIME = "tflite-runtime"
    MICROCONTROLLER = "microcontroller"
    BROWSER = "browser"
    ANDROID = "android"
    IOS = "ios"


For = Annotated[
    LiteRTRuntime,
    typer.Option(
        "--for",
        metavar="RUNTIME",
        help="What runs the LiteRT file: litert, mediapipe, tflite-runtime, microcontroller, "
        "browser, android or ios. Sets form, batch and metadata; refuses what the runtime cannot "
        "take.",
    ),
]
Form = Annotated[
    LiteRTNumbers | None,
    typer.Option(
        "--litert-form",
        metavar="FORM",
        help="float32, or smaller: float16, dynamic_int8, int8. The smaller ones are compared "
        "with the model on test images; int8 calibrates on training images. [default: float32, or "
        "what suits --for]",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=1,
        metavar="N",
        help="Images of a call of the LiteRT file. [default: any number, or what suits --for]",
    ),
]
RgbInput = Annotated[
    bool,
    typer.Option(
        "--rgb-input",
        help="The LiteRT file of a grey target takes images of three channels. [default with --for "
        "mediapipe]",
    ),
]
Licence = Annotated[
    str,
    typer.Option("--licence", metavar="TEXT", help="Terms of use in the LiteRT file's metadata."),
]
Cdn = Annotated[
    bool,
    typer.Option(
        "--cdn",
        help="With --for browser: the page loads LiteRT.js from cdn.jsdelivr.net, not from its own "
        "folder, into which npm brings it.",
    ),
]


@dataclass(frozen=True)
class LiteRTSettings:
    """What was said of a LiteRT file.

    Args:
        runtime: what it is for.
        form: its form, `None` for the runtime's own.
        batch: images of a call, `None` for the runtime's own.
        rgb_input: takes grey images in three channels.
        licence: terms of use.
        cdn: whether a page loads LiteRT.js from a content delivery network.
    """

    runtime: str = "litert"
    form: str | None = None
    batch: int | None = None
    rgb_input: bool = False
    licence: str = ""
    cdn: bool = False

    @property
    def page(self) -> bool:
        """Whether a page around the file is written, not the file alone."""
        return self.runtime == LiteRTRuntime.BROWSER

    def refuse(self, kind: str) -> None:
        """Refuses what was said where no such file is written, or only ones of a fixed form."""
        said = {
            "--for": None if self.runtime == LiteRTRuntime.LITERT else self.runtime,
            "--litert-form": self.form,
            "--batch": self.batch,
            "--rgb-input": self.rgb_input or None,
            "--licence": self.licence or None,
            "--cdn": self.cdn or None,
        }
        for option, value in said.items():
            if value is not None:
                raise ValueError(
                    f"{option} is about the LiteRT file of --format litert or both. Received: "
                    f"{option} {value} with --format {kind}. Leave it out."
                )

    def check(self, model: ReprogrammedModel) -> None:
        """Refuses what the runtime cannot take of this model, before anything is written."""
        if self._plan(model).target.metadata:
            from keras_reprogram.export.litert_metadata import schema_of_metadata

            # With --format both, a SavedModel would be there before the file is refused.
            schema_of_metadata()
        if self.page:
            from keras_reprogram.export.browser_export import check_page

            check_page(model, self._call)
        elif self.cdn:
            raise ValueError(
                "--cdn is about the page of --for browser. Received: --cdn with --for "
                f"{self.runtime}. Leave it out."
            )

    def note_next_steps(self, folder: Path, progress: Progress) -> None:
        """Says how a page that was written is opened."""
        from keras_reprogram.export.browser_export import next_steps

        progress.note(next_steps(folder, self.cdn))

    @property
    def _call(self) -> dict[str, Any]:
        """The images of a call; a page has one."""
        return {"batch": self.batch, "rgb_input": self.rgb_input or None}

    def _plan(self, model: ReprogrammedModel) -> LiteRTPlan:
        from keras_reprogram.export.litert_targets import plan_litert

        rgb_input = self.rgb_input or None
        return plan_litert(model, self.runtime, self.form, self.batch, rgb_input)

    def write(
        self,
        opened: Run,
        model: ReprogrammedModel,
        path: Path,
        equivalent: Source | None,
        progress: Progress,
        *,
        force: bool,
        overwrite: bool,
    ) -> Path:
        """Writes a run's model: calibrates on training images, compares on test images."""
        from keras_reprogram.export import export_browser_page, export_litert
        from keras_reprogram.export.litert_images import LEAST_IMAGES

        images: dict[str, Any] = {}
        if self._plan(model).form.needs_images:
            data = opened.load_target()
            images["calibration_images"] = data.train_images
            if len(data.test_images) >= LEAST_IMAGES:
                images["held_out_images"] = data.test_images
                images["held_out_labels"] = data.test_labels
        with progress.bar("images", None) as report:
            common: dict[str, Any] = {
                "form": self.form,
                "licence": self.licence,
                "source": equivalent,
                "verbose": 0 if progress.quiet else 1,
                "progress": report,
                "force": force,
                "overwrite": overwrite,
                **images,
            }
            if self.page:
                title = opened.folder.resolve().name
                return export_browser_page(model, path, title=title, cdn=self.cdn, **common)
            return export_litert(model, path, target=self.runtime, **self._call, **common)


def read_litert_settings(
    *,
    runtime: For = LiteRTRuntime.LITERT,
    form: Form = None,
    batch: Batch = None,
    rgb_input: RgbInput = False,
    licence: Licence = "",
    cdn: Cdn = False,
) -> LiteRTSettings:
    """The options as settings."""
    return LiteRTSettings(
        str(runtime), None if form is None else str(form), batch, rgb_input, licence, cdn
    )


def with_litert_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `read_litert_settings`, in place of `litert`."""
    return with_options(command, "litert", read_litert_settings)
