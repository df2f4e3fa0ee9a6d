"""The hash of a file or folder: names and bytes, nothing else."""

import hashlib

import pytest

from keras_reprogram.source.fingerprints import check_sha256, sha256_of


def test_file_hash_is_plain_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == hashlib.sha256(b"abc").hexdigest()


def folder_of(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return sha256_of(path)


def test_folder_hash_tells_names_bytes_and_borders_apart(tmp_path):
    same = {"a/b": b"1", "c": b"2"}
    contents = [same, {"a/b": b"2", "c": b"1"}, {"a/b": b"1", "d": b"2"}, {"a/b": b"1c2", "c": b""}]
    # The bytes of one file are not to be mistaken for the name of the next.
    contents += [{"x": b"yz"}, {"x": b"", "yz": b""}]
    hashes = [folder_of(tmp_path / str(i), content) for i, content in enumerate(contents)]
    assert len(set(hashes)) == len(hashes)
    assert folder_of(tmp_path / "again", same) == hashes[0]


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert check_sha256(path, None) == check_sha256(path, sha256_of(path))
    with pytest.raises(ValueError, match="Expected sha256 00. Received: sha256 ba78"):
        check_sha256(path, "00")
    with pytest.raises(FileNotFoundError, match="Check the path"):
        sha256_of(tmp_path / "missing")
