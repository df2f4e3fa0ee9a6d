"""The folder that scores are written to: one whole file a shard, and what they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.files import whole_file, write_whole_file
from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.scoring.choices import BAD, MANIFEST, SCORES, RowFormat
from keras_reprogram.version import __version__

_FORMAT = 1


class ScoredImage(NamedTuple):
    """An image's probabilities `(classes,)`, or the reason why it has none.

    `judged` is what a calibration says of it, where one was asked: its set and flags; or which of
    several findings it has.
    """

    name: str
    probabilities: np.ndarray | None
    reason: str = ""
    judged: Mapping[str, np.ndarray] | None = None

    def as_row(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Plain values: its class and probabilities, or its error; the others are `None`.

        Of several findings it has a list of those in place of the class, and the largest
        probability.
        """
        if self.probabilities is None:
            return {"class": None, "probability": None, "probabilities": None, "error": self.reason}
        best, values = int(self.probabilities.argmax()), self.probabilities.tolist()
        said: dict[str, Any] = {"class": class_names[best]}
        if self.judged is not None and "findings" in self.judged:
            found = np.flatnonzero(self.judged["findings"]).tolist()
            said = {"findings": [class_names[index] for index in found]}
        return {**said, "probability": values[best], "probabilities": values, "error": None}


@dataclass(frozen=True)
class ScoreFolder:
    """Where the parts of one run are.

    Args:
        path: the folder.
        form: of the files of scores.
        class_names: one for each score.
    """

    path: str
    form: RowFormat
    class_names: tuple[str, ...]

    def scores_file(self, number: int) -> Path:
        """Where the scores of a shard are."""
        return Path(self.path, SCORES, f"part-{number:06d}.{self.form}")

    def bad_file(self, number: int) -> Path:
        """Where the bad images of a shard are, if there are any."""
        return Path(self.path, BAD, f"part-{number:06d}.jsonl")

    def has(self, number: int) -> bool:
        """Whether a shard is done."""
        return self.scores_file(number).is_file()

    def write(self, number: int, images: Sequence[ScoredImage]) -> int:
        """Writes a shard's files; returns how many images were bad."""
        scored = [image for image in images if image.probabilities is not None]
        bad = [image for image in images if image.probabilities is None]
        self._write_bad(number, bad)
        # The scores come last: where they are, the shard is done.
        with whole_file(self.scores_file(number)) as file:
            if self.form == RowFormat.JSONL:
                file.writelines(map(_line, self._rows(scored)))
            else:
                _write_parquet(file, list(self._rows(scored)))
        return len(bad)

    def num_bad(self, number: int) -> int:
        """How many images of a finished shard were bad."""
        file = self.bad_file(number)
        return file.read_bytes().count(b"\n") if file.is_file() else 0

    def _rows(self, images: Sequence[ScoredImage]) -> Iterator[dict[str, Any]]:
        for image in images:
            row = image.as_row(self.class_names)
            del row["error"]
            yield {"image": image.name, **row}

    def _write_bad(self, number: int, bad: Sequence[ScoredImage]) -> None:
        file = self.bad_file(number)
        if not bad:
            # A run that was killed may have left one, and the images may have been mended since.
            file.unlink(missing_ok=True)
            return
        lines = (_line({"image": image.name, "reason": image.reason}) for image in bad)
        write_whole_file(file, b"".join(lines))


def _line(row: dict[str, Any]) -> bytes:
    # Names of files need not be valid UTF-8.
    return f"{json.dumps(row, ensure_ascii=False)}\n".encode(errors="backslashreplace")


def _write_parquet(file: Any, rows: list[dict[str, Any]]) -> None:
    pyarrow = parquet_package()
    from pyarrow.parquet import write_table

    several = any("findings" in row for row in rows)
    said = ("findings", pyarrow.list_(pyarrow.string())) if several else ("class", pyarrow.string())
    schema = pyarrow.schema(
        [
            ("image", pyarrow.string()),
            said,
            ("probability", pyarrow.float32()),
            ("probabilities", pyarrow.list_(pyarrow.float32())),
        ]
    )
    for row in rows:
        row["image"] = row["image"].encode(errors="backslashreplace").decode()
    write_table(pyarrow.Table.from_pylist(rows, schema), file)


def parquet_package() -> Any:
    """The package that reads and writes Parquet."""
    with needs_extra("pyarrow", "parquet"):
        import pyarrow
    return pyarrow


def check_output(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether a folder holds parts of this very run; refuses a folder of anything else."""
    file = folder / MANIFEST
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not folder.is_dir() or not file.is_file():
        raise ValueError(
            f"The output must be a new folder, or one of the same run. Received: {folder}, which "
            f"holds something else. Choose another --output."
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{file} is corrupt. Received: {error}. Choose another --output."
        ) from error
    for key, what in _COMPARED.items():
        if (there := _value(found, key)) != (here := _value(facts, key)):
            raise ValueError(
                f"{folder} belongs to {what}. Expected: {key} {there}. Received: {here}. "
                "Repeat the command as it was, or choose another --output."
            )
    return True


# What must be the same when a run goes on -> what else the folder belongs to.
_COMPARED = {
    "format": "another version of keras_reprogram",
    "model.fingerprint": "another model",
    "rows": "a run that writes another format",
    "input.shard_size": "a run with shards of another size",
    "input.digest": "other images, or images that have changed",
}


def _value(facts: Any, key: str) -> Any:
    for name in key.split("."):
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts


def run_facts(model: dict[str, Any], images: dict[str, Any], form: RowFormat) -> dict[str, Any]:
    """What a run is known by."""
    return {"format": _FORMAT, "model": model, "input": images, "rows": str(form)}


def start_output(folder: ScoreFolder, facts: dict[str, Any]) -> None:
    """Makes the folder and writes what its parts belong to."""
    for name in (SCORES, BAD):
        Path(folder.path, name).mkdir(parents=True, exist_ok=True)
    written = {**facts, "class_names": folder.class_names, "keras_reprogram": __version__}
    text = json.dumps(written, indent=1, ensure_ascii=False)
    write_whole_file(Path(folder.path, MANIFEST), f"{text}\n".encode())
