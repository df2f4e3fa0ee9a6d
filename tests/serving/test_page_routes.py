"""What the page's routes answer, and to whom."""

import asyncio
import base64
import io
import re
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from odd_files import deep_files
from page_models import CLASS_NAMES, LABELS, NUM_VIEWS, Served, encoded, exported, noise
from PIL import Image
from small_models import SOURCE_SHAPE, opaque_source, small_model
from waiting import PATIENCE

import keras_reprogram.serving
from keras_reprogram import QueryLedger
from keras_reprogram.export import export_halves, saved_model
from keras_reprogram.export.graph_decoder import file_decoder
from keras_reprogram.serving.gateway import GatewayServable
from keras_reprogram.serving.page_routes import CONTENT_TYPE, MOST_BYTES, page_routes
from keras_reprogram.serving.page_steps import PageFacts, show_steps
from keras_reprogram.serving.servable import ExportedServable

httpx = pytest.importorskip("httpx")
applications = pytest.importorskip("starlette.applications")

PAGE = Path(keras_reprogram.serving.__file__).parent / "page"
LOOPBACK = "http://127.0.0.1:8501"
SENT = {"content-type": CONTENT_TYPE}


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
        folder = exported(tmp_path_factory.mktemp("page"))
    return ExportedServable(folder / "1", 1)


@pytest.fixture
def served(servable):
    return Served(servable)


@pytest.fixture
def client(served):
    return Client(served)


class Client:
    """Asks the routes without a socket."""

    def __init__(self, versions, base_url=LOOPBACK):
        app = applications.Starlette(routes=page_routes(versions, "brightness"))
        self.transport, self.base_url = httpx.ASGITransport(app=app), base_url

    async def request(self, *arguments, **options):
        async with httpx.AsyncClient(transport=self.transport, base_url=self.base_url) as client:
            return await client.request(*arguments, **options)

    def get(self, path, **options):
        return asyncio.run(self.request("GET", path, **options))

    def ask(self, file, **headers):
        return asyncio.run(self.request("POST", "/ui/steps", content=file, headers=SENT | headers))


def pixels(url):
    codes = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))))
    return codes if codes.ndim == 3 else codes[..., None]


def test_the_page_s_files_come_with_their_types_and_a_strict_policy(client) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    for path in ["/", *(f"/ui/{file.name}" for file in PAGE.iterdir())]:
        reply = client.get(path)
        suffix = Path(path).suffix or ".html"
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith(types.get(suffix, "image/svg+xml"))
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' data:;")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in reply.headers


def test_other_files_are_not_served(client) -> None:
    for path in ("/ui/nothing.js", "/ui/..%2fpage_routes.py", "/ui/page_routes.py"):
        assert client.get(path).status_code == 404


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_markup_of_texts() -> None:
    for file in PAGE.iterdir():
        text = file.read_text()
        assert re.findall(r"//(?!www\.w3\.org/)[a-z][\w-]*\.", text) == []
        assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text) == []
        assert re.findall(r"<style|\sstyle=|<script>|\son\w+=", text) == []


def test_facts_say_what_the_page_shows(client) -> None:
    facts = client.get("/ui/facts").json()
    assert facts == {
        "model_name": "brightness",
        "version": 1,
        "costs_queries": False,
        "thresholds": None,
        "target_shape": [4, 4, 1],
        "target_range": [0.0, 255.0],
        "source_shape": list(SOURCE_SHAPE),
        "source_range": [0.0, 255.0],
        "source_labels": LABELS,
        "class_names": CLASS_NAMES,
        "num_views": NUM_VIEWS,
        "scores": "probabilities",
        "coverage": None,
    }


def test_a_source_that_costs_queries_is_told(served) -> None:
    served.costs_queries = True
    assert Client(served).get("/ui/facts").json()["costs_queries"] is True


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        pytest.param(noise(4, 4, 1), "PNG", marks=pytest.mark.slow),
        (noise(31, 17, 3), "PNG"),
        (noise(40, 25, 3), "JPEG"),
    ],
)
def test_steps_are_those_of_image_bytes(client, servable, codes, kind) -> None:
    file = encoded(codes, kind)
    reply = client.ask(file)
    assert reply.status_code == 200
    steps = reply.json()

    answer = servable.run("image_bytes", {"image_bytes": np.array([file], object)})
    scores = {one["label"]: one["score"] for one in steps["classes"]}
    expected = dict(zip(CLASS_NAMES, answer["scores"][0], strict=True))
    assert scores == pytest.approx(expected, abs=1e-6)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)

    target = file_decoder((4, 4, 1), (0.0, 255.0))(tf.constant([file])).numpy()
    np.testing.assert_array_equal(pixels(steps["target_image"]), target[0])

    inside = servable.run("steps", {"image": target})
    assert len(steps["views"]) == NUM_VIEWS
    for view, images, answers in zip(
        steps["views"], inside["source_images"][0], inside["source_scores"][0], strict=True
    ):
        assert np.abs(pixels(view["image"]) - images).max() <= 0.5
        order = np.argsort(-answers)
        assert [one["label"] for one in view["answers"]] == [LABELS[index] for index in order]
        np.testing.assert_allclose([one["score"] for one in view["answers"]], answers[order])


@pytest.mark.slow
def test_a_gateway_asks_once_a_view_and_tells_when_its_budget_is_spent(tmp_path) -> None:
    ledger = QueryLedger(tmp_path / "ledger", budget=2 * NUM_VIEWS)
    model = small_model(opaque_source(), num_views=NUM_VIEWS, class_names=CLASS_NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_reprogram.export.halves.check_reloaded", lambda *arguments: (0.0, 0))
        halves = export_halves(model, tmp_path / "halves")
    gateway = GatewayServable(halves.program, halves.output_map, 1, opaque_source(ledger=ledger))
    client = Client(Served(gateway))
    assert client.get("/ui/facts").json()["costs_queries"] is True

    codes = noise(3, 4, 4, 1)
    for asked, image in enumerate(codes[:2]):
        steps = client.ask(encoded(image)).json()
        assert ledger.spent == (asked + 1) * NUM_VIEWS
        expected = model.predict(image[None].astype("float32"), verbose=0)[0]
        scores = {one["index"]: one["score"] for one in steps["classes"]}
        assert scores == pytest.approx(dict(enumerate(expected)), abs=1e-6)
    reply = client.ask(encoded(codes[2]))
    assert reply.status_code == 429
    assert "budget" in reply.json()["error"]


@pytest.mark.parametrize(
    ("facts", "signatures", "expected"),
    [
        ({}, (), "was not written by keras_reprogram"),
        ({"format": 1}, (), "is older than this page"),
        ({}, ("steps",), "needs the export's facts"),
        ({"target_range": None}, ("steps",), "images of a known range. Received: an export whose"),
        ({"target_range": 7}, ("steps",), "needs the export's facts"),
        ({"target_shape": [4, 4, 2]}, ("steps",), "target images of 2"),
    ],
)
def test_a_model_that_cannot_be_shown_is_told_of(served, facts, signatures, expected) -> None:
    served.facts = {**served.facts, **facts} if facts and signatures else facts
    served.signature_defs = dict.fromkeys(signatures)
    client = Client(served)
    assert expected in client.get("/ui/facts").json()["problem"]
    reply = client.ask(encoded(noise(4, 4, 1)))
    assert (reply.status_code, served.asked) == (400, 0)
    assert expected in reply.json()["error"]


def bomb(width, height):
    """The beginning of a PNG that says it is large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(bytes(1000))
    end = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + checked + end


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"", "must be JPEG, PNG, or BMP"),
        (b"no image at all", "must be JPEG, PNG, or BMP"),
        (
            deep_files(4095)["grey"],
            "range of the training images, 0..255",
        ),
        (encoded(noise(30, 30, 3))[:-600], "PNG or JPEG"),
        (bomb(60_000, 60_000), "at most 25,000,000 pixels. Received: 60000 x 60000"),
        (bytes(MOST_BYTES + 1), "at most 16 MB"),
    ],
)
def test_a_bad_file_is_told_of(client, served, file, expected) -> None:
    reply = client.ask(file)
    assert (reply.status_code, served.asked) == (400, 0)
    assert expected in reply.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site", "origin": LOOPBACK},
        {"sec-fetch-site": "same-site"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
    ],
)
def test_other_pages_cannot_ask(client, served, headers) -> None:
    reply = client.ask(encoded(noise(4, 4, 1)), **headers)
    assert reply.status_code in (400, 403)
    assert served.asked == 0


def test_the_page_itself_and_other_programs_can(client, served) -> None:
    file = encoded(noise(4, 4, 1))
    assert client.ask(file, **{"origin": LOOPBACK, "sec-fetch-site": "same-origin"}).is_success
    assert client.ask(file).is_success
    assert served.asked == 2


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "", "[::1"])
def test_a_foreign_name_of_this_machine_is_refused(client, served, host) -> None:
    for path in ("/", "/ui/facts"):
        assert client.get(path, headers={"host": host}).status_code == 403
    assert client.ask(encoded(noise(4, 4, 1)), host=host).status_code == 403
    assert served.asked == 0


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1", "[::1]:8501", "LOCALHOST"])
def test_the_machine_s_own_names_are_taken(client, host) -> None:
    assert client.get("/ui/facts", headers={"host": host}).status_code == 200


def test_a_server_for_a_network_has_any_name(served) -> None:
    client = Client(served, "http://10.1.2.3:8501")
    assert client.get("/ui/facts", headers={"host": "models.example"}).status_code == 200


def test_who_asks_a_busy_server_is_told_so(served) -> None:
    go_on, run = threading.Event(), served.run

    def slowly(*arguments):
        go_on.wait(PATIENCE)
        return run(*arguments)

    served.run = slowly
    client, file = Client(served), encoded(noise(4, 4, 1))

    async def ask():
        reply = await client.request("POST", "/ui/steps", content=file, headers=SENT)
        # The one that is refused is the first that returns.
        go_on.set()
        return reply

    async def five():
        return await asyncio.gather(*(ask() for _ in range(5)))

    replies = asyncio.run(five())
    assert sorted(reply.status_code for reply in replies) == [200] * 4 + [429]
    assert "busy" in next(reply.json()["error"] for reply in replies if not reply.is_success)


def test_logits_are_shown_as_probabilities_and_many_classes_as_the_best() -> None:
    facts = PageFacts(
        target_shape=(2, 2, 1),
        target_range=(0.0, 1.0),
        source_shape=(2, 2, 3),
        source_range=(-1.0, 1.0),
        source_labels=("a", "b", "c"),
        class_names=tuple(map(str, range(1000))),
        num_views=1,
        scores="logits",
    )

    class Logits:
        def run(self, name, inputs):
            images = np.full((1, 1, 2, 2, 3), -1.0, np.float32)
            logits = np.array([[[1000.0, 0.0, 1000.0]]], np.float32)
            return {
                "source_images": images,
                "source_scores": logits,
                "scores": np.arange(1000.0, dtype=np.float32)[None] / 1000,
            }

    steps = show_steps(Logits(), facts, np.ones((1, 2, 2, 1), np.float32))
    answers = steps["views"][0]["answers"]
    assert [(one["label"], one["score"]) for one in answers] == [("a", 0.5), ("c", 0.5), ("b", 0.0)]
    assert [one["index"] for one in steps["classes"]] == list(range(999, 989, -1))
    assert pixels(steps["target_image"]).min() == 255
    assert pixels(steps["views"][0]["image"]).max() == 0
