"""TFServingSource: a model in TensorFlow Serving, asked over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import keras

from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource, json_body
from keras_reprogram.source.remote.payloads import decimal_levels, decoded

INPUT_FORMATS = ("pixels", "encoded")


@dataclass(frozen=True)
class ServedModel:
    """The model, version, signature and format that TF Serving is asked for, validated."""

    model_name: str
    version: int | None
    version_label: str | None
    signature_name: str
    input_name: str | None
    output_name: str | None
    input_format: str
    value_range: tuple[float, float]

    def __post_init__(self) -> None:
        name, version, label = self.model_name, self.version, self.version_label
        if not name or set("/:") & set(name):
            raise ValueError(
                "`model_name` must be a name without / and :. "
                f"Received: {name!r}. Pass the server's `--model_name`, and not a path."
            )
        if version is not None and (label is not None or version < 0):
            raise ValueError(
                "`version` must be a number of at least 0, without a `version_label`. Received: "
                f"version={version}, version_label={label!r}. Pass one of them, or none."
            )
        if self.input_format not in INPUT_FORMATS:
            raise ValueError(
                f"`input_format` must be one of {INPUT_FORMATS}. Received: {self.input_format!r}."
            )

    @property
    def path(self) -> str:
        """The model's path in REST URLs."""
        path = f"/v1/models/{quote(self.model_name, safe='')}"
        if self.version is not None:
            path += f"/versions/{self.version}"
        if self.version_label is not None:
            path += f"/labels/{quote(self.version_label, safe='')}"
        return path

    @property
    def request_options(self) -> str:
        low, high = self.value_range
        return json.dumps([
            self.model_name, self.version, self.version_label, self.signature_name,
            self.input_name, self.output_name, self.input_format,
            [float(low), float(high)] if self.input_format == "pixels" else None,
        ])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TFServingClient(HTTPClient):
    """Posts images to TF Serving as the signature of a model wants them."""

    model: ServedModel

    hints = HTTPClient.hints | {
        400: "Check `signature_name`, `input_name`, `input_format` and `source_shape`.",
        404: "Check the model's name and version: GET <address>/v1/models/<name> lists them.",
    }

    @property
    def request_options(self) -> str:
        return self.model.request_options

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        rows: list[Any]
        if self.model.input_format == "encoded":
            rows = [{"b64": base64.b64encode(image).decode()} for image in payloads]
        else:
            rows = decimal_levels(self.model.value_range)[decoded(payloads)].tolist()
        if self.model.input_name is not None:
            rows = [{self.model.input_name: row} for row in rows]
        return json_body({"signature_name": self.model.signature_name, "instances": rows})


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
        class_names: names of the scores, in order.
        value_range: `(low, high)` of the pixels that callers send.
        version: of the model; `None` for the one that the server chooses, the newest.
        version_label: a label of the server's configuration instead of a number.
        signature_name: of the model.
        input_name: the signature's input; a signature with one input needs none.
        output_name: the output with the scores; a signature with one output needs none.
        input_format: `"pixels"` or `"encoded"`.
        options: as of `HTTPSource` and `RemoteSource`: `identity`, `ledger`,
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
        class_names=[f"sign {number}" for number in range(43)],
        version=1,
        value_range=(0, 255),
        identity="signs, version 1",
    )
    assert source.num_labels == 43      # nothing was asked yet
    ```
    """

    client: TFServingClient

    def __init__(
        self,
        address: str | Sequence[str],
        model_name: str,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        value_range: tuple[float, float],
        version: int | None = None,
        version_label: str | None = None,
        signature_name: str = "serving_default",
        input_name: str | None = None,
        output_name: str | None = None,
        input_format: str = "pixels",
        **options: Any,
    ) -> None:
        model = ServedModel(
            model_name, version, version_label, signature_name,
            input_name, output_name, input_format, value_range,
        )  # fmt: skip
        addresses = [address] if isinstance(address, str) else address
        # `None` is passed here, so that a caller's own value raises a TypeError.
        urls = [f"{one.rstrip('/')}{model.path}:predict" for one in addresses]
        options |= {"value_range": value_range, "client": partial(TFServingClient, model=model)}
        super().__init__(
            urls, source_shape, class_names, build_request=None, read_answer=None, **options
        )

    def read(self, answer: bytes) -> Any:
        rows = json.loads(answer)["predictions"]
        if not isinstance(rows[0], dict):
            # The server leaves the name of an only output out.
            return rows
        name = chosen_output(rows[0], self.client.model.output_name)
        return [row[name] for row in rows]


def chosen_output(names: Iterable[str], output_name: str | None) -> str:
    """The output with the scores, out of those that the model has; `None` is the only one."""
    there = sorted(names)
    if output_name in there:
        return str(output_name)
    if output_name is None and len(there) == 1:
        return there[0]
    raise ValueError(
        f"`output_name` must be an output of the model: {', '.join(there)}. "
        f"Received: {output_name!r}. Pass the one that holds the scores."
    )
