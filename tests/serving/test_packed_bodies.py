"""Bodies packed with gzip, as TF Serving unpacks them, and what they may become."""

import gzip
import tracemalloc
import zlib

import pytest
from served_models import CLIENT, url_of

from keras_reprogram.serving import ModelServer, ServerLimits, ServingError
from keras_reprogram.serving.rest import unpacked

BODY = b'{"instances": [1.0, 2.0, 5.0]}'


@pytest.fixture(scope="module")
def narrow(half_folder):
    limits = ServerLimits(request_bytes=20_000)
    with ModelServer(half_folder, limits=limits, poll_seconds=60) as server:
        yield server


def post(server, body, encoding):
    headers = {"Content-Encoding": encoding}
    return CLIENT.post(url_of(server, ":predict"), content=body, headers=headers)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("X-GZIP", gzip.compress(BODY, mtime=0)),
        ("gzip", gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0)),
        ("identity", BODY),
    ],
)
def test_packed_requests_are_answered(narrow, encoding, body):
    answer = post(narrow, body, encoding)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [3.5, 4.0, 5.5]})


def test_a_bomb_is_refused_before_it_is_unpacked(narrow):
    bomb = gzip.compress(b'{"instances": [' + b"1.0," * 1_000_000, mtime=0)
    assert len(bomb) < 20_000
    answer = post(narrow, bomb, "gzip")
    assert answer.status_code == 413
    assert "at most 20,000 bytes" in answer.json()["error"]
    larger = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    assert unpacked(larger, "gzip", 20_000) is None
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_the_limit_itself_is_allowed():
    packed = gzip.compress(bytes(100))
    assert unpacked(packed, "gzip", 100) == bytes(100)
    assert unpacked(packed, "gzip", 99) is None
    two = gzip.compress(bytes(60)) + gzip.compress(bytes(40))
    assert (unpacked(two, "gzip", 100), unpacked(two, "gzip", 99)) == (bytes(100), None)


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        ("deflate", zlib.compress(BODY), r"gzip. Received: Content-Encoding 'deflate'"),
        ("gzip, gzip", gzip.compress(BODY, mtime=0), "Received: Content-Encoding 'gzip, gzip'"),
        ("gzip", BODY, "Received: other data"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-9], "Received: its beginning alone"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-4] + b"abcd", "Received: other data"),
        ("gzip", b"", "Received: its beginning alone"),
        ("gzip", gzip.compress(b"", mtime=0) * 17, "Received: more than 16 files in one"),
    ],
)
def test_what_is_no_gzip_is_refused(narrow, encoding, body, message):
    with pytest.raises(ServingError, match=message):
        unpacked(body, encoding, 20_000)
    assert post(narrow, body, encoding).status_code == 400
