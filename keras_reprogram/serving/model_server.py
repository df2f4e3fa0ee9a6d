"""ModelServer: a folder of exported versions, served as TensorFlow Serving serves them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_reprogram.export.server_files import WARMUP_FILE
from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import ServingError, address
from keras_reprogram.serving.gateway import GatewayServable
from keras_reprogram.serving.grpc_server import GrpcServer
from keras_reprogram.serving.json_examples import serialized_examples
from keras_reprogram.serving.model_versions import (
    FolderWatch,
    ModelFolder,
    ModelVersions,
    VersionPolicy,
)
from keras_reprogram.serving.request_checks import check_inputs
from keras_reprogram.serving.rest import RestServer
from keras_reprogram.serving.servable import ExportedServable, Servable, signature_key
from keras_reprogram.serving.server_state import ServerLimits, ServerMetrics, ServerState
from keras_reprogram.serving.tensors import array_of_proto, array_of_texts
from keras_reprogram.source import Source


class ModelServer:
    """Speaks TensorFlow Serving's REST and gRPC for one model.

    For development, tests, and gateways to sources that no SavedModel can hold. For the rest
    TensorFlow Serving is recommended; it serves the same folders.

    Args:
        folder: of version folders, each a SavedModel; or of the two halves `program/` and
            `output_map/` of a model whose source is asked through `source`.
        source: answers between the halves: any `Source`, one call at a time.
        model_name: what clients call the model; `None` for the folder's name.
        host: to listen at. Whoever reaches it may ask: there are no keys and no TLS.
        rest_port: 0 for any free one.
        grpc_port: 0 for any free one.
        versions: `"latest"`, `"all"`, a version, or several.
        version_labels: label -> version.
        limits: of requests; `None` for those of `ServerLimits()`.
        poll_seconds: between two looks for new versions.
        drain_seconds: that requests may still run after the end.
        page: serve the demo page at `/`.

    Attributes:
        versions: what is loaded; `versions.latest()` is the version that answers.
        rest_address: `http://host:port`.
        grpc_address: `host:port`.

    Raises:
        ValueError: if there is nothing to serve, or nothing that loads.
        OSError: if a port is taken.
        ImportError: if the extra `server` is not installed.

    Example:
    ```python
    from keras_reprogram.serving import ModelServer

    def serve(folder):
        with ModelServer(folder, model_name="digits") as server:
            print(server.rest_address, server.grpc_address)
            input("Press Enter to stop. ")
    ```
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        source: Source | None = None,
        model_name: str | None = None,
        host: str = "127.0.0.1",
        rest_port: int = 0,
        grpc_port: int = 0,
        versions: str | int | Collection[int] = "latest",
        version_labels: Mapping[str, int] | None = None,
        limits: ServerLimits | None = None,
        poll_seconds: float = 1.0,
        drain_seconds: float = 30.0,
        page: bool = False,
    ) -> None:
        self._folder, self._source, self._drain_seconds = ModelFolder(folder), source, drain_seconds
        self._check_source()
        name = model_name or self._folder.path.resolve().name
        labels = dict(version_labels or {})
        policy = VersionPolicy.of(versions)
        self.versions = ModelVersions(self._folder, name, self._load, policy, labels)
        self._state = ServerState(self.versions, limits or ServerLimits(), ServerMetrics(name))
        if source is not None:
            self._state.metrics.watch_source(source)
        self._watch = FolderWatch(self.versions, poll_seconds)
        self._rest = RestServer(self._state, host, rest_port, page=page)
        try:
            self._grpc = GrpcServer(self._state, host, grpc_port)
        except BaseException:
            self._rest.stop(0)
            raise
        self.rest_address = f"http://{address(host, self._rest.port)}"
        self.grpc_address = address(host, self._grpc.port)

    def start(self) -> None:
        """Loads the versions and begins to answer.

        Raises:
            ValueError: if nothing loads, or a label's version is not served.
        """
        try:
            self._load_first()
        except BaseException:
            self.stop()
            raise
        self._rest.start()
        self._grpc.start()
        self._watch.start()

    def stop(self) -> None:
        """Refuses new requests, waits for running ones, and stops."""
        self._state.draining.set()
        self._watch.stop()
        ended = self._grpc.stop(self._drain_seconds)
        self._rest.stop(self._drain_seconds)
        ended.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _load_first(self) -> None:
        found = self._folder.versions()
        if not self.versions.policy.chosen(found):
            raise ValueError(
                f"The versions to serve must be in {self._folder.path}, which has "
                f"{', '.join(map(str, found))}. Received: {self.versions.policy.only}."
            )
        self.versions.refresh()
        if not self.versions.available:
            statuses = self.versions.statuses(self.versions.model_name)
            said = [f"version {one.version}, {one.error_message}" for one in statuses]
            raise ValueError(
                f"No version in {self._folder.path} can be served. Received: {'; '.join(said)} "
                "Export the model again."
            )
        try:
            self.versions.check_labels(self.versions.labels)
        except ServingError as error:
            raise ValueError(f"{error} Serve that version too, or leave the label out.") from None

    def _load(self, version: int) -> Servable:
        first, *others = self._folder.folders(version)
        if self._source is None:
            servable = ExportedServable(first, version)
            replay_warmup(servable, first)
            return servable
        return GatewayServable(first, others[0], version, self._source)

    def _check_source(self) -> None:
        path = self._folder.path
        if self._folder.is_split and self._source is None:
            raise ValueError(
                f"{path} holds the two halves of a split export, which need the source between "
                f"them. Received: no source. Pass it as `source` (--source)."
            )
        if self._source is not None and not self._folder.is_split:
            raise ValueError(
                f"{path} holds whole models, which contain their source. Received: a "
                "source too. Leave it out, or serve what `export_halves` wrote."
            )


# As many as TF Serving takes.
_MOST_RECORDS = 1000
_MOST_BYTES = 2**30


def replay_warmup(servable: Servable, folder: Path) -> None:
    """Replays a version's warm-up requests, so that no client waits for the graph."""
    if not (folder / WARMUP_FILE).is_file():
        return
    with needs_extra("tensorflow-serving-api", "server"):
        from tensorflow_serving.apis import prediction_log_pb2
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).take(_MOST_RECORDS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = getattr(log, log.WhichOneof("log_type")).request
        inputs = _inputs(request)
        name = signature_key(request.model_spec.signature_name)
        if name not in servable.signature_defs:
            raise ServingError(f"The warm-up file asks for a signature {name} that is not there.")
        check_inputs(servable.signature_defs[name], inputs)
        servable.run(name, inputs)


def _inputs(request: Any) -> Mapping[str, np.ndarray]:
    if hasattr(request, "inputs"):
        return {name: array_of_proto(proto, _MOST_BYTES) for name, proto in request.inputs.items()}
    return {"inputs": array_of_texts(serialized_examples(request.input))}
