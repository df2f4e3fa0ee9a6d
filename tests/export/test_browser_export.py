"""What is written of a page beside its model, and what is refused before anything is."""

import base64
import hashlib
import html
import json
import re

import pytest
from small_models import frozen_source, program_for

from keras_reprogram import DenseMap, ProgramLayer, ReprogrammedModel
from keras_reprogram.export import browser_export, export_browser_page


def model_of(**program):
    source = frozen_source()
    return ReprogrammedModel(program_for(source, **program), source, DenseMap(3))


def written(folder, monkeypatch, **options):
    """A page whose model is not converted, which takes seconds."""

    def convert(model, path, *, target):
        assert target == "browser"
        path.write_bytes(b"model")
        return path

    class Facts:
        class_names, target_shape = ("a", "b", "c"), (4, 4, 1)
        target_range, thresholds = (0.0, 255.0), None

    monkeypatch.setattr(browser_export, "export_litert", convert)
    monkeypatch.setattr(browser_export, "read_litert_facts", lambda path: Facts)
    return export_browser_page(model_of(target_range=(0, 255)), folder, **options)


def part(page, pattern):
    return html.unescape(re.search(pattern, page, re.DOTALL)[1])


@pytest.mark.parametrize("cdn", [False, True])
def test_its_policy_names_what_it_loads_and_nothing_else(tmp_path, monkeypatch, cdn) -> None:
    folder = written(tmp_path / "page", monkeypatch, title="A <b> & c", cdn=cdn)
    page = (folder / "index.html").read_text()
    assert part(page, "<title>(.*?)</title>") == "A <b> & c"
    import_map = part(page, '<script type="importmap">(.*?)</script>')
    policy = part(page, 'Content-Security-Policy" content="(.*?)"')
    known = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    assert f"'sha256-{known}'" in policy
    assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
    places = json.loads(import_map)["imports"]
    versions = json.loads((folder / "package.json").read_text())["dependencies"]
    for place in places.values():
        assert place.startswith("https://cdn.jsdelivr.net/npm/" if cdn else "./litertjs/")
    assert ("https:" in policy) == cdn
    if cdn:
        assert f"core@{versions['@litertjs/core']}/dist/index.js" in places["@litertjs/core"]


def test_its_package_is_pinned_with_its_hash(tmp_path, monkeypatch) -> None:
    folder = written(tmp_path / "page", monkeypatch)
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert locked[""]["dependencies"] == wanted
    for name, version in wanted.items():
        found = locked[f"node_modules/{name}"]
        assert found["version"] == version and found["integrity"].startswith("sha512-")
    facts = json.loads((folder / "model.json").read_text())
    assert facts["class_names"] == ["a", "b", "c"] and facts["fit"] == "stretch"


def test_an_earlier_page_is_replaced_and_keeps_its_runtime(tmp_path, monkeypatch) -> None:
    folder = written(tmp_path / "page", monkeypatch)
    (folder / "litertjs").mkdir()
    (folder / "litertjs" / "here").touch()
    (folder / "old").touch()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        written(folder, monkeypatch)
    written(folder, monkeypatch, overwrite=True)
    assert (folder / "litertjs" / "here").exists() and not (folder / "old").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="Only an earlier page is replaced"):
        written(tmp_path / "other", monkeypatch, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "page"]


def test_what_a_page_cannot_take_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"Received: `batch=2`"):
        export_browser_page(model_of(target_range=(0, 255)), tmp_path / "page", batch=2)
    with pytest.raises(ValueError, match="target_range"):
        export_browser_page(model_of(target_range=None), tmp_path / "page")
    source = frozen_source()
    program = ProgramLayer((4, 4, 2), source.source_shape, source_range=(0, 255))
    model = ReprogrammedModel(program, source, DenseMap(3))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        export_browser_page(model, tmp_path / "page")
    assert list(tmp_path.iterdir()) == []
