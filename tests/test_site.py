"""The documentation site: it builds strictly, needs no other server, and quotes the package."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
# A link that a browser follows by itself; those of an `a` element wait for the reader.
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?((?:https?:)?//[^\" >]*)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does: every warning is an error."""
    pytest.importorskip("mkdocs", reason="mkdocs is in the extra `dev`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_builds_strictly_with_all_its_pages(site):
    pages = {str(page.relative_to(site).with_suffix("")) for page in site.rglob("*.html")}
    assert {"index", "start", "choose", "troubleshooting", "formats", "architecture"} <= pages
    assert "notebooks/white_box_in_ten_lines" in pages
    assert {"methods/ilm_vp_2023", "results/accuracy_per_query", "api/programs"} <= pages


def test_the_site_loads_nothing_from_other_servers(site):
    loaded = {
        (page.name, address)
        for page in site.rglob("*.html")
        for address in LOADED.findall(page.read_text())
    }
    assert loaded == set()
    sheets = "".join(sheet.read_text() for sheet in site.rglob("*.css"))
    assert not re.findall(r"url\((?:https?:)?//|@import", sheets)


def test_a_notebook_shows_what_its_cells_wrote_and_drew(site):
    page = (site / "notebooks" / "white_box_in_ten_lines.html").read_text()
    assert "logistic regression on pixels: 0.935" in page
    drawn = re.findall(r'src="(white_box_in_ten_lines_\d+_\d+\.png)"', page)
    assert len(drawn) == 3
    assert all((site / "notebooks" / name).read_bytes().startswith(b"\x89PNG") for name in drawn)


def test_every_public_name_is_in_the_reference(site):
    import keras_reprogram

    shown = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    names = set(keras_reprogram.__all__) - {"__version__"}
    assert {name for name in names if f'id="keras_reprogram.{name}"' not in shown} == set()


def test_the_index_for_language_models_names_pages_that_are_there(site):
    links = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text())
    assert {"index.md", "start.md", "methods/ilm_vp_2023.md", "api/programs.html"} <= set(links)
    assert [link for link in links if not (site / link).is_file()] == []


def messages_of_the_package():
    """Every text in the package, with … where values are put in."""
    for path in sorted((REPOSITORY / "keras_reprogram").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                yield "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def error_headings():
    text = (DOCS / "troubleshooting.md").read_text()
    return [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]


@pytest.fixture(scope="module")
def messages():
    return list(messages_of_the_package())


def test_troubleshooting_quotes_texts_of_the_package(messages):
    headings = error_headings()
    assert len(headings) > 30
    unknown = [h for h in headings if not any(h.removesuffix("…").rstrip() in m for m in messages)]
    assert unknown == []
