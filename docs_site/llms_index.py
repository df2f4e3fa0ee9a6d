"""MkDocs hook: `llms.txt`, an index for language models, and each page's Markdown beside it."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation

GENERATED_FROM_CODE = "api/"

_navigation: list[Navigation] = []


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:
    """Remembers the pages in the order of the navigation."""
    _navigation[:] = [nav]


def on_post_build(config: MkDocsConfig) -> None:
    """Writes the index, and the Markdown of each page that is not made of docstrings alone."""
    site = Path(config.site_dir)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    section = None
    for page in _navigation[0].pages:
        its_section = page.ancestors[-1].title if page.ancestors else ""
        if its_section != section:
            section = its_section
            lines += ["", f"## {section}" if section else "## Pages", ""]
        place = page.file.src_uri
        if place.startswith(GENERATED_FROM_CODE):
            place = page.file.dest_uri
        else:
            (site / place).write_text(page.markdown or "")
        lines.append(f"- [{page.title}]({place})")
    (site / "llms.txt").write_text("\n".join(lines) + "\n")
