"""Makes the benchmark's modules importable: its CSV rows, its resumable runs, its sources."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmark"

if str(FOLDER) not in sys.path:
    # Behind this folder, whose own modules come first.
    sys.path.append(str(FOLDER))
