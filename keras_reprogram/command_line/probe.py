"""`keras-reprogram probe`: what a model file says of itself, and which pixels it seems to take."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keras_reprogram.command_line.console import facts_table, print_table, with_exit_codes
from keras_reprogram.command_line.evaluate import image_files
from keras_reprogram.command_line.options import JsonFile, SourceName
from keras_reprogram.command_line.run_folder import check_json_path, write_json
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import check_source, resolve_source

if TYPE_CHECKING:
    import numpy as np

    from keras_reprogram.source import Source
    from keras_reprogram.source.answer_figures import AnswerFigures
    from keras_reprogram.source.pixel_forms import PixelForm

_MOST_IMAGES = 32
# Sides of what is cut out of a photo, as shares of its shorter side.
_SMALLEST_CUT = 0.25
_AT_ONCE = 16
_UNIT, _PIXELS = (0.0, 1.0), (0.0, 255.0)
_OF_PIXELS = ("--value-range", "--pixel-scale", "--pixel-offset", "--channel-order")
# Answers that tell less than this of the image hardly move, in bits.
_LEAST_INFORMATION = 0.1
# Below this share of the best merit a form is less likely.
_AS_LIKELY = 0.9
# Wrong pixels, or images of another kind, mostly have answers of a steadiness up to 0.88; right
# pixels and images have 0.91 and more.
_LEAST_STEADINESS = 0.9
# Gaps to a network's statistics that are as good as the least one, in nats: other images than those
# that it was trained on have gaps of up to 1.7.
_MOST_TIMES, _SLACK = 1.5, 0.3


@dataclass(frozen=True)
class _Tried:
    """A form and the figures of its answers; `None` where the source refused to answer.

    `gap` is that of a Keras network's own statistics, if it has any. `moves` is whether answers
    move as they do when a source is opened.
    """

    form: PixelForm
    figures: AnswerFigures | None
    gap: float | None = None
    moves: bool = False

    @property
    def merit(self) -> float:
        """0 for a form that is none: it is refused, nothing moves, or all is thrown about."""
        figures = self.figures
        if figures is None or figures.information < _LEAST_INFORMATION:
            return 0.0
        return figures.merit if figures.steadiness >= _LEAST_STEADINESS else 0.0


@dataclass(frozen=True)
class _Verdict:
    """What is said, and the likely forms: the first one is suggested."""

    text: str
    likely: tuple[PixelForm, ...] = ()


@with_exit_codes
@with_source_settings
def probe(
    *,
    source: SourceName,
    settings: SourceSettings,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help=f"Images like those that the model was trained on; at most {_MOST_IMAGES} are "
            "drawn. [default: parts of two photos that come with scikit-learn]",
        ),
    ] = None,
    query_budget: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Most queries, for a source that may cost something (FILE.py:NAME). Files on "
            "this machine cost nothing.",
        ),
    ] = 0,
    json_file: JsonFile = None,
) -> None:
    """Say what a model file is, and which pixels it seems to take.

    Shows what the file says of itself, and how its answers to a few images look if its pixels are
    taken to be 0 to 255, 0 to 1 or -1 to 1, normalised as PyTorch's or Caffe's networks have it,
    red or blue first. The likeliest form is suggested, as the options to pass to train. It is
    never used by itself: check it with the model's documentation. Example:

    keras-reprogram probe --source model.tflite --images photos/
    """
    check_json_path(json_file)
    check_source(source)
    from keras_reprogram.arguments import is_image
    from keras_reprogram.command_line.file_facts import file_facts, says_its_pixels

    opened = _open(source, settings)
    if not is_image(opened.source_shape):
        raise ValueError(
            "probe finds out which pixels a source takes. Received: one of inputs of shape "
            f"{opened.source_shape}, which are no images."
        )
    is_told = says_its_pixels(opened)
    forms = _forms(opened, settings, is_told)
    print_table(facts_table(source, file_facts(opened)))
    shown = _images(images, opened.source_shape)
    tried = _try(opened, forms, shown, query_budget)
    print_table(_table(tried, len(shown)))
    verdict = _verdict(tried, is_told)
    typer.echo(verdict.text)
    if json_file is not None:
        write_json(json_file, _as_facts(opened, tried, verdict))


def _open(text: str, settings: SourceSettings) -> Source:
    """The source without what was said of its pixels: they are then its own."""
    unsaid = replace(
        settings, value_range=None, pixel_scale=None, pixel_offset=None, channel_order=None
    )
    # Files of floats want to be told a range, and files of whole numbers refuse 0 to 1.
    for value_range in (None, _UNIT, _PIXELS):
        try:
            # That answers hardly move in a range is what is looked for here.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                return resolve_source(
                    text, settings=replace(unsaid, value_range=value_range)
                ).source
        except ValueError as error:
            refused = error
    raise refused


def _forms(source: Source, settings: SourceSettings, is_told: bool) -> list[PixelForm]:
    """The forms to try: what the user says, and what is in use; or the file's own alone."""
    from keras_reprogram.source.pixel_forms import PixelForm, in_bgr, pixel_forms

    said = [option for option in settings.given if option in _OF_PIXELS]
    if is_told:
        if said:
            raise ValueError(
                f"The source says which pixels it takes. Received: {', '.join(said)}. Leave "
                f"{'it' if len(said) == 1 else 'them'} out."
            )
        own = PixelForm("as it says", source.value_range)
        return [own, in_bgr(own)] if source.source_shape[2] == 3 else [own]
    forms = pixel_forms(source.source_shape[2])
    if not said:
        return forms
    if settings.value_range is None:
        raise ValueError(
            f"What is said of pixels starts from their range. Received: {', '.join(said)}. Add "
            "--value-range, or leave it out to see the forms that are in use."
        )
    scale, offset = settings.arguments("preprocessing").get("preprocessing", (1.0, 0.0))
    order = settings.channel_order or "rgb"
    return [PixelForm("as you say", settings.value_range, scale, offset, order), *forms]


def _images(folder: Path | None, shape: tuple[int, int, int]) -> np.ndarray:
    """Images `(n, h, w, c)` of 0 to 255, float32."""
    import numpy as np

    from keras_reprogram.datasets.image_files import decode_image, resize_levels

    height, width, channels = shape
    random = np.random.default_rng(0)
    if folder is not None:
        files = image_files([folder])
        drawn = sorted(random.permutation(len(files))[:_MOST_IMAGES])
        shown = [
            decode_image(files[row], str(files[row]), grey=channels == 1, size=(height, width))
            for row in drawn
        ]
        return np.stack(shown).astype(np.float32)
    from sklearn.datasets import load_sample_images

    photos, shown = load_sample_images().images, []
    for number in range(_MOST_IMAGES):
        photo = photos[number % len(photos)]
        high, wide = photo.shape[:2]
        side = round(random.uniform(_SMALLEST_CUT, 1.0) * min(high, wide))
        top, left = (random.integers(0, whole - side + 1) for whole in (high, wide))
        cut = photo[top : top + side, left : left + side]
        if channels == 1:
            cut = cut.mean(axis=-1, keepdims=True).astype(np.uint8)
        shown.append(resize_levels(cut, (height, width)))
    return np.stack(shown).astype(np.float32)


def _try(
    source: Source, forms: list[PixelForm], images: np.ndarray, query_budget: int
) -> list[_Tried]:
    from keras_reprogram.source.answer_figures import answer_figures, changed_copies
    from keras_reprogram.source.answer_probe import answers_move

    copies = changed_copies(images)
    queries = len(forms) * len(copies) * len(images)
    if source.costs_queries and query_budget < queries:
        raise ValueError(
            f"A source that runs as Python code may cost something, and probe asks it {queries:,} "
            f"times. Received: --query-budget {query_budget}. Raise it to {queries}."
        )
    tried = []
    for form in forms:
        try:
            answers = [_answers(source, form.pixels(copy)) for copy in copies]
        except ValueError:
            # Not a number, say, or rows that do not sum to 1: not its pixels.
            tried.append(_Tried(form, None))
            continue
        figures = answer_figures(answers, source.score_kind)
        gap = _gap(source, form.pixels(images[:_AT_ONCE]))
        tried.append(_Tried(form, figures, gap, answers_move(answers[0], source.score_kind)))
    return tried


def _gap(source: Source, pixels: np.ndarray) -> float | None:
    from keras_reprogram.source import FrozenSource
    from keras_reprogram.source.batch_statistics import statistics_gap

    if not isinstance(source, FrozenSource):
        return None
    axes = source.network_input.axes
    return statistics_gap(source.model, pixels if axes is None else pixels.transpose(axes))


def _answers(source: Source, pixels: np.ndarray) -> np.ndarray:
    import keras
    import numpy as np

    parts = [pixels[start : start + _AT_ONCE] for start in range(0, len(pixels), _AT_ONCE)]
    return np.concatenate([keras.ops.convert_to_numpy(source(part)) for part in parts])


def _table(tried: list[_Tried], num_images: int) -> Table:
    table = Table(title=f"answers to {num_images} images")
    for column in ("pixels", "options"):
        table.add_column(column)
    columns = ("top score", "entropy", "information", "steadiness", "agreement", "gap")
    for column in columns:
        table.add_column(column, justify="right")
    for one in tried:
        figures = one.figures
        cells = ["refused"] * len(columns)
        if figures is not None:
            numbers = [*asdict(figures).values(), one.gap]
            cells = ["-" if number is None else f"{number:,.2f}" for number in numbers]
        table.add_row(one.form.name, one.form.options, *cells)
    return table


def _verdict(tried: list[_Tried], is_told: bool) -> _Verdict:
    from keras_reprogram.source.pixel_forms import in_rgb

    if is_told and tried[0].moves:
        return _Verdict("The source says which pixels it takes, and its answers move.")
    likely = sorted(_fitting(tried), key=lambda one: (-one.merit, one.gap or 0.0))
    best = likely[0]
    if not best.merit and best.gap is None:
        return _Verdict(
            "No suggestion: under no form do the answers move with the image and stay as they are "
            "under slight changes of it. Show it images like those that it learned from (--images "
            "FOLDER), of several of its classes; check the order of axes (--data-format).",
        )
    alike = [one for one in likely if one.merit >= _AS_LIKELY * best.merit]
    # Most networks take red first, and most hardly mind.
    best = next((one for one in alike if one.form == in_rgb(best.form)), best)
    others = [one.form for one in alike if one is not best]
    text = (
        f"Likeliest: {best.form.options}\nA guess from answers without labels"
        + (f"; about as likely: {'; '.join(form.name for form in others)}" if others else "")
        + ". Check it with the model's documentation, then say it: it is never filled in."
    )
    return _Verdict(text, (best.form, *others))


def _fitting(tried: list[_Tried]) -> list[_Tried]:
    """Those whose pixels are inside a network as in training, where it remembers that; else all."""
    gaps = [one.gap for one in tried if one.gap is not None]
    if not gaps:
        return tried
    most = _MOST_TIMES * min(gaps) + _SLACK
    return [one for one in tried if one.gap is not None and one.gap <= most]


def _as_facts(source: Source, tried: list[_Tried], verdict: _Verdict) -> dict[str, Any]:
    from keras_reprogram.command_line.file_facts import file_facts

    forms = [
        {
            "pixels": one.form.name,
            "options": one.form.options,
            **({} if one.figures is None else asdict(one.figures)),
            "gap": one.gap,
        }
        for one in tried
    ]
    likely = [form.name for form in verdict.likely]
    return {
        "source": file_facts(source),
        "forms": forms,
        "suggested": verdict.likely[0].options if likely else None,
        "suggested_pixels": likely[0] if likely else None,
        "likely": likely,
    }
