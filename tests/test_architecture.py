"""The arrows of ARCHITECTURE.md, held by reading the package's syntax trees."""

import ast
import graphlib
import inspect
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import keras_reprogram

REPOSITORY = Path(__file__).parent.parent
PACKAGE = "keras_reprogram"

# From top to bottom: a part imports from the rows below its own, never from a part beside it.
LAYERS = (
    {"command_line", "__main__"},
    {"__init__"},
    {"testing", "scoring", "mlflow"},
    {"audit", "serving"},
    {"export", "datasets", "baselines", "report", "methods", "student"},
    {"model"},
    {"opaque"},
    {"asking", "training"},
    # A joint source places images, and says which scores a map reads.
    {"source"},
    {"program", "output_map", "estimators", "fitting"},
    # Modules with no arrows of their own; every part may import them, they import no part.
    {
        *("version", "arguments", "files", "inner_networks"),
        *("lazy_imports", "optional_packages", "threads"),
    },
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

# Where TensorFlow itself is meant; everything else runs on any Keras backend.
TENSORFLOW_ALLOWED = (
    "source/saved_model_source.py",
    "source/litert_source.py",
    "source/python_source.py",
    "asking/",
    "fitting/device_products.py",
    "opaque/recipe.py",
    "opaque/step_check.py",
    "model/",
    "report/program_images.py",
    "export/",
    "mlflow/",
    "serving/",
    "scoring/inputs.py",
    "datasets/",
)

# Folders that only those import who ask for what the optional package does: they subclass it.
OPTIONAL_ALLOWED = {
    "apache_beam": "scoring/beam.py",
    "tensorflow_datasets": "datasets/builders/",
}

# Who decodes image files: in Python, in a graph; payloads that were encoded here; TFDS's sizes.
DECODERS = (
    "datasets/image_files.py",
    "datasets/tfds.py",
    "export/graph_decoder.py",
    "source/remote/payloads.py",
    "testing/",
)
DECODING = re.compile(r"Image\.open|tf\.(io|image)\.decode_(image|png|jpeg|gif|bmp)")

# Distributions whose import name is not their own name.
IMPORT_NAMES = {
    "google-cloud-vision": "google",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "tensorflow-serving-api": "tensorflow_serving",
}


class Import(NamedTuple):
    """One imported dotted name; `late` if inside a function, so paid for only when called."""

    name: str
    late: bool
    line: int


def imports_in(tree: ast.AST, path: str) -> Iterator[Import]:
    """Every name that the file at `path` (relative to the package) imports, made absolute."""
    late = {id(n) for f in ast.walk(tree) if isinstance(f, FUNCTIONS) for n in ast.walk(f)}
    late |= {id(n) for i in ast.walk(tree) if is_type_checking(i) for n in ast.walk(i)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, id(node) in late, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            module = absolute_module(node, path)
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", id(node) in late, node.lineno)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def absolute_module(node: ast.ImportFrom, path: str) -> str:
    if node.level == 0:
        return str(node.module)
    folders = [PACKAGE, *Path(path).parts[:-1]]
    base = folders[: len(folders) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def part_of(path: str) -> str:
    """The first name below the package: a folder, or a module without its suffix."""
    return Path(path).parts[0].removesuffix(".py")


def imported_part(name: str) -> str | None:
    """Which of our parts `name` belongs to; `__init__` for a name of the package itself."""
    names = name.split(".")
    if names[0] != PACKAGE:
        return None
    is_part = len(names) > 1 and (names[1] in LEVEL or part_exists(names[1]))
    return names[1] if is_part else "__init__"


def part_exists(part: str) -> bool:
    folder = REPOSITORY / PACKAGE
    return (folder / part).is_dir() or (folder / f"{part}.py").is_file()


def dependencies() -> tuple[set[str], set[str]]:
    """Import names of the core dependencies, and of the users' extras."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = [line for extra in extras if extra != "dev" for line in extras[extra]]
    return set(map(import_name, project["dependencies"])), set(map(import_name, optional))


def import_name(requirement: str) -> str:
    name = requirement.partition(">")[0].partition("[")[0].strip()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


CORE, OPTIONAL = dependencies()


def arrow_violations(path: str, imported: Import) -> Iterator[str]:
    here, there = part_of(path), imported_part(imported.name)
    if there is None or here == there:
        return
    unknown = {here, there} - LEVEL.keys()
    if unknown:
        yield f"{unknown.pop()} has no row in LAYERS"
    elif LEVEL[here] >= LEVEL[there]:
        yield f"{here} must not import {there}"


def third_party_violations(path: str, imported: Import) -> Iterator[str]:
    top, *rest = imported.name.split(".")
    if top == "keras" and any(name == "src" or name.startswith("_") for name in rest):
        yield f"{imported.name} is private to Keras"
    if top == "tensorflow" and not path.startswith(TENSORFLOW_ALLOWED):
        yield "tensorflow is not meant here"
    if top == "tensorflow" and rest[:1] == ["python"]:
        yield f"{imported.name} is private to TensorFlow"
    if top in {PACKAGE, *sys.stdlib_module_names, *CORE}:
        return
    if top not in OPTIONAL:
        yield f"{top} is not a declared dependency"
    elif not imported.late and not path.startswith(OPTIONAL_ALLOWED.get(top, path + "/")):
        yield f"{top} is optional: import it in the function that needs it"


def statement_violations(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    own = private_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert: raise ValueError instead"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            if part_of(path) != "command_line":
                yield node.lineno, "print: log it, or `say` it where Keras shows its progress"
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node).startswith("keras.src"):
                yield node.lineno, "keras.src is private to Keras"
            if DECODING.fullmatch(ast.unparse(node)) and not path.startswith(DECODERS):
                yield node.lineno, "use decode_image or file_decoder, which read alike"
            allowed = own | PUBLIC_IN_NAMED_TUPLES | PRIVATE_ALLOWED.get(path, set())
            allowed |= PRIVATE_NAMES if is_own_object(node.value) else set()
            if is_private(node.attr) and node.attr not in allowed:
                yield node.lineno, f"{ast.unparse(node)} is private to another class"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_own_object(node: ast.AST) -> bool:
    return ast.unparse(node) in ("self", "cls", "super()")


def private_names(tree: ast.AST) -> set[str]:
    """Private names that a file's classes and functions define, or that `self` gets."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (*FUNCTIONS[:2], ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return {name for name in names if is_private(name)}


def violations(source: str, path: str) -> list[str]:
    """What the file `path` (relative to the package) does that the architecture forbids."""
    tree = ast.parse(source)
    found = list(statement_violations(tree, path))
    for imported in imports_in(tree, path):
        found += [(imported.line, text) for text in arrow_violations(path, imported)]
        found += [(imported.line, text) for text in third_party_violations(path, imported)]
    return [f"{PACKAGE}/{path}:{line}: {text}" for line, text in sorted(set(found))]


PATHS = sorted(
    str(path.relative_to(REPOSITORY / PACKAGE)) for path in (REPOSITORY / PACKAGE).rglob("*.py")
)


PRIVATE_NAMES = {
    name
    for path in PATHS
    for name in private_names(ast.parse((REPOSITORY / PACKAGE / path).read_text()))
}
PUBLIC_IN_NAMED_TUPLES = {"_asdict", "_replace", "_fields"}
# Keras has no public way to walk layers inside of layers, nor to forget what they added as losses.
PRIVATE_ALLOWED = {
    "model/reprogrammed_model.py": {"_flatten_layers"},
    "source/network_input.py": {"_flatten_layers"},
    "source/source.py": {"_clear_losses"},
}


@pytest.mark.parametrize("path", PATHS)
def test_file_keeps_the_architecture(path: str) -> None:
    assert violations((REPOSITORY / PACKAGE / path).read_text(), path) == []


def test_every_part_has_a_layer() -> None:
    assert {part_of(path) for path in PATHS} <= LEVEL.keys()


def file_of(name: str) -> str | None:
    """The file of ours that a dotted name lies in, packages' own `__init__` aside."""
    parts = name.split(".")
    while parts[0] == PACKAGE and len(parts) > 1:
        path = "/".join(parts[1:]) + ".py"
        if path in PATHS:
            return path
        parts.pop()
    return None


def test_no_files_import_each_other_in_a_circle() -> None:
    needs = {}
    for path in PATHS:
        tree = ast.parse((REPOSITORY / PACKAGE / path).read_text())
        # Imports inside of functions and those for type checkers count.
        found = {file_of(one.name) for one in imports_in(tree, path)}
        needs[path] = found - {None, path}
    assert len(needs["model/reprogrammed_model.py"]) > 5
    assert [*graphlib.TopologicalSorter(needs).static_order()]


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("program/canvas.py", "from keras_reprogram.source import Source", "not import source"),
        ("program/canvas.py", "from ..source.source import Source", "not import source"),
        ("program/canvas.py", "from .. import source", "not import source"),
        ("fitting/x.py", "def f():\n    import keras_reprogram.program", "not import program"),
        ("source/source.py", "from keras_reprogram import ReprogrammedModel", "import __init__"),
        (
            "source/source.py",
            "import keras_reprogram.model.reprogrammed_model",
            "not import model",
        ),
        ("export/litert.py", "from keras_reprogram.report import x", "not import report"),
        ("version.py", "from keras_reprogram.program import x", "version must not import"),
        ("__init__.py", "from keras_reprogram.command_line import main", "import command_line"),
        ("new_part.py", "import keras_reprogram.program", "new_part has no row in LAYERS"),
        ("program/canvas.py", "from keras.src import backend", "private to Keras"),
        ("program/canvas.py", "import keras\nkeras.src.backend.get()", "private to Keras"),
        ("export/litert.py", "from tensorflow.python import x", "private to TensorFlow"),
        ("program/canvas.py", "import tensorflow as tf", "tensorflow is not meant here"),
        ("program/canvas.py", "def f():\n    import tensorflow", "tensorflow is not meant here"),
        ("datasets/mnist.py", "import tensorflow_datasets as tfds", "tensorflow_datasets is opt"),
        ("program/canvas.py", "import jax", "jax is not a declared dependency"),
        ("program/canvas.py", "assert True", "assert"),
        ("program/canvas.py", "print(1)", "print"),
        ("serving/rest.py", "import tensorflow as tf\ntf.io.decode_png(b'')", "use decode_image"),
        ("program/canvas.py", "def f(model):\n    model._losses", "private to another class"),
        ("program/canvas.py", "class A:\n    a = lambda self: self._clear_losses()", "private to"),
    ],
)
def test_checker_finds_what_is_forbidden(path: str, source: str, expected: str) -> None:
    found = violations(source, path)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("export/litert.py", "import tensorflow as tf\nfrom keras_reprogram.source import Source"),
        ("datasets/mnist.py", "def f():\n    import tensorflow_datasets"),
        ("datasets/builders/gtsrb.py", "import tensorflow_datasets as tfds"),
        ("program/canvas.py", "from .views import draw\nfrom ..version import __version__"),
        ("program/canvas.py", "from keras_reprogram.program.views import draw"),
        ("command_line.py", "from keras_reprogram import ReprogrammedModel"),
        ("command_line/demo.py", "print(1)"),
        ("program/canvas.py", "class A:\n    def f(self, other):\n        self._a = other._a"),
        ("source/source.py", "import json\nimport numpy\nfrom sklearn.svm import SVC"),
    ],
)
def test_checker_allows_the_rest(path: str, source: str) -> None:
    assert violations(source, path) == []


def public_classes_and_functions() -> list[str]:
    names = keras_reprogram.__all__
    return [name for name in names if callable(getattr(keras_reprogram, name))]


def test_test_files_have_names_of_their_own() -> None:
    """Pytest imports them by their file names: of two alike one is not run, now and then."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]


def test_public_names_exist_once() -> None:
    names = keras_reprogram.__all__
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(keras_reprogram, name)] == []


@pytest.mark.parametrize("name", public_classes_and_functions())
def test_public_name_has_a_docstring_with_an_example(name: str) -> None:
    text = getattr(keras_reprogram, name).__doc__ or ""
    assert "Example:" in text
    assert "```python" in text


@pytest.mark.parametrize("name", public_classes_and_functions())
def test_public_methods_of_our_own_have_docstrings(name: str) -> None:
    public = getattr(keras_reprogram, name)
    if inspect.isclass(public):
        assert undocumented_methods(public) == []


def undocumented_methods(cls: type) -> list[str]:
    """Public members that neither have a docstring nor override one that a base documents."""
    members = {
        name: member
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isroutine(member) or isinstance(member, (property, classmethod, staticmethod)))
    }
    inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
    return [name for name in members if not members[name].__doc__ and name not in inherited]


def test_undocumented_method_is_found() -> None:
    class Documented:
        def answer(self) -> None:
            """Documented."""

    class Bad(Documented):
        def answer(self) -> None: ...
        def ask(self) -> None: ...

    assert undocumented_methods(Bad) == ["ask"]
