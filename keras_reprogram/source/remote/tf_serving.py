"""TFServingSource: a model in TensorFlow Serving, asked over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import keras

from keras_reprogram.source.remote.http_source import HTTPSource, json_body
from keras_reprogram.source.remote.payloads import decimal_levels, decoded


@keras.saving.register_keras_serializable(package="keras_reprogram")
class TFServingSource(HTTPSource):
    """A model in TensorFlow Serving, asked over REST (port 8501).

    Images are sent as the model's signature wants them: `"pixels"`, lists of floats in
    `value_range`, rounded to the 256 steps that the ledger knows images by; or `"encoded"`, PNG or
    JPEG files, which take a fifth of the bytes. For gRPC see `TFServingGRPCSource`.

    Args:
        address: `"http://host:8501"`; a list of them for replicas that answer alike.
        model_name: `--model_name` of the server.
        source_shape: `(H, W, C)`.
        labels: names of the scores, in order.
        version: of the model; `None` for the one that the server chooses, the newest.
        version_label: a label of the server's configuration instead of a number.
        signature_name: of the model.
        input_name: the signature's input; a signature with one input needs none.
        output_name: the output with the scores; a signature with one output needs none.
        input_format: `"pixels"` or `"encoded"`.
        options: as of `HTTPSource` and `RemoteSource`: `value_range`, `identity`, `ledger`,
            `images_per_request`, `concurrency`, `retries`, `key_variable`, `timeout`, ...

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for wrong arguments.

    Example:
    ```python
    from keras_reprogram.source.remote.tf_serving import TFServingSource

    source = TFServingSource(
        ["http://127.0.0.1:8501", "http://127.0.0.1:8502"],
        "signs",
        (32, 32, 3),
        labels=[f"sign {number}" for number in range(43)],
        version=1,
        value_range=(0, 255),
        identity="signs, version 1",
    )
    assert source.num_labels == 43      # nothing was asked yet
    ```
    """

    hints = HTTPSource.hints | {
        400: "Check `signature_name`, `input_name`, `input_format` and `source_shape`.",
        404: "Check the model's name and version: GET <address>/v1/models/<name> lists them.",
    }
    request_fields = (
        *HTTPSource.request_fields, "signature_name", "input_name", "input_format", "value_range"
    )  # fmt: skip

    def __init__(
        self,
        address: str | Sequence[str],
        model_name: str,
        source_shape: tuple[int, int, int],
        labels: Sequence[str],
        *,
        version: int | None = None,
        version_label: str | None = None,
        signature_name: str = "serving_default",
        input_name: str | None = None,
        output_name: str | None = None,
        input_format: str = "pixels",
        **options: Any,
    ) -> None:
        check_model(model_name, version, version_label, input_format)
        path = f"/v1/models/{quote(model_name, safe='')}"
        if version is not None:
            path += f"/versions/{version}"
        if version_label is not None:
            path += f"/labels/{quote(version_label, safe='')}"
        addresses = [address] if isinstance(address, str) else address
        urls = [f"{one.rstrip('/')}{path}:predict" for one in addresses]
        # Given here, so that a caller who hands them in hears that there is no room for them.
        super().__init__(
            urls, source_shape, labels, build_request=None, read_answer=None, **options
        )
        self.model_name, self.version, self.version_label = model_name, version, version_label
        self.signature_name, self.input_format = signature_name, input_format
        self.input_name, self.output_name = input_name, output_name

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        rows = self._rows(payloads)
        if self.input_name is not None:
            rows = [{self.input_name: row} for row in rows]
        return json_body({"signature_name": self.signature_name, "instances": rows})

    def read(self, answer: bytes) -> Any:
        rows = json.loads(answer)["predictions"]
        if not isinstance(rows[0], dict):
            # The server leaves the name of an only output out.
            return rows
        name = chosen_output(rows[0], self.output_name)
        return [row[name] for row in rows]

    @property
    def request_options(self) -> str:
        return json.dumps([
            self.model_name, self.version, self.version_label, self.signature_name,
            self.input_name, self.output_name, self.input_format,
            self.value_range if self.input_format == "pixels" else None,
        ])  # fmt: skip

    def _rows(self, payloads: list[bytes]) -> list[Any]:
        if self.input_format == "encoded":
            return [{"b64": base64.b64encode(image).decode()} for image in payloads]
        return decimal_levels(self.value_range)[decoded(payloads)].tolist()


INPUT_FORMATS = ("pixels", "encoded")


def check_model(
    model_name: str, version: int | None, version_label: str | None, input_format: str
) -> None:
    """Raises a ValueError unless TF Serving can be asked like that.

    Args:
        model_name: any name without `/` and `:`.
        version: 0 or above, or `None`.
        version_label: instead of a version.
        input_format: one of `INPUT_FORMATS`.
    """
    if not model_name or set("/:") & set(model_name):
        raise ValueError(
            "`model_name` must be a name without / and :. "
            f"Received: {model_name!r}. Pass the server's `--model_name`, and not a path."
        )
    if version is not None and (version_label is not None or version < 0):
        raise ValueError(
            "`version` must be a number of at least 0, without a `version_label`. Received: "
            f"version={version}, version_label={version_label!r}. Pass one of them, or none."
        )
    if input_format not in INPUT_FORMATS:
        raise ValueError(
            f"`input_format` must be one of {INPUT_FORMATS}. Received: {input_format!r}."
        )


def chosen_output(names: Iterable[str], output_name: str | None) -> str:
    """The output that holds the scores.

    Args:
        names: of the outputs that the model has.
        output_name: the one that is wanted, or `None` for the only one.

    Raises:
        ValueError: if there is no such output, or several and none is wanted.
    """
    there = sorted(names)
    if output_name in there:
        return str(output_name)
    if output_name is None and len(there) == 1:
        return there[0]
    raise ValueError(
        f"`output_name` must be an output of the model: {', '.join(there)}. "
        f"Received: {output_name!r}. Pass the one that holds the scores."
    )
