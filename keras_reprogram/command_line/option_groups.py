"""Options that several commands take together, as one parameter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def with_options(
    command: Callable[..., None], name: str, read: Callable[..., Any]
) -> Callable[..., None]:
    """Gives a command the options of `read`, in place of its parameter `name`, which it returns."""
    own = inspect.signature(command, eval_str=True)
    options = inspect.signature(read, eval_str=True).parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        said = {option: given.pop(option) for option in options}
        command(**{name: read(**said)}, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += options.values() if parameter.name == name else [parameter]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run
