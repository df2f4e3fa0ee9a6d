"""What a client may not ask for, and what that costs the server."""

import base64
import io
import struct
import threading
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from served_models import CLIENT, example, post, predict_request, refusal, stubs_of, url_of
from tensorflow_serving.apis import predict_pb2
from waiting import wait_until

from keras_reprogram.serving import ModelServer, ServerLimits, ServingError
from keras_reprogram.serving.image_headers import check_pixels
from keras_reprogram.serving.tensors import array_of_texts

MOST_PIXELS = 10_000


@pytest.fixture(scope="module")
def narrow(half_folder):
    limits = ServerLimits(request_bytes=20_000, rows=8, pixels=MOST_PIXELS, in_flight=1, queued=1)
    with ModelServer(half_folder, limits=limits, poll_seconds=60) as server:
        yield server


@pytest.fixture
def narrow_stubs(narrow):
    with stubs_of(narrow) as stubs:
        yield stubs


def test_request_bytes(narrow, narrow_stubs):
    answer = post(narrow, b'{"instances": [' + b"1.0," * 10_000)
    assert answer.status_code == 413
    assert "at most 20,000 bytes" in answer.json()["error"]
    request = predict_request(narrow, x=np.zeros(10_000, np.float32))
    code, said = refusal(narrow_stubs.predictions.Predict, request)
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in said


def test_rows(narrow, narrow_stubs):
    assert post(narrow, {"instances": [1.0] * 8}).status_code == 200
    answer = post(narrow, {"instances": [1.0] * 9})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "A request must have at most 8 rows. Received: 9.",
    )
    request = predict_request(narrow, x=np.zeros(9, np.float32))
    assert refusal(narrow_stubs.predictions.Predict, request)[0] == "INVALID_ARGUMENT"


def test_a_shape_alone_takes_no_memory(narrow_stubs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_three"
    proto = request.inputs["x"]
    proto.dtype = tf.float32.as_datatype_enum
    proto.tensor_shape.dim.add(size=10**12)
    proto.float_val.append(1.0)
    code, said = refusal(narrow_stubs.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert "at most 20,000 bytes" in said


def test_json_depth(narrow):
    for opening, value in ((b"[", b"1"), (b'{"a":', b"1")):
        closing = b"]" if opening == b"[" else b"}"
        for depth in (20, 500, 3000):
            nested = opening * depth + value + closing * depth
            answer = post(narrow, b'{"instances": ' + nested + b"}")
            assert answer.status_code == 400, (depth, answer.text)
            assert len(answer.content) < 1000


def png_header(width, height):
    """A file that claims a size and holds next to nothing."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def saved(kind, size, **options):
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, kind, **options)
    return stream.getvalue()


def animated():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


LARGE = {
    "png": png_header(60_000, 60_000),
    "jpeg": saved("JPEG", (200, 200)),
    "gif": saved("GIF", (200, 200)),
}
UNREADABLE = {
    "png cut off": LARGE["png"][:20],
    "jpeg cut off": LARGE["jpeg"][:20],
    "animated gif": animated(),
    "webp": saved("WEBP", (4, 4)),
    "jpeg xl": b"\xff\x0a" + bytes(20),
}


@pytest.mark.parametrize("file", [*LARGE.values(), *UNREADABLE.values()], ids=[*LARGE, *UNREADABLE])
def test_image_files_are_judged_by_their_header(file):
    wrapped = example(**{"image/encoded": file}).SerializeToString()
    # Behind a field that TensorFlow skips.
    hidden = b"\x12\x01a" + wrapped
    for text in (file, wrapped, hidden):
        with pytest.raises(ServingError) as raised:
            check_pixels([array_of_texts([b"fine", text])], MOST_PIXELS)
        assert raised.value.code == "INVALID_ARGUMENT"


def test_other_texts_and_small_files_pass():
    texts = [b"", b"\n", b"hello", bytes(40), saved("PNG", (100, 100)), saved("JPEG", (9, 9))]
    texts += [saved("GIF", (100, 100)), saved("BMP", (4, 4)), b"\xff\xd8", b"RIFF"]
    check_pixels([array_of_texts(texts), np.zeros(3)], MOST_PIXELS)


def test_a_bomb_is_refused_before_it_is_decoded(narrow):
    file = base64.b64encode(LARGE["png"]).decode()
    request = {"signature_name": "sizes", "instances": [{"b64": file}]}
    answer = post(narrow, request)
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        "An image file must have at most 10,000 pixels. Received: 60000 x 60000."
    )
    request["instances"] = [{"b64": base64.b64encode(saved("PNG", (30, 20))).decode()}]
    assert post(narrow, request).json() == {"predictions": [[20, 30]]}


def test_requests_in_flight_and_queued(narrow, narrow_stubs):
    gate, held = narrow._state.gate, threading.Event()
    begun = threading.Barrier(2)

    def hold():
        with gate.turn():
            begun.wait()
            held.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(post(narrow, {"instances": [1.0]})))
    waiting.start()
    wait_until(lambda: gate.admitted == 2)
    try:
        refused = post(narrow, {"instances": [1.0]})
        assert refused.status_code == 429
        assert refused.json()["error"] == "The server is busy with 2 requests. Try again later."
        request = predict_request(narrow, x=np.float32([1]))
        assert refusal(narrow_stubs.predictions.Predict, request)[0] == "RESOURCE_EXHAUSTED"
        # What asks no model is answered all the same.
        assert CLIENT.get(url_of(narrow)).status_code == 200
    finally:
        held.set()
        holder.join()
        waiting.join()
    assert answers[0].json() == {"predictions": [3.5]}
    assert gate.admitted == 0


@pytest.mark.parametrize("name", ["request_bytes", "rows", "pixels", "in_flight"])
def test_a_limit_below_one_is_an_error(name):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1"):
        ServerLimits(**{name: 0})
    assert ServerLimits(queued=0).queued == 0


def test_many_requests_at_once_are_answered_or_refused(narrow):
    statuses = []

    def ask():
        for _ in range(5):
            statuses.append(post(narrow, {"instances": [1.0]}).status_code)

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(statuses) <= {200, 429}
    assert len(statuses) == 30
    assert 200 in statuses
    assert post(narrow, {"instances": [1.0]}).status_code == 200
