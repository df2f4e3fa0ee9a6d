"""export_browser_page: a folder with a page that runs the model in a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

from keras_reprogram.export.graph_decoder import why_no_files
from keras_reprogram.export.litert import export_litert
from keras_reprogram.export.litert_facts import LiteRTFacts, read_litert_facts
from keras_reprogram.files import folder_aside, replace_folder, take_free_name
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

MODEL_FILE, FACTS_FILE, INDEX_FILE = "model.tflite", "model.json", "index.html"
_ASSETS, _RUNTIME, _PACKAGES = "browser_page", "litertjs", "package.json"
# Where `npm ci` puts LiteRT.js (package.json beside the page), and where a CDN has it.
_LITERT_FOLDER = f"./{_RUNTIME}/{{package}}/"
_CDN_FOLDER = "https://cdn.jsdelivr.net/npm/@litertjs/{package}@{version}/"
_IMPORTED = {
    "@litertjs/core": ("core", "dist/index.js"),
    "@litertjs/core/wasm/": ("core", "wasm/"),
    "@litertjs/wasm-utils": ("wasm-utils", "dist/index.js"),
}
_OF_THE_PAGE = ("target", "batch", "rgb_input")


def export_browser_page(
    model: ReprogrammedModel,
    folder: str | Path,
    *,
    title: str | None = None,
    cdn: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Writes a page that classifies image files and the camera's picture in the browser.

    The folder is static: any web server serves it (`python -m http.server`), and no image leaves
    the browser. It holds the page, `model.tflite` (as `export_litert(target="browser")` writes it,
    float16 unless `form` says), and `model.json`, what the page must know of it. LiteRT.js is not
    in it: `npm ci --prefix FOLDER` brings the version that the page was tested with into the folder
    and checks its hash. Image files are framed and resized as in training.

    Args:
        model: a trained model whose images are grey or RGB.
        folder: where the page goes; it must not exist, or hold an earlier page and `overwrite`.
        title: the page's heading; `None` for the folder's name.
        cdn: load LiteRT.js from cdn.jsdelivr.net when the page is opened, without `npm ci`. Who
            opens the page is then known there.
        overwrite: replace an earlier page, all of its folder but LiteRT.js of the same version.
        **options: those of `export_litert`, such as `form` and `calibration_images`, but for
            `target`, `batch` and `rgb_input`, which are the page's own.

    Returns:
        The folder.

    Raises:
        ValueError: for a model without image files, such as one of two channels or one that does
            not know its pixels' range, for a folder that holds anything else, and as
            `export_litert`.
        FileExistsError: if the folder exists and `overwrite` is false.

    Example:
    ```python
    import keras
    from keras_reprogram import (
        FrozenSource, NewHead, ProgramLayer, ReprogrammedModel, embedded_path
    )
    from keras_reprogram.export import export_browser_page

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255), output="features")
    program = ProgramLayer(
        (8, 8, 1), source.source_shape, source_range=source.value_range, target_range=(0, 255)
    )
    model = ReprogrammedModel(program, source, NewHead(num_classes=10))
    export_browser_page(model, "digits_page", form="float32")
    ```
    """
    folder = Path(folder)
    _check_folder(folder, overwrite)
    check_page(model, options)
    with folder_aside(folder.parent) as written:
        written.mkdir()
        file = export_litert(model, written / MODEL_FILE, target="browser", **options)
        _write_page(written, folder.resolve().name if title is None else title, cdn)
        facts = page_facts(model, read_litert_facts(file))
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        (written / FACTS_FILE).write_text(text, encoding="utf-8")
        if not overwrite:
            return take_free_name(written, [folder])
        _keep_runtime(folder, written)
        return replace_folder(written, folder)


def page_facts(model: ReprogrammedModel, facts: LiteRTFacts) -> dict[str, Any]:
    """What the page must know of the model."""
    return {
        "model_file": MODEL_FILE,
        "class_names": list(facts.class_names),
        "target_shape": list(facts.target_shape),
        "target_range": facts.target_range,
        "thresholds": facts.thresholds,
        "fit": model.image_reading.fit,
    }


def next_steps(folder: Path, cdn: bool) -> str:
    """What is left to do until the page can be opened."""
    serve = f"python -m http.server --bind 127.0.0.1 --directory {folder}"
    bring = "" if cdn else f"npm ci --prefix {folder}  # LiteRT.js, once\n"
    return f"To open the page:\n{bring}{serve}  # http://127.0.0.1:8000"


def _check_folder(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"{folder} exists already. Pass `overwrite=True` to replace the page."
        )
    if not (folder / FACTS_FILE).is_file() or not (folder / INDEX_FILE).is_file():
        raise ValueError(
            "Only an earlier page is replaced. Received: "
            f"{folder}, which has no {FACTS_FILE} and {INDEX_FILE}. Choose another folder."
        )


def check_page(model: ReprogrammedModel, options: dict[str, Any]) -> None:
    """Refuses a model whose images no file holds, and options that are the page's own."""
    if chosen := [name for name in _OF_THE_PAGE if options.get(name) is not None]:
        raise ValueError(
            f"A page takes one image a call, as the model does. Received: `{chosen[0]}="
            f"{options[chosen[0]]!r}`. Leave it out, or write the file alone with `export_litert`."
        )
    if reason := why_no_files(model):
        raise ValueError(
            "A page reads image files, which this model cannot take. Received: a model of which "
            f"is known: {reason} Write the file alone with `export_litert`."
        )


def _write_page(folder: Path, title: str, cdn: bool) -> None:
    with importlib.resources.as_file(
        importlib.resources.files("keras_reprogram.export") / _ASSETS
    ) as assets:
        shutil.copytree(assets, folder, dirs_exist_ok=True)
    # GitHub Pages would look for a site to build.
    (folder / ".nojekyll").touch()
    versions = json.loads((folder / _PACKAGES).read_text(encoding="utf-8"))["dependencies"]
    import_map = _import_map(versions, cdn)
    page = Template((folder / INDEX_FILE).read_text(encoding="utf-8")).substitute(
        title=html.escape(title), import_map=import_map, policy=_policy(import_map, versions, cdn)
    )
    (folder / INDEX_FILE).write_text(page, encoding="utf-8")


def _keep_runtime(earlier: Path, written: Path) -> None:
    """LiteRT.js of the same version need not be brought again."""
    runtime, packages = earlier / _RUNTIME, earlier / _PACKAGES
    if not runtime.is_dir() or not packages.is_file():
        return
    if packages.read_bytes() == (written / _PACKAGES).read_bytes():
        shutil.copytree(runtime, written / _RUNTIME)


def _import_map(versions: dict[str, str], cdn: bool) -> str:
    """Where the browser finds LiteRT.js's modules."""
    folder = _CDN_FOLDER if cdn else _LITERT_FOLDER
    places = {
        name: folder.format(package=package, version=versions[f"@litertjs/{package}"]) + path
        for name, (package, path) in _IMPORTED.items()
    }
    return json.dumps({"imports": places})


def _policy(import_map: str, versions: dict[str, str], cdn: bool) -> str:
    """The content security policy: this server alone, no script but its files and the map."""
    known = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    others = {
        f" {_CDN_FOLDER.format(package=package, version=versions[f'@litertjs/{package}'])}"
        for package, _ in _IMPORTED.values()
        if cdn
    }
    there = "".join(sorted(others))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{known}' 'wasm-unsafe-eval'{there}",
            f"connect-src 'self'{there}",
            "img-src 'self'",
            "style-src 'self'",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
