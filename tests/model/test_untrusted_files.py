"""What SECURITY.md promises of files: no pickles, and nothing that unpacks without a bound."""

import ast
import io
import zipfile
from pathlib import Path

import pytest

import keras_reprogram
from keras_reprogram import read_description
from keras_reprogram.model import program_file

PACKAGE = Path(keras_reprogram.__file__).parent
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
GOOD = Path(__file__).parent.parent / "earlier_files" / "signs.reprogram"


def test_the_package_reads_no_pickles():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {a.name.partition(".")[0] for a in node.names} & PICKLERS, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in PICKLERS, path
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", path


def test_a_program_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(program_file, "_MOST_BYTES", 10**6)
    assert read_description(GOOD)["format"] == 1
    path = tmp_path / "zeros.reprogram"
    with zipfile.ZipFile(GOOD) as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bad:
        bad.writestr("program.json", good.read("program.json"))
        bad.writestr("weights.npz", bytes(2 * 10**6))
    assert path.stat().st_size < 50_000
    with pytest.raises(ValueError, match="it would unpack to 2,0.* bytes, more than 1,000,000"):
        read_description(path)


def test_weights_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(program_file, "_MOST_BYTES", 10**6)
    weights = io.BytesIO()
    with zipfile.ZipFile(weights, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("arr_0.npy", bytes(2 * 10**6))
    path = tmp_path / "zeros.reprogram"
    with zipfile.ZipFile(GOOD) as good, zipfile.ZipFile(path, "w") as bad:
        bad.writestr("program.json", good.read("program.json"))
        bad.writestr("weights.npz", weights.getvalue())
    with pytest.raises(ValueError, match="it would unpack to 2,000,000 bytes"):
        read_description(path)
