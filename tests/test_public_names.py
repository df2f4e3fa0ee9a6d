"""What `import keras_reprogram` promises: every public name, and classes that Keras finds."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import keras_reprogram
from keras_reprogram import source

FOLDER = Path(keras_reprogram.__file__).parent


@pytest.mark.parametrize("name", keras_reprogram.__all__)
def test_public_names_are_there(name):
    assert getattr(keras_reprogram, name) is not None
    assert name in dir(keras_reprogram)


def test_unknown_names_are_refused_as_usual():
    with pytest.raises(AttributeError, match="module 'keras_reprogram' has no attribute 'Sauce'"):
        _ = keras_reprogram.Sauce


@pytest.mark.parametrize("package", [keras_reprogram, source])
def test_type_checkers_see_the_same_names(package):
    tree = ast.parse(Path(package.__file__).read_text())
    (checked,) = (
        node for node in tree.body if isinstance(node, ast.If) and "TYPE" in ast.unparse(node.test)
    )
    seen = {alias.name for node in checked.body for alias in node.names}
    assert seen == set(package.__all__) - {"__version__"}
    assert all(hasattr(package, name) for name in seen)


def test_every_registered_class_is_imported_with_the_package():
    imported = [f"keras_reprogram.{place}" for place in keras_reprogram._WITH_REGISTERED_CLASSES]
    assert all(import_module(place) for place in imported)
    registering = [
        path for path in FOLDER.rglob("*.py") if "register_keras_serializable" in path.read_text()
    ]
    assert len(registering) > 20
    for path in registering:
        parts = path.relative_to(FOLDER.parent).with_suffix("").parts
        names = {".".join(parts), ".".join(parts[:-1])}
        assert names & set(imported), f"{path.name} registers a class that a file may need"


def test_the_old_place_of_estimators_and_fits_says_the_new_one():
    with pytest.warns(DeprecationWarning, match="Import `SPSA` from `keras_reprogram.estimators`"):
        from keras_reprogram.training import SPSA
    assert SPSA is keras_reprogram.SPSA
    with pytest.raises(ImportError, match="cannot import name 'Sauce'"):
        from keras_reprogram.training import Sauce  # noqa: F401
