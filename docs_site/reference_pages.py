"""MkDocs hook: the API reference, one page a folder, of the names that the package lists.

The lists are read from the source text (`__all__`, or the names of `lazy_names`), so that the site
is built without TensorFlow.
"""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = "keras_reprogram"
FOLDER = Path(__file__).parent.parent / PACKAGE

# Title of a page -> modules whose names of `keras_reprogram` it shows, in the order of the data.
PAGES = {
    "Programs": ("program",),
    "Sources": ("source",),
    "Services": ("source.remote",),
    "Output maps": ("output_map",),
    "The model": (
        "model.reprogrammed_model",
        "opaque.query_estimate",
        "opaque.step_check",
        "opaque.view_choice",
        "opaque.result",
        "asking.prediction_sets",
        "model.program_file",
    ),
    "Fits": ("fitting",),
    "Estimators": ("estimators",),
    "Methods": ("methods",),
    "Student": ("student",),
    "Export": ("export",),
    "Errors": ("source.errors",),
}
# Folders whose own names come besides.
FOLDERS = ("datasets", "baselines", "report", "audit", "scoring", "serving", "testing")


def names_of(module: Path) -> dict[str, tuple[str, ...]]:
    """The public names of an `__init__.py`, by the module that defines them where it says so."""
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_names":
            return ast.literal_eval(node.args[1])
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return {"": tuple(ast.literal_eval(node.value))}
    raise ValueError(f"{module} lists no public names: `__all__` or `lazy_names` is expected.")


def reference_pages() -> dict[str, str]:
    """Place on the site -> Markdown."""
    listed = names_of(FOLDER / "__init__.py")
    shown = {place for places in PAGES.values() for place in places}
    if shown != set(listed):
        raise ValueError(f"{__file__}: no page for the names of {sorted(set(listed) ^ shown)}.")
    pages = {}
    for title, places in PAGES.items():
        names = [f"{PACKAGE}.{name}" for place in places for name in listed[place]]
        pages[_place(title)] = _page(title, f"`from {PACKAGE} import ...`", names)
    for folder in FOLDERS:
        names = [n for some in names_of(FOLDER / folder / "__init__.py").values() for n in some]
        line = f"`from {PACKAGE}.{folder} import ...`"
        full = [f"{PACKAGE}.{folder}.{name}" for name in names]
        pages[_place(folder)] = _page(folder.capitalize(), line, full)
    index = "\n".join(
        f"- [{text.splitlines()[0].removeprefix('# ')}]({Path(place).name})"
        for place, text in pages.items()
    )
    return {"api/index.md": f"# API reference\n\n{INTRODUCTION}\n\n{index}\n"} | pages


INTRODUCTION = """\
What `keras_reprogram` and its folders list is public, as is the
[command line](../command_line.md). Other modules are internal: they may move."""


def _place(title: str) -> str:
    return f"api/{title.lower().replace(' ', '_')}.md"


def _page(title: str, line: str, names: list[str]) -> str:
    return "\n\n".join([f"# {title}", line, *(f"::: {name}" for name in names)]) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages where the navigation has `api/*`."""
    section = next(entry["API"] for entry in config.nav if "API" in entry)
    at = section.index("api/*")
    section[at : at + 1] = [place for place in reference_pages() if place != "api/index.md"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for place, text in reference_pages().items():
        files.append(File.generated(config, place, content=text))
    return files
