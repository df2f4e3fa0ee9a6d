"""MkDocs hook: pages and pictures that live elsewhere in the repository, and links to them.

A page links to files as they lie in the repository, so that its links work there too. On the
site a link to a page or picture that the site has leads to it, and a link to any other file of
the repository becomes its path, as text. A link to nothing is left for MkDocs to refuse.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parent.parent
DOCS = "docs"

# File of the repository -> place on the site.
ELSEWHERE = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/benchmark/README.md": "results/accuracy_per_query.md",
    "examples/benchmark/accuracy_per_query.png": "pictures/accuracy_per_query.png",
    "examples/benchmark/coverage.png": "pictures/coverage.png",
    "examples/benchmark/none_of_these.md": "results/none_of_these.md",
    "examples/edge/README.md": "edge.md",
    "examples/pictures/digits_views.png": "pictures/digits_views.png",
    "examples/reproduce/README.md": "results/papers.md",
    "examples/serving/page.png": "pictures/page.png",
    "keras_reprogram/source/embedded/MODEL_CARD.md": "model_card.md",
}
NOTEBOOKS = sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb"))
# `notebook_pages` makes Markdown of them.
ELSEWHERE |= {f"examples/notebooks/{file.name}": f"notebooks/{file.stem}.md" for file in NOTEBOOKS}
ORIGINS = {place: origin for origin, place in ELSEWHERE.items()}

# From left to right: a fenced block, a link (its text may hold code), code on a line.
TOKEN = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)"
    r"|(?P<picture>!?)\[(?P<text>[^\]\n]*)\]\((?P<target>[^)\s]+)\)"
    r"|`[^`\n]+`",
    re.MULTILINE | re.DOTALL,
)
OTHER_SERVER = re.compile(r"[a-z]+:|//|#")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and pictures of `ELSEWHERE`."""
    for origin, place in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(REPOSITORY / origin)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files of the repository into links to places on the site."""
    place = page.file.src_uri
    origin = PurePosixPath(ORIGINS.get(place, f"{DOCS}/{place}"))

    def site_link(match: re.Match[str]) -> str:
        if match["target"] is None or OTHER_SERVER.match(match["target"]):
            return match[0]
        target, _, anchor = match["target"].partition("#")
        linked = os.path.normpath(origin.parent / target)
        there = ELSEWHERE.get(linked, linked.removeprefix(f"{DOCS}/"))
        if linked in ELSEWHERE or linked.startswith(f"{DOCS}/"):
            away = os.path.relpath(there, PurePosixPath(place).parent)
            return f"{match['picture']}[{match['text']}]({away}{anchor and '#' + anchor})"
        if (REPOSITORY / linked).exists():
            said = match["text"].strip("`")
            return f"`{linked}`" if said in linked else f"{match['text']} (`{linked}`)"
        return match[0]

    return TOKEN.sub(site_link, markdown)
