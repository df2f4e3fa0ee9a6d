"""Names and defaults that the command line shows, without an import."""

from __future__ import annotations

from enum import StrEnum

DEFAULT_FEATURE, DEFAULT_COLUMN = "image/encoded", "image"
DEFAULT_SHARD_SIZE = 1000
MANIFEST = "score.json"
SCORES, BAD = "scores", "bad"


class RowFormat(StrEnum):
    """Format of the files of scores."""

    JSONL = "jsonl"
    PARQUET = "parquet"
