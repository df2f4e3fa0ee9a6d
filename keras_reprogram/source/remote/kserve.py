"""KServeSource: a model behind the open inference protocol, version 2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import keras
import numpy as np

from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource, json_body
from keras_reprogram.source.remote.payloads import decimal_levels, decoded
from keras_reprogram.source.remote.tf_serving import chosen_output

DATATYPES = ("FP32", "UINT8", "BYTES")
_JSON_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class KServeClient(HTTPClient):
    """Posts images to a V2 server as the input of a model wants them."""

    model_name: str
    model_version: str | int | None
    input_name: str
    output_name: str | None
    datatype: str
    value_range: tuple[float, float]

    hints = HTTPClient.hints | {
        400: "Check the model's name, `input_name`, `output_name`, `datatype` and `source_shape`.",
        404: "Check the URL, the model's name and version: GET <url>/v2/models/<name>.",
    }

    @property
    def request_options(self) -> str:
        low, high = self.value_range
        return json.dumps([
            self.model_name, self.model_version, self.input_name, self.output_name, self.datatype,
            [float(low), float(high)] if self.datatype == "FP32" else None,
        ])  # fmt: skip

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        tensor: dict[str, Any] = {"name": self.input_name, "datatype": self.datatype}
        request: dict[str, Any] = {"inputs": [tensor]}
        if self.output_name is not None:
            request["outputs"] = [{"name": self.output_name}]
        if self.datatype == "BYTES":
            return self._with_bytes(request, tensor, payloads)
        codes = decoded(payloads)
        tensor["shape"] = list(codes.shape)
        values = decimal_levels(self.value_range)[codes] if self.datatype == "FP32" else codes
        tensor["data"] = values.ravel().tolist()
        return json_body(request)

    def _with_bytes(
        self, request: dict[str, Any], tensor: dict[str, Any], payloads: list[bytes]
    ) -> tuple[bytes, dict[str, str]]:
        binary = b"".join(len(image).to_bytes(4, "little") + image for image in payloads)
        tensor["shape"] = [len(payloads)]
        tensor["parameters"] = {"binary_data_size": len(binary)}
        head = json.dumps(request).encode()
        headers = {_JSON_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        return head + binary, headers


@keras.saving.register_keras_serializable(package="keras_reprogram")
class KServeSource(HTTPSource):
    """A model that KServe, Triton, OpenVINO Model Server or another V2 server offers over HTTP.

    Tensors are JSON, which every V2 server reads. `"BYTES"` follow the JSON as they are (the
    binary tensor data extension of KServe and Triton), as JSON cannot hold them.

    Args:
        url: `"http://host:8000"`; a list of them for replicas that answer alike.
        model_name: as the server calls it.
        source_shape: `(H, W, C)`.
        class_names: names of the scores, in order.
        value_range: `(low, high)` of the pixels that callers send.
        input_name: the model's input.
        output_name: the output with the scores; a model with one output needs none.
        model_version: `None` for the one that the server chooses.
        datatype: `"FP32"`, floats in `value_range` rounded to 256 steps; `"UINT8"`, values from 0
            to 255; or `"BYTES"`, PNG or JPEG files.
        options: as of `HTTPSource` and `RemoteSource`: `identity`, `ledger`,
            `images_per_request`, `concurrency`, `retries`, `key_variable`, `timeout`, ...

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.kserve import KServeSource

    source = KServeSource(
        "http://127.0.0.1:8000",
        "signs",
        (32, 32, 3),
        class_names=[f"sign {number}" for number in range(43)],
        input_name="image",
        datatype="UINT8",
        value_range=(0, 255),
        identity="signs, version 1",
    )
    assert source.num_labels == 43      # nothing was asked yet
    ```
    """

    client: KServeClient

    def __init__(
        self,
        url: str | Sequence[str],
        model_name: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        value_range: tuple[float, float],
        input_name: str,
        output_name: str | None = None,
        model_version: str | int | None = None,
        datatype: str = "FP32",
        **options: Any,
    ) -> None:
        if datatype not in DATATYPES:
            raise ValueError(f"`datatype` must be one of {DATATYPES}. Received: {datatype!r}.")
        if not model_name or not input_name:
            raise ValueError(
                "`model_name` and `input_name` must be names. Received: "
                f"{model_name!r}, {input_name!r}. GET <url>/v2/models/<name> lists the inputs."
            )
        path = f"/v2/models/{quote(model_name, safe='')}"
        if model_version is not None:
            path += f"/versions/{quote(str(model_version), safe='')}"
        urls = [
            f"{one.rstrip('/')}{path}/infer" for one in ([url] if isinstance(url, str) else url)
        ]
        facts = (model_name, model_version, input_name, output_name, datatype, value_range)
        options |= {"value_range": value_range, "client": partial(KServeClient, *facts)}
        # `None` is passed here, so that a caller's own value raises a TypeError.
        super().__init__(
            urls, source_shape, class_names, build_request=None, read_answer=None, **options
        )

    def read(self, answer: bytes) -> Any:
        outputs = {output["name"]: output for output in json.loads(answer)["outputs"]}
        output = outputs[chosen_output(outputs, self.client.output_name)]
        return np.asarray(output["data"], np.float64).reshape(output["shape"])
