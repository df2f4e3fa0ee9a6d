"""ExportedHalves: where the halves of an export lie, and what was found out about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keras_reprogram.export.half_versions import OUTPUT_MAP, PROGRAM, litert_name


@dataclass(frozen=True)
class ExportedHalves:
    """What `export_halves` returns. Wherever a path is taken, it is the folder of both halves.

    Attributes:
        base_dir: holds the versions of both.
        version: that of both.
        signatures: those of the program's half.
        difference: largest difference of an output between the model and a fresh process or a
            LiteRT file; of source images, as a share of the largest pixel.
        notes: what was left out, and why.

    Example:
    ```python
    from pathlib import Path
    from keras_reprogram.export import ExportedHalves

    exported = ExportedHalves(Path("digits"), 3, ("serving_default",), 1e-7)
    assert exported.program == Path("digits/program/3")
    assert exported.output_map_file == Path("digits/output_map-3.tflite")
    print(exported.summary)
    ```
    """

    base_dir: Path
    version: int
    signatures: tuple[str, ...]
    difference: float
    notes: tuple[str, ...] = ()

    @property
    def program(self) -> Path:
        """SavedModel: target images -> source images."""
        return self.base_dir / PROGRAM / str(self.version)

    @property
    def output_map(self) -> Path:
        """SavedModel: source scores -> target probabilities."""
        return self.base_dir / OUTPUT_MAP / str(self.version)

    @property
    def program_file(self) -> Path:
        """The program as a LiteRT file."""
        return self.base_dir / litert_name(PROGRAM, self.version)

    @property
    def output_map_file(self) -> Path:
        """The output map as a LiteRT file."""
        return self.base_dir / litert_name(OUTPUT_MAP, self.version)

    @property
    def summary(self) -> str:
        """Everything above in a few lines."""
        return "\n".join(
            [
                f"{self.program}: image -> source_images, signatures "
                f"{', '.join(self.signatures)}; {self.program_file.name} beside it.",
                f"{self.output_map}: source_scores -> scores; {self.output_map_file.name} beside "
                "it.",
                f"Fresh processes and LiteRT agree to {self.difference:.1e}. The source was not "
                "asked.",
                *self.notes,
            ]
        )

    def __fspath__(self) -> str:
        return str(self.base_dir)

    def __str__(self) -> str:
        return str(self.base_dir)
