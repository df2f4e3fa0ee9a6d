"""What TF Serving's REST interface answers, without a web server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from keras_reprogram.serving.json_answers import (
    classes_text,
    outputs_text,
    predictions_text,
    values_text,
)
from keras_reprogram.serving.json_examples import examples_of_json
from keras_reprogram.serving.json_tensors import inputs_of_json, signature_name_of
from keras_reprogram.serving.json_text import parse_object
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.server_metrics import Call
from keras_reprogram.serving.server_state import ServerState
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.status_messages import metadata_text, status_message, status_text

_WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(?:/(metadata))?", re.IGNORECASE)
_LARGEST_VERSION = 2**63 - 1


class RestAnswers:
    """Answers the requests under `/v1/`.

    Args:
        state: of the server.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def get(self, path: str) -> bytes:
        """The status of versions, or the metadata of one.

        Args:
            path: as sent.

        Raises:
            ServingError: in TF Serving's words.
        """
        match = _GET.fullmatch(path)
        if match is None:
            raise ServingError(f"Malformed request: GET {path}")
        name, version, label = _spec(match)
        if not name:
            raise ServingError("Missing model name in request.")
        versions = self._state.versions
        with self._state.metrics.call("rest", "metadata" if match[4] else "status"):
            if match[4]:
                return metadata_text(versions.find(name, version, label), versions.model_name)
            return status_text(status_message(versions.statuses(name, version, label)))

    def post(self, path: str, body: bytes) -> bytes:
        """The model's answer.

        Args:
            path: as sent.
            body: as sent.

        Raises:
            ServingError: in TF Serving's words where it has any.
        """
        match = _POST.fullmatch(path)
        if match is None:
            raise ServingError(f"Malformed request: POST {path}")
        method = match[4].lower()
        with self._state.request("rest", method) as call:
            document = parse_object(body)
            signature_name = signature_name_of(document)
            servable = self._state.versions.find(*_spec(match))
            if servable.signature(signature_name) is not None:
                call.signature = signature_key(signature_name)
            answer = {"predict": self._predict, "classify": self._classify}.get(
                method, self._regress
            )
            return answer(call, servable, signature_name, document)

    def _predict(
        self, call: Call, servable: Servable, name: str, document: dict[str, Any]
    ) -> bytes:
        signature = servable.signature(name)
        if signature is None:
            raise ServingError(
                f'Serving signature name: "{signature_key(name)}" not found in signature def'
            )
        inputs = inputs_of_json(document, signature)
        outputs = self._state.calls.predict(call, servable, name, inputs)
        return predictions_text(outputs) if "instances" in document else outputs_text(outputs)

    def _classify(
        self, call: Call, servable: Servable, name: str, document: dict[str, Any]
    ) -> bytes:
        examples = examples_of_json(document)
        return classes_text(self._state.calls.classify(call, servable, name, examples))

    def _regress(
        self, call: Call, servable: Servable, name: str, document: dict[str, Any]
    ) -> bytes:
        examples = examples_of_json(document)
        return values_text(self._state.calls.regress(call, servable, name, examples))


def _spec(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """Model, version and label of a path."""
    name = unquote(match[1] or "")
    label = unquote(match[3]) if match[3] else None
    if not match[2]:
        return name, None, label
    # Python reads numbers of any length slowly; a version has 64 bits.
    if len(match[2]) > 19 or not match[2].isascii() or int(match[2]) > _LARGEST_VERSION:
        raise ServingError(f"Failed to convert version: {match[2][:40]} to numeric.")
    return name, int(match[2]), label
