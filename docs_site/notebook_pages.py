"""MkDocs hook: the executed notebooks as pages, with what their cells wrote and drew."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

SUFFIX = ".ipynb"

Notebook = dict[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pictures of the notebooks that `repository_pages` has placed on the site."""
    for file in [file for file in files if is_notebook(file)]:
        for name, content in pictures(read(file)).items():
            place = f"{Path(file.src_uri).with_suffix('')}_{name}"
            files.append(File.generated(config, place, content=content))
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """The Markdown of a page that is a notebook; None leaves other pages to MkDocs."""
    if not is_notebook(page.file):
        return None
    origin = Path(page.file.abs_src_path or "")
    return markdown(read(page.file), Path(page.file.src_uri).stem, origin.name)


def is_notebook(file: File) -> bool:
    """Whether the page's source in the repository is a notebook."""
    return (file.abs_src_path or "").endswith(SUFFIX)


def read(file: File) -> Notebook:
    """The notebook as JSON."""
    return json.loads(Path(file.abs_src_path or "").read_text(encoding="utf-8"))


def pictures(notebook: Notebook) -> dict[str, bytes]:
    """Name of a picture -> its PNG file, in the order of the cells."""
    return {
        f"{cell}_{number}.png": base64.b64decode("".join(output["data"]["image/png"]))
        for cell, number, output in outputs(notebook)
        if is_picture(output)
    }


def outputs(notebook: Notebook) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Number of the cell, number in the cell, output."""
    for cell, content in enumerate(notebook["cells"], 1):
        for number, output in enumerate(content.get("outputs", []), 1):
            yield cell, number, output


def is_picture(output: dict[str, Any]) -> bool:
    """Whether an output is shown as a PNG file."""
    return "image/png" in output.get("data", {})


def markdown(notebook: Notebook, page: str, file: str) -> str:
    """The cells in order: texts as they are, code and what it wrote in fences."""
    parts = []
    for number, cell in enumerate(notebook["cells"], 1):
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else fence("python", text))
        for order, output in enumerate(cell.get("outputs", []), 1):
            parts.append(shown(output, f"{page}_{number}_{order}.png"))
    parts.append(f"*This page is the executed notebook `examples/notebooks/{file}`.*")
    return "\n\n".join(parts) + "\n"


def shown(output: dict[str, Any], picture: str) -> str:
    """One output as Markdown."""
    if is_picture(output):
        return f"![Picture that the cell above draws]({picture})"
    data = output.get("data", {})
    if "text/markdown" in data:
        return "".join(data["text/markdown"])
    text = "".join(output.get("text", data.get("text/plain", "")))
    return fence("{ .text .output }", text.rstrip("\n"))


def fence(kind: str, text: str) -> str:
    """A fenced block."""
    return f"```{kind}\n{text}\n```"
