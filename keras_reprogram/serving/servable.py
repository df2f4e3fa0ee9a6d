"""Servable: the contract of one version of a model that is served."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np


class Servable(abc.ABC):
    """One version of a model, loaded. Any number of threads may call `run` at once.

    Attributes:
        version: its number.
        signature_defs: name -> `SignatureDef`, as clients ask for them.
        facts: what `keras_reprogram.json` says of it; empty for models of others.
        costs_queries: whether an answer may cost money elsewhere.
    """

    version: int
    signature_defs: Mapping[str, Any]
    facts: Mapping[str, Any]
    costs_queries: bool = False

    @abc.abstractmethod
    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            signature_name: one of `signature_defs`.
            inputs: name -> array, of the type that the signature says; texts are arrays of
                `object` that hold bytes.

        Returns:
            The signature's outputs, in the same form.

        Raises:
            ServingError: if the model refuses what it is asked, or fails.
        """

    def signature(self, name: str) -> Any:
        """The definition of a signature, or `None` if there is none of this name.

        Args:
            name: `""` for the default.
        """
        return self.signature_defs.get(signature_key(name))


def signature_key(name: str) -> str:
    """The name of the signature that a request means.

    Args:
        name: as sent; `""` is the default.
    """
    return name or "serving_default"
