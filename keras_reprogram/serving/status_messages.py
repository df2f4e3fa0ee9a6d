"""TF Serving's messages about versions and signatures, as protocol buffers and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import CODE_NUMBERS
from keras_reprogram.serving.model_versions import VersionStatus
from keras_reprogram.serving.servable import Servable

SIGNATURES_FIELD = "signature_def"


def status_message(statuses: Sequence[VersionStatus]) -> Any:
    """A `GetModelStatusResponse`."""
    with needs_extra("tensorflow-serving-api", "server"):
        from tensorflow_serving.apis import get_model_status_pb2 as messages

    answer = messages.GetModelStatusResponse()
    for status in statuses:
        added = answer.model_version_status.add(
            version=status.version, state=messages.ModelVersionStatus.State.Value(status.state)
        )
        # Set even where it is 0, so that clients find a status.
        added.status.error_code = CODE_NUMBERS[status.error_code]
        added.status.error_message = status.error_message
        added.status.SetInParent()
    return answer


def metadata_message(servable: Servable, model_name: str) -> Any:
    """A `GetModelMetadataResponse`."""
    from tensorflow_serving.apis import get_model_metadata_pb2 as messages

    answer = messages.GetModelMetadataResponse()
    answer.model_spec.name = model_name
    answer.model_spec.version.value = servable.version
    answer.metadata[SIGNATURES_FIELD].Pack(_signature_map(servable))
    return answer


def status_text(message: Any) -> bytes:
    """The JSON of a `GetModelStatusResponse`."""
    return _json(message).encode()


def metadata_text(servable: Servable, model_name: str) -> bytes:
    """The JSON of a version's metadata."""
    spec = _json(metadata_message(servable, model_name).model_spec)
    signatures = _json(_signature_map(servable))
    return (
        f'{{\n"model_spec":{spec},\n"metadata": {{"{SIGNATURES_FIELD}": {signatures}}}\n}}\n'
    ).encode()


def _signature_map(servable: Servable) -> Any:
    from tensorflow_serving.apis import get_model_metadata_pb2 as messages

    found = messages.SignatureDefMap()
    for name in sorted(servable.signature_defs):
        found.signature_def[name].CopyFrom(servable.signature_defs[name])
    return found


def _json(message: Any) -> str:
    from google.protobuf import json_format

    text = json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=1,
    )
    return f"{text}\n"
