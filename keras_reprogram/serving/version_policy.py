"""VersionPolicy: which of the versions in a folder are served."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class VersionPolicy:
    """The newest versions, certain ones, or all.

    Args:
        newest: how many of the highest numbers; `None` for all.
        only: these instead, or `()`.

    Raises:
        ValueError: for numbers below 1.
    """

    newest: int | None = 1
    only: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.only, 1 if self.newest is None else self.newest)
        if any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in numbers):
            raise ValueError(
                "Versions must be 'latest', 'all', or positive integers. "
                f"Received: {self.only or self.newest!r}."
            )

    @classmethod
    def of(cls, versions: str | int | Collection[int]) -> VersionPolicy:
        """Reads what a user says.

        Args:
            versions: `"latest"`, `"all"`, a version, or several.

        Raises:
            ValueError: for anything else.
        """
        if isinstance(versions, str):
            if versions not in ("latest", "all"):
                raise ValueError(
                    "Versions must be 'latest', 'all', or positive integers. "
                    f"Received: {versions!r}."
                )
            return cls(1 if versions == "latest" else None)
        only = (versions,) if isinstance(versions, int) else tuple(versions)
        if not only:
            raise ValueError("Name at least one version to serve. Received: none.")
        return cls(None, only)

    def chosen(self, found: Collection[int]) -> list[int]:
        """Those of the versions found that are to be served.

        Args:
            found: their numbers.
        """
        if self.only:
            return sorted(set(self.only) & set(found))
        return sorted(found)[-self.newest :] if self.newest else sorted(found)
