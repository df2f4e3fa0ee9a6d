"""ExportedModel: where an export lies, and what was found out about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportedModel:
    """What `export_saved_model` returns. Wherever a path is taken, it is its version folder.

    Attributes:
        folder: the version folder.
        signatures: names of the signatures.
        weight_bytes: size of the stored weights.
        difference: largest difference of an output between the model and a fresh process; of
            outputs that reach beyond 1, as a share of the largest.
        warmup_requests: how many were written, and replayed in that process.
        serve_command: the `docker run` line that serves it.
        notes: what was left out, and why.

    Example:
    ```python
    from pathlib import Path
    from keras_reprogram.export import ExportedModel

    exported = ExportedModel(Path("digits/1"), ("serving_default",), 1024, 1e-7, 3, "docker run")
    assert str(exported) == "digits/1" and exported.name == "1"
    print(exported.summary)
    ```
    """

    folder: Path
    signatures: tuple[str, ...]
    weight_bytes: int
    difference: float
    warmup_requests: int
    serve_command: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The version."""
        return self.folder.name

    @property
    def summary(self) -> str:
        """Everything above in a few lines."""
        return "\n".join(
            [
                f"{self.folder}: {self.weight_bytes / 1e6:.2f} MB of weights, signatures "
                f"{', '.join(self.signatures)}.",
                f"A fresh process agrees to {self.difference:.1e}; {self.warmup_requests} warm-up "
                "requests replayed there.",
                *self.notes,
                f"Serve it: {self.serve_command}",
            ]
        )

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)
