"""`--source FILE.py:NAME` and `MODULE:NAME`: a source that Python code makes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_reprogram.source import Source


def is_python_source(text: str) -> bool:
    """Whether a text has one of the two forms.

    Args:
        text: what follows `--source`.

    Example:
    ```python
    from keras_reprogram.command_line.python_source import is_python_source

    assert is_python_source("service.py:make_source") and is_python_source("package.service:SOURCE")
    assert not is_python_source("MobileNet:alpha=0.25")
    ```
    """
    place, _, name = text.rpartition(":")
    if not name.isidentifier():
        return False
    return place.endswith(".py") or all(part.isidentifier() for part in place.split("."))


def python_source(text: str) -> Source:
    r"""Imports a file or a module, and takes the source from it.

    Args:
        text: what `is_python_source` is true for. The name is that of a `Source`, or of a function
            without arguments that returns one. A module may lie in the current folder.

    Returns:
        The source.

    Raises:
        ValueError: if there is no such file, module or name, or it is no source.

    Example:
    ```python
    from pathlib import Path
    from keras_reprogram.command_line.python_source import python_source

    Path("signs.py").write_text(
        "from keras_reprogram import LiteRTSource, embedded_path\n"
        "def signs():\n"
        "    path = embedded_path('traffic_signs.tflite')\n"
        "    return LiteRTSource(path, value_range=(0, 255))\n"
    )
    assert python_source("signs.py:signs").num_labels == 43
    ```
    """
    from keras_reprogram.source import Source

    place, _, name = text.rpartition(":")
    module = _file(place, text) if place.endswith(".py") else _module(place, text)
    if not hasattr(module, name):
        raise ValueError(
            f"{place} must define the source that --source names. Received: no {name}. It has "
            f"{', '.join(_candidates(module)) or 'no names of its own'}."
        )
    found = getattr(module, name)
    source = found if isinstance(found, Source) or not callable(found) else found()
    if not isinstance(source, Source):
        raise ValueError(
            f"{text} must be a keras_reprogram.Source, or a function without arguments that "
            f"returns one. Received: {type(source).__name__}."
        )
    return source


def _file(place: str, text: str) -> ModuleType:
    path = Path(place).expanduser()
    if not path.is_file():
        raise ValueError(
            f"--source FILE.py:NAME must name a file. Received: {text!r}. There is no {place}."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{place} must be a file of Python code. Received: another kind of file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _module(place: str, text: str) -> ModuleType:
    # Where a command starts, Python looks beside the command, not in the current folder.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"--source MODULE:NAME must name a module that Python can import. Received: {text!r}; "
            f"there is no module {error.name}."
        ) from None


def _candidates(module: Any) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")]
