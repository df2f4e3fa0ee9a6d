"""FakeTFServing: TF Serving's REST interface on a socket of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from keras_reprogram.serving.json_answers import outputs_text, predictions_text
from keras_reprogram.serving.json_tensors import inputs_of_json, signature_name_of
from keras_reprogram.serving.json_text import parse_object
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.testing.faults import Fault
from keras_reprogram.testing.hosted_model import HostedModel
from keras_reprogram.testing.http_fake import Answer, HTTPFake
from keras_reprogram.testing.served_model import ServedModel, check_key

_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict)?", re.IGNORECASE
)


class FakeTFServing(HTTPFake):
    """TF Serving's REST interface: predict by rows and by columns, and the model's status.

    Images and pixels are billed alike: pixels are rounded to the 8 bits of a PNG file.

    Args:
        hosted: the model and its bill.
        model_name: what clients must call it.
        versions: that are loaded; the largest answers unless another is asked for.
        version_labels: label -> version.
        signatures: name -> `(input, "pixels" or "encoded")`; `None` for those of our exports.
        output_names: more than one makes an object of every row; `"classes"` holds the labels.
        options: as of `HTTPFake`: `faults`, `latency`, `at_a_time`, `certificate`; and `key`,
            which TF Serving has no use for, and a proxy before it has.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_tf_serving import FakeTFServing

    signs = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    with FakeTFServing(HostedModel.of(signs), "signs") as service:
        assert service.address.startswith("http://127.0.0.1:")
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        model_name: str = "model",
        *,
        versions: Sequence[int] = (1,),
        version_labels: Mapping[str, int] | None = None,
        signatures: Mapping[str, tuple[str, str]] | None = None,
        output_names: Sequence[str] = ("scores",),
        **options: Any,
    ) -> None:
        self.served = ServedModel(
            hosted, model_name, versions, version_labels, signatures, output_names
        )
        super().__init__(hosted, **options)

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        try:
            check_key(self.key, headers.get("Authorization"))
            return Answer(200, self._answer(method, path, body, fault))
        except ServingError as error:
            return Answer(error.http_status, {"error": error.text})

    def _answer(self, method: str, path: str, body: bytes, fault: Fault) -> Any:
        match = _PATH.fullmatch(path)
        if match is None or (method == "POST") != bool(match[4]):
            raise ServingError(f"Malformed request: {method} {path}")
        version = int(match[2]) if match[2] else None
        if method == "GET":
            if match[3]:
                version = self.served.version(match[1], None, match[3])
            return _status_json(self.served.statuses(match[1], version))
        self.served.version(match[1], version, match[3])
        return self._predict(parse_object(body), fault)

    def _predict(self, request: dict[str, Any], fault: Fault) -> bytes:
        signature = self.served.signature(signature_name_of(request) or "serving_default")
        outputs = self.served.outputs(signature, inputs_of_json(request, signature), fault)
        return predictions_text(outputs) if "instances" in request else outputs_text(outputs)


def _status_json(versions: list[int]) -> Any:
    fine = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": str(version), "state": "AVAILABLE", "status": fine} for version in versions
        ]
    }
