"""A report in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.figure import Figure

from keras_reprogram.files import write_whole_file
from keras_reprogram.report.findings_metrics import FindingsMetrics
from keras_reprogram.report.html_blocks import (
    details_block,
    figure_block,
    metrics_block,
    paragraphs,
    results_block,
    text_table_block,
)
from keras_reprogram.report.metrics import ClassificationMetrics
from keras_reprogram.report.tables import ResultRow, TextTable


@dataclass(frozen=True, eq=False)
class ReportSection:
    """One section of a report; what is None or empty is left out.

    Args:
        heading: The section's heading.
        text: Plain text under it; an empty line starts a new paragraph.
        table: Results of several methods.
        text_table: Any other table.
        figure: A picture; its label (`figure.get_label()`) becomes the alt text.
        metrics: Overall figures, and those of each class or finding.
        details: Names and values, such as versions and settings; may be nested.

    Example:
        ```python
        from keras_reprogram.report import ReportSection

        section = ReportSection("Settings", details={"views": 8, "seed": 0})
        ```
    """

    heading: str
    text: str = ""
    table: Sequence[ResultRow] | None = None
    text_table: TextTable | None = None
    figure: Figure | None = None
    metrics: ClassificationMetrics | FindingsMetrics | None = None
    details: Mapping[str, Any] | None = None


def write_html_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    introduction: str,
    sections: Sequence[ReportSection],
    overwrite: bool = False,
) -> Path:
    """Writes a report as one HTML file with its pictures inside it.

    Every text is escaped. The file appears whole or not at all, and needs neither a
    network nor a script.

    Args:
        path: Where the file goes; folders on the way are made.
        title: Title of the page.
        introduction: Plain text under the title; an empty line starts a new paragraph.
        sections: The sections in order.
        overwrite: Whether an existing file is replaced.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        IsADirectoryError: If the path is a folder.

    Example:
        ```python
        import tempfile
        from keras_reprogram.report import ReportSection, ResultRow, write_html_report

        with tempfile.TemporaryDirectory() as folder:
            rows = [ResultRow("map only", (0.76,), 1000, 1, 2.0)]
            section = ReportSection("Results", table=rows)
            path = write_html_report(
                f"{folder}/report.html", title="Digits", introduction="", sections=[section]
            )
            assert "map only" in path.read_text(encoding="utf-8")
        ```
    """
    file = Path(path)
    _check_free(file, overwrite)
    body = paragraphs(introduction) + "".join(_section(section) for section in sections)
    # Names read from odd file systems may hold lone surrogates, which UTF-8 has no bytes for.
    content = html_page(title, body).encode("utf-8", errors="backslashreplace")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole_file(file, content)
    return file


def _check_free(file: Path, overwrite: bool) -> None:
    if file.is_dir():
        raise IsADirectoryError(
            f"Expected the path of a file. Received: the folder {file}. Add a file name, such as "
            f"{file / 'report.html'}."
        )
    if file.exists() and not overwrite:
        raise FileExistsError(
            f"Expected a path that does not exist yet. Received: {file}, which exists. Choose "
            f"another path, or pass overwrite=True to replace it."
        )


def _section(section: ReportSection) -> str:
    parts = [f"<section>\n<h2>{escape(section.heading)}</h2>\n", paragraphs(section.text)]
    if section.table:
        parts.append(results_block(section.table))
    if section.text_table is not None:
        parts.append(text_table_block(section.text_table))
    if section.metrics is not None:
        parts.append(metrics_block(section.metrics))
    if section.figure is not None:
        parts.append(figure_block(section.figure, fallback=f"Figure: {section.heading}"))
    if section.details:
        parts.append(details_block(section.details))
    return "".join(parts) + "</section>\n"


_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #52606d; --paper: #ffffff;
  --line: #d9dee4; --shade: #f5f7fa; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --quiet: #a3adb8;
  --paper: #16191d; --line: #38404a; --shade: #20252b; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line);
  font-size: 1.3rem; }
p { max-width: 45rem; margin: 0 0 .9rem; }
.note { color: var(--quiet); font-size: .875rem; }
.scroll { overflow-x: auto; margin: 1rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .9rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
thead th { border-bottom: 2px solid var(--accent); font-size: .875rem; }
tbody th { font-weight: 600; }
tbody tr:hover { background: var(--shade); }
.number { text-align: right; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem;
  margin: 1rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dd dl { margin: 0; }
figure { width: fit-content; max-width: 100%; margin: 1rem 0; padding: .75rem;
  overflow-x: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 6px; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .5rem; } }
@media print { body { max-width: none; } .wide img { max-width: 100%; } }
"""

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body</main>
</body>
</html>
"""
)


def html_page(title: str, body: str) -> str:
    """A page around an HTML body that needs no other file, no script and no network."""
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=body)
