"""`keras-reprogram serve`: a folder of exports behind TensorFlow Serving's interfaces."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.console import Progress, with_exit_codes
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import check_source, resolve_source

if TYPE_CHECKING:
    from keras_reprogram.serving import ModelServer
    from keras_reprogram.source import Source

_BANNER = (
    "This server is for development, gateways and tests. TensorFlow Serving is recommended for "
    "everything else and serves the same folders. There are no keys and no TLS: everyone who can "
    "reach the ports can send requests."
)


@with_exit_codes
@with_source_settings
def serve(
    *,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A folder of versions, as export writes them, or of a split export.",
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="For a split export: the source model, named as for train, or FILE.py:NAME for "
            "one that Python code makes.",
        ),
    ] = None,
    settings: SourceSettings,
    model_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the model in requests. [default: the folder's name]"
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port to listen on; 0 picks a free one."
        ),
    ] = 8501,
    grpc_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port to listen on; 0 picks a free one."
        ),
    ] = 8500,
    versions: Annotated[
        str, typer.Option(metavar="WHICH", help="latest, all, or numbers such as 1,3.")
    ] = "latest",
    version_label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=VERSION", help="Label for a version; can be given several times."
        ),
    ] = None,
    poll_seconds: Annotated[
        float, typer.Option(min=0.05, metavar="S", help="Seconds between scans for new versions.")
    ] = 1.0,
    drain_seconds: Annotated[
        float,
        typer.Option(
            min=0, metavar="S", help="Seconds that running requests have to finish at shutdown."
        ),
    ] = 30.0,
    max_rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most images per request.")
    ] = 4096,
    max_in_flight: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most requests that run at once.")
    ] = 8,
    ui: Annotated[bool, typer.Option("--ui", help="Also serve a demo page to draw on.")] = False,
) -> None:
    """Serve exports over TensorFlow Serving's REST and gRPC.

    The server switches to new versions in the folder while it runs. Ctrl-C answers the running
    requests and ends it. Example:

    keras-reprogram serve saved_models/digits --ui
    """
    chosen, labels = _versions(versions), _labels(version_label or [])
    if source is None:
        settings.refuse("a folder", "they describe the source that --source names")
    else:
        check_source(source)
    from keras_reprogram.serving import ModelServer, ServerLimits

    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("keras_reprogram.serving").setLevel(logging.INFO)
    server = ModelServer(
        folder,
        source=None if source is None else _source(source, settings),
        model_name=model_name,
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        versions=chosen,
        version_labels=labels,
        limits=ServerLimits(rows=max_rows, in_flight=max_in_flight),
        poll_seconds=poll_seconds,
        drain_seconds=drain_seconds,
        page=ui,
    )
    ended = _when_asked_to_end()
    with server:
        _say(server, ui)
        ended.wait()
        Progress(quiet=False).note("Ending: requests that run are answered, new ones refused.")


def _source(text: str, settings: SourceSettings) -> Source:
    return resolve_source(text, opaque=True, settings=settings).source


def _versions(text: str) -> Any:
    if text in ("latest", "all"):
        return text
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--versions must be latest, all, or numbers such as 1,3. Received: {text!r}."
        ) from None


def _labels(texts: list[str]) -> dict[str, int]:
    labels = {}
    for text in texts:
        label, _, version = text.rpartition("=")
        if not label or not (version.isascii() and version.isdigit()):
            raise ValueError(
                f"--version-label must be LABEL=VERSION, such as stable=1. Received: {text!r}."
            )
        labels[label] = int(version)
    return labels


def _when_asked_to_end() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C interrupts at once."""
    ended = threading.Event()

    def end(number: int, frame: Any) -> None:
        del number, frame
        ended.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    return ended


def _say(server: ModelServer, ui: bool) -> None:
    name, served = server.versions.model_name, server.versions.latest()
    url = f"{server.rest_address}/v1/models/{name}"
    Progress(quiet=False).note(_BANNER)
    lines = [
        f"{name}, version {served.version}",
        f"REST  {url}",
        f"gRPC  {server.grpc_address}",
        f"figures  {server.rest_address}/metrics    health  {server.rest_address}/health",
        *([f"page  {server.rest_address}/"] if ui else []),
        f"curl {url}",
    ]
    if "image_bytes" in served.signature_defs:
        instance = '{\\"b64\\": \\"$(base64 < photo.png | tr -d "\\n")\\"}'
        body = f'{{\\"signature_name\\": \\"image_bytes\\", \\"instances\\": [{instance}]}}'
        lines.append(f'curl {url}:predict -d "{body}"')
    if "text" in served.signature_defs:
        body = '{"signature_name": "text", "instances": ["a text"]}'
        lines.append(f"curl {url}:predict -d '{body}'")
    print("\n".join(lines), flush=True)
