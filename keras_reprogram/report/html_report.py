"""A report in one HTML file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from keras_reprogram.report.html_blocks import (
    details_block,
    figure_block,
    metrics_block,
    paragraphs,
    results_block,
    text_table_block,
)
from keras_reprogram.report.html_page import html_page
from keras_reprogram.report.metrics import ClassificationMetrics
from keras_reprogram.report.result_row import ResultRow
from keras_reprogram.report.text_table import TextTable
from keras_reprogram.whole_file import write_whole_file


@dataclass(frozen=True, eq=False)
class ReportSection:
    """One section of a report; what is None or empty is left out.

    Args:
        heading: The section's heading.
        text: Plain text under it; an empty line starts a new paragraph.
        table: Results of several methods.
        text_table: Any other table.
        figure: A picture; its label (`figure.get_label()`) becomes the alt text.
        metrics: Overall and per-class figures.
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
    metrics: ClassificationMetrics | None = None
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
            f"Expected a path that is free. Received: {file}, which exists. Choose another path, "
            "or pass overwrite=True to replace it."
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
