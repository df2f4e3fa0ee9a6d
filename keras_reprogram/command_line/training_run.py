"""The work behind `train`: load, train every seed, print the table, leave a run folder."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from keras_reprogram.command_line.calibrating import calibrate_run, hold_out
from keras_reprogram.command_line.console import INTERRUPTED, Progress, print_table
from keras_reprogram.command_line.measures import measured
from keras_reprogram.command_line.options import is_skewed
from keras_reprogram.command_line.run_folder import RunDraft, write_json
from keras_reprogram.command_line.run_page import RunContents, write_run_page
from keras_reprogram.command_line.seed_run import (
    LINEAR_HEAD,
    NO_SOURCE,
    Outcome,
    SeedRun,
    linear_head,
    no_source,
    train_seed,
)
from keras_reprogram.command_line.source_settings import SourceSettings
from keras_reprogram.command_line.sources import resolve_source
from keras_reprogram.command_line.target_settings import TargetSettings
from keras_reprogram.command_line.train_options import OutputMapKind, TrainOptions
from keras_reprogram.datasets import TargetData
from keras_reprogram.datasets.target_data import Draw
from keras_reprogram.datasets.text_table import cut_texts
from keras_reprogram.model.program_file import save_program
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.report import (
    ResultRow,
    results_json,
    results_table,
    wilson_interval,
)
from keras_reprogram.version import __version__

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.source import Source


def run_training(config: TrainConfig, progress: Progress) -> Path:
    """Trains, prints the table on stdout and writes the run folder."""
    draft = RunDraft(config.output, config.run_name, config.overwrite)
    try:
        rows, facts = _Training(config, draft, progress).run()
        folder = draft.finish()
    except KeyboardInterrupt:
        typer.echo(_keep(draft), err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception:
        # What was paid for stays, whatever failed after it; a full disk must not hide what did.
        with contextlib.suppress(OSError):
            if draft.program.is_file():
                typer.echo(_keep(draft), err=True)
        raise
    finally:
        draft.discard()
    target, kind = facts["target"], " (opaque)" if config.opaque else ""
    print_table(results_table(rows, f"{target['name']} from {config.source}{kind}"))
    print(f"data    {' '.join((target['origin'], *target['notes']))}")
    print(f"run     {folder}")
    if (folder / draft.report.name).is_file():
        print(f"report  {folder / draft.report.name}")
    if config.json_file is not None:
        write_json(config.json_file, {"run": str(folder), **facts})
    return folder


class _Training:
    """A running training: what is loaded, and the outcomes so far."""

    def __init__(self, config: TrainConfig, draft: RunDraft, progress: Progress) -> None:
        self.config, self.draft, self.progress = config, draft, progress
        self.facts: dict[str, Any] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.skewed = False
        target = self._drawn(config.seeds[0])
        self.resolved = resolve_source(
            config.source, opaque=config.opaque, settings=config.settings, features=config.features
        )
        self.target = self._cut(target)

    def run(self) -> tuple[list[ResultRow], dict[str, Any]]:
        """Trains all seeds; what the run folder keeps is the first one's."""
        first = self._seed(self.config.seeds[0], keep=True)
        for seed in self.config.seeds[1:]:
            self._seed(seed, keep=False)
        balanced = self.skewed or self.config.options.class_weight is not None
        rows = [_row(name, results, balanced) for name, results in self.outcomes.items()]
        self._write(first, rows)
        return rows, self.facts

    def _seed(self, seed: int, keep: bool) -> SeedRun:
        target, held = self.target if keep else self._cut(self._drawn(seed)), None
        if self.config.options.calibrate is not None:
            target, held = hold_out(target, self.config.options, seed)
        if keep:
            self.facts = self.config.facts(self.resolved.source, target)
            self.progress.note("\n".join((target.origin, *target.notes)))
        elif not self.progress.quiet:
            self.progress.note(f"Seed {seed}.")
        source, options = self.resolved.source, self.config.options
        weights = options.weights(target.train_labels, target.class_names)
        self.skewed |= is_skewed(target.train_labels) or is_skewed(target.test_labels)
        outcomes = {}
        if self.config.baseline:
            graded = {"ordinal": options.ordinal}
            outcomes[NO_SOURCE] = no_source(target, seed, self.progress, weights, **graded)
        checkpoint = self._checkpoint if keep else _forget
        run = train_seed(source, target, options, seed, self.progress, checkpoint)
        if held is not None and keep:
            calibrate_run(run, held, options, self.progress)
            checkpoint(run.model)
        outcomes |= run.outcomes
        # Features of remapped texts are no features of the texts.
        load = self.resolved.keras_source if target.texts is None else None
        if self.config.baseline and load is not None:
            outcomes[LINEAR_HEAD] = linear_head(
                load, target, seed, self.progress, weights, ordinal=options.ordinal
            )
        for name, outcome in outcomes.items():
            self.outcomes.setdefault(name, []).append(outcome)
        return run

    def _drawn(self, seed: int) -> TargetData:
        config = self.config
        draw = Draw(config.train_images, config.test_images, seed)
        target = config.target_settings.load(
            config.target, draw, image_size=config.target_size, seed=config.seeds[0]
        )
        if target.is_multi_label:
            config.options.check_findings()
        return target

    def _cut(self, target: TargetData) -> TargetData:
        """Texts as long as the source's."""
        return cut_texts(target, self.resolved.source.source_shape[0])

    def _checkpoint(self, model: ReprogrammedModel) -> None:
        """Saves a model, so that Ctrl-C leaves a usable run."""
        save_program(model, self.draft.program, overwrite=True)
        self.draft.write_facts({"complete": False, **self.facts})

    def _write(self, first: SeedRun, rows: list[ResultRow]) -> None:
        metrics = measured(first.model, first.target, first.result.probabilities)
        self.facts |= {
            "results": results_json(rows),
            "metrics": metrics.to_dict(),
            "curve": [list(point) for point in first.curve],
            "history": first.history,
        }
        self.draft.write_facts({"complete": True, **self.facts})
        try:
            write_run_page(self.draft.report, RunContents(self.facts, first.model, first.target))
        except Exception as error:  # All figures are written; a picture of them must not cost them.
            reason = f"{type(error).__name__}: {error}"
            advice = "Write it later with: keras-reprogram report RUN"
            typer.echo(f"The report could not be written. {reason}. {advice}", err=True)


def _forget(model: ReprogrammedModel) -> None:
    """Ignores the models of later seeds, which only serve the spread."""
    del model


def _keep(draft: RunDraft) -> str:
    """Gives the folder its name if a program is in it; says what was kept."""
    if not draft.program.is_file():
        return "\nStopped. Nothing was kept."
    # Next to a finished run of that name, without replacing it.
    draft.overwrite = False
    folder = draft.finish()
    return (
        f"\nStopped. {folder} keeps the program of the last stage that was finished, without "
        f"figures and report. Measure it with: keras-reprogram evaluate {folder}"
    )


def _row(name: str, results: list[Outcome], balanced: bool) -> ResultRow:
    first = results[0]
    notes = list(dict.fromkeys(result.note for result in results if result.note))
    if len(results) == 1 and "AUC" not in first.figures:
        low, high = wilson_interval(round(first.accuracy * first.num_test), first.num_test)
        notes.insert(0, f"95 %: {low:.3f} to {high:.3f}")
    return ResultRow(
        name,
        tuple(result.accuracy for result in results),
        first.training_queries,
        first.queries_per_prediction,
        sum(result.seconds for result in results) / len(results),
        "; ".join(notes),
        tuple(result.balanced_accuracy or 0.0 for result in results) if balanced else (),
        {
            name: tuple(result.figures[name] for result in results)
            for name in first.figures
            if all(name in result.figures for result in results)
        },
    )


_VERSIONS_OF = ("keras", "tensorflow", "numpy", "scikit-learn")


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a `train` run.

    Args:
        source: `--source` as given.
        target: `--target` as given.
        opaque: use the source's scores only.
        settings: what was said of a source file.
        target_size: side that images of a folder get if they come in several sizes.
        target_settings: what was said of the target's files.
        train_images: how many to draw, or `None` for all.
        test_images: the same for the test part.
        seeds: at least one.
        baseline: whether to compare with no source and with a linear head.
        options: the recipe's settings.
        output: holds the run folders.
        name: of the run folder, or `None` for one made of target and source.
        overwrite: replace the run folder of that name.
        json_file: where the figures go too, or `None`.
    """

    source: str
    target: str
    opaque: bool
    settings: SourceSettings
    target_size: int | None
    target_settings: TargetSettings
    train_images: int | None
    test_images: int | None
    seeds: tuple[int, ...]
    baseline: bool
    options: TrainOptions
    output: Path
    name: str | None
    overwrite: bool
    json_file: Path | None

    @property
    def run_name(self) -> str:
        """The name that was given, or one made of target and source."""
        if self.name is not None:
            return self.name
        parts = (Path(self.target).name, Path(self.source).stem)
        words = [re.sub(r"[^\w.=]+", "-", part).strip("-.") for part in parts]
        return "-".join(filter(None, words)) or "run"

    @property
    def features(self) -> bool:
        """Whether the source must show its penultimate features."""
        return self.options.output_map == OutputMapKind.NEW_HEAD

    def facts(self, source: Source, target: TargetData) -> dict[str, Any]:
        """The facts in `run.json` before anything is measured."""
        return {
            "source": {
                "given": self.source,
                "spec": _findable(self.source),
                "opaque": self.opaque,
                **self.settings.as_facts(),
                "value_range": None if source.value_range is None else list(source.value_range),
                "features": self.features,
                "fingerprint": source.fingerprint,
                "described": source.describe(),
            },
            "target": {
                "given": self.target,
                "spec": _findable(self.target),
                "name": target.name,
                "origin": target.origin,
                "notes": list(target.notes),
                "class_names": list(target.class_names),
                "multi_label": target.is_multi_label,
                "target_shape": list(target.target_shape),
                "target_size": self.target_size,
                **self.target_settings.as_facts(),
                "train_images": self.train_images,
                "test_images": self.test_images,
            },
            "options": {
                **self.options.as_facts(),
                "epochs": self.options.resolved_epochs(source),
                "learning_rate": self.options.resolved_learning_rate(source),
            },
            "seed": self.seeds[0],
            "seeds": list(self.seeds),
            "versions": {
                "keras_reprogram": __version__,
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in _VERSIONS_OF},
            },
        }


def _findable(text: str) -> str:
    """Makes a path absolute, so that it works from other folders; names stay as they are."""
    path = Path(text).expanduser()
    is_path = path.exists() and (len(path.parts) > 1 or bool(path.suffix) or path.is_dir())
    return str(path.resolve()) if is_path else text
