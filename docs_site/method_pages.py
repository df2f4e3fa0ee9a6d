"""MkDocs hook: a page for each published method, in one mould, from the docstring of its preset."""

import ast
import inspect
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parent.parent / "keras_reprogram" / "methods"

BUILD = """\
```python
from keras_reprogram.methods import build_method

method = build_method("{name}", source, data.target_shape, num_classes=10)
method.fit(data.train_images, data.train_labels)
```
"""
SECTION = re.compile(r"^(Args|Returns|Raises|References):\n", re.MULTILINE)
ARGUMENT = re.compile(r"^(\*{0,2}\w+): (.*)$")


def presets() -> dict[str, str]:
    """Name of a preset's function -> its docstring, in the order of the package's list."""
    found = {}
    for path in FOLDER.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = ast.get_docstring(node) or ""
    listed = next(
        ast.literal_eval(node.value)
        for node in ast.parse((FOLDER / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign)
    )
    return {name: found[name] for name in listed if re.search(r"_\d{4}", name)}


def method_page(name: str, docstring: str) -> str:
    """The page of one method, in Markdown."""
    text, *parts = SECTION.split(docstring)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    summary, _, body = text.partition("\n\n")
    what, _, deviations = body.partition("Deviations: ")
    lines = [f"# {name}", summary.strip(), "## Build it"]
    if "variant" in _arguments(sections["Args"]):
        variants = re.findall(r'^- `"(\w+)"`', what, re.MULTILINE)
        lines += [BUILD.format(name=f"{name.removesuffix('_variant')}_{variants[0]}")]
    else:
        lines += [BUILD.format(name=name)]
    lines += ["## What it does", what.strip(), "## Where it departs from the paper"]
    lines += [_sentence(deviations), "## What it needs", _needs(sections), "## Arguments"]
    lines += ["\n".join(_argument_rows(sections["Args"]))]
    if "References" in sections:
        lines += ["## Paper", inspect.cleandoc(sections["References"])]
    return "\n\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    text = text.strip() or "Nothing beyond what is said above."
    return text[0].upper() + text[1:]


def _needs(sections: dict[str, str]) -> str:
    needs = _sentence(_arguments(sections["Args"])["source"])
    if "Raises" not in sections:
        return needs
    error, _, cause = " ".join(inspect.cleandoc(sections["Raises"]).split()).partition(": ")
    return f"{needs} A `{error}` is raised {cause}"


def _arguments(section: str) -> dict[str, str]:
    """Name of an argument -> its text, on one line."""
    arguments, name = {}, ""
    for line in inspect.cleandoc(section).splitlines():
        match = ARGUMENT.match(line)
        if match:
            name = match[1]
            arguments[name] = match[2]
        elif name:
            arguments[name] += f" {line.strip()}"
    return arguments


def _argument_rows(section: str) -> list[str]:
    rows = [f"| `{name}` | {text} |" for name, text in _arguments(section).items()]
    return ["| argument | meaning |", "| --- | --- |", *rows]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages where the navigation has `methods/*`."""
    section = next(entry["Methods"] for entry in config.nav if "Methods" in entry)
    at = section.index("methods/*")
    section[at : at + 1] = [f"methods/{name}.md" for name in presets()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for name, docstring in presets().items():
        page = method_page(name, docstring)
        files.append(File.generated(config, f"methods/{name}.md", content=page))
    return files
