"""GoogleVisionSource and FakeGoogleVision: the vendor's client, answers, faults, secrets."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from gates import Gate
from google.api_core.exceptions import InvalidArgument
from google.cloud import vision
from google.cloud.vision_v1.services.image_annotator.transports import ImageAnnotatorGrpcTransport
from google.protobuf.json_format import MessageToDict, ParseDict

from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
from keras_reprogram.source.remote import SourceRefusedError, SourceUnavailableError
from keras_reprogram.source.remote.google_vision import SAFE_SEARCH_LABELS, GoogleVisionSource
from keras_reprogram.testing import Faults, HostedModel
from keras_reprogram.testing.fake_google_vision import FakeGoogleVision

KEY = "AIza-0123456789"
# The examples of Google's pages on label detection and SafeSearch.
LABELS_ANSWER = {
    "responses": [
        {
            "labelAnnotations": [
                {"mid": "/m/01c8br", "description": "Street", "score": 0.87294734,
                 "topicality": 0.87294734},
                {"mid": "/m/06pg22", "description": "Snapshot", "score": 0.8523099,
                 "topicality": 0.8523099},
                {"mid": "/m/0dx1j", "description": "Town", "score": 0.8481104,
                 "topicality": 0.8481104},
                {"mid": "/m/01d74z", "description": "Night", "score": 0.80408716,
                 "topicality": 0.80408716},
                {"mid": "/m/01lwf0", "description": "Alley", "score": 0.7133322,
                 "topicality": 0.7133322},
            ]
        },
        {},
    ]
}  # fmt: skip
SAFE_SEARCH_ANSWER = {
    "responses": [
        {
            "safeSearchAnnotation": {
                "adult": "UNLIKELY",
                "spoof": "VERY_UNLIKELY",
                "medical": "VERY_UNLIKELY",
                "violence": "LIKELY",
                "racy": "POSSIBLE",
            }
        }
    ]
}


@pytest.fixture(scope="module")
def signs():
    return LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


@pytest.fixture
def hosted(signs):
    return HostedModel.of(signs)


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def source_of(fake, **options):
    facts = {
        "value_range": (0, 255),
        "address": fake.address,
        "class_names": fake.hosted.class_names,
    }
    facts |= options
    return GoogleVisionSource((32, 32, 3), **facts)


def levels_of(scores):
    """Five levels, as FakeGoogleVision makes them, as scores."""
    return (np.asarray(scores)[:, :5, None] >= [0.2, 0.4, 0.6, 0.8]).sum(axis=-1) / 4


def understood(answer):
    """The documented JSON, through the vendor's message."""
    message = ParseDict(answer, vision.BatchAnnotateImagesResponse.pb()())
    return MessageToDict(message)


def test_the_fake_answers_the_vendors_client(hosted, signs):
    images = images_of(2)
    scores = np.asarray(signs(images))
    with FakeGoogleVision(hosted) as fake, grpc.insecure_channel(fake.address) as channel:
        client = vision.ImageAnnotatorClient(transport=ImageAnnotatorGrpcTransport(channel=channel))
        payloads = [source_of(fake).payload(image) for image in images]
        answer = client.label_detection(image=vision.Image(content=payloads[0]), max_results=4)
        best = np.argsort(-scores[0])[:4]
        assert [one.description for one in answer.label_annotations] == [
            hosted.class_names[number] for number in best
        ]
        np.testing.assert_allclose(
            [one.score for one in answer.label_annotations], scores[0][best], rtol=1e-6
        )
        found = client.safe_search_detection(image=vision.Image(content=payloads[1]))
        levels = [getattr(found.safe_search_annotation, name) for name in SAFE_SEARCH_LABELS]
        np.testing.assert_array_equal(np.array(levels) - 1, 4 * levels_of(scores)[1])
        bad = client.label_detection(image=vision.Image(content=b"no image"))
        assert (bad.error.code, bad.error.message) == (3, "Bad image data.")
        requests = [{"image": {"content": payloads[0]}}] * 17
        with pytest.raises(InvalidArgument, match="Too many images"):
            client.batch_annotate_images(requests=requests)
        assert fake.bill == 2


def test_answers_are_those_of_the_model_behind_it(hosted, signs):
    images = images_of(7)
    with FakeGoogleVision(hosted) as fake:
        source = source_of(fake, images_per_request=3)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert source.queries_used == fake.bill == 7
        assert fake.requests == 3


def test_a_short_list_leaves_labels_out(hosted, signs):
    images = images_of(3)
    with FakeGoogleVision(hosted) as fake:
        answer = np.asarray(source_of(fake, max_results=5, missing=0.25)(images))
    scores = np.asarray(signs(images))
    listed = np.argsort(-scores, axis=1)[:, :5]
    expected = np.full_like(scores, 0.25)
    np.put_along_axis(expected, listed, np.take_along_axis(scores, listed, axis=1), axis=1)
    np.testing.assert_allclose(answer, expected, atol=1e-6)


def test_a_score_for_the_missing_must_be_one(hosted):
    with pytest.raises(ValueError, match=r"`missing` must be from 0 to 1.*Received: -1.0"):
        GoogleVisionSource((8, 8, 3), ["Town"], value_range=(0, 1), missing=-1.0)


def test_safe_search_levels_become_scores(hosted, signs):
    images = images_of(4)
    with FakeGoogleVision(hosted) as fake:
        source = source_of(fake, feature="safe_search", class_names=SAFE_SEARCH_LABELS)
        np.testing.assert_allclose(source(images), levels_of(signs(images)))
        two = source_of(
            fake, feature="safe_search", class_names=["racy", "adult"], ordinal=(1, 2, 3, 4, 5)
        )
        assert source.score_kind == "independent" and two.score_kind == "independent_logits"
        np.testing.assert_allclose(two(images), 1 + 4 * levels_of(signs(images))[:, [4, 0]])


def test_documented_answers_are_understood():
    source = GoogleVisionSource((8, 8, 3), ["Town", "Dog", "Street"], value_range=(0, 1))
    expected = [[0.8481104, 0.0, 0.87294734], [0.0, 0.0, 0.0]]
    assert source.read(LABELS_ANSWER) == source.read(understood(LABELS_ANSWER)) == expected
    safe = GoogleVisionSource(
        (8, 8, 3), SAFE_SEARCH_LABELS, feature="safe_search", value_range=(0, 1)
    )
    expected = [[0.25, 0.0, 0.0, 0.75, 0.5]]
    assert safe.read(SAFE_SEARCH_ANSWER) == safe.read(understood(SAFE_SEARCH_ANSWER)) == expected


def test_unknown_levels_are_missing():
    answer = {"responses": [{"safeSearchAnnotation": {"adult": "VERY_LIKELY", "racy": "UNKNOWN"}}]}
    source = GoogleVisionSource(
        (8, 8, 3), ["adult", "racy"], feature="safe_search", missing=0.4, value_range=(0, 1)
    )
    assert source.read(understood(answer)) == [[1.0, 0.4]]


def test_what_changes_answers_is_in_the_key():
    def options(**changes):
        return GoogleVisionSource((8, 8, 3), ["adult"], value_range=(0, 1), **changes)

    sources = [
        options(),
        options(max_results=10),
        options(feature="safe_search"),
        options(feature="safe_search", ordinal=(0, 0, 0, 1, 1)),
    ]
    assert len({source.request_options for source in sources}) == 4
    # SafeSearch has no list to cut.
    assert (
        sources[2].request_options == options(feature="safe_search", max_results=9).request_options
    )


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("feature", ["labels", "safe_search"])
@pytest.mark.parametrize("fault", [429, (429, {"Retry-After": "0"}), 500, 503, "reset"])
def test_what_may_pass_is_repeated(tmp_path, hosted, signs, fault, feature):
    images = images_of(3)
    with (
        FakeGoogleVision(hosted, faults=[fault, fault]) as fake,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        safe = feature == "safe_search"
        labels = SAFE_SEARCH_LABELS if safe else hosted.class_names
        source = source_of(fake, ledger=ledger, concurrency=1, feature=feature, class_names=labels)
        expected = levels_of(signs(images)) if safe else signs(images)
        np.testing.assert_allclose(source(images), expected, atol=1e-6)
        surely_free = fault == 429 or isinstance(fault, tuple)
        free, sent = (2, 0) if surely_free else (0, 2)
        assert ledger.counts() == {"sent": sent, "billed": 3, "free": free}
        assert fake.bill <= ledger.spent
        source(images)
        assert source.queries_used == 5


def test_nothing_is_repeated_behind_the_ledger(hosted):
    with FakeGoogleVision(hosted, faults=["reset"] * 9) as fake:
        with pytest.raises(SourceUnavailableError, match="Socket closed"):
            source_of(fake, retries=0)(images_of(1))
        assert fake.requests == fake.bill == 1


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("nan", {}),
        ("wrong labels", {"ignore_undeclared": False}),
        ("wrong labels", {"feature": "safe_search", "class_names": SAFE_SEARCH_LABELS}),
    ],
)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, hosted, fault, options):
    with FakeGoogleVision(hosted, faults=[fault]) as fake, QueryLedger(tmp_path / "l") as ledger:
        source_of(fake, ledger=ledger, **options)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
    faults = [fault] * 3
    with FakeGoogleVision(hosted, faults=faults) as fake, QueryLedger(tmp_path / "m") as ledger:
        with pytest.raises(ValueError, match=r"Received.*\{'responses': \[\{"):
            source_of(fake, ledger=ledger, **options)(images_of(1))
        assert ledger.spent == 2
        assert len(fake.faults.left) == 1
        assert fake.bill == 4  # both ledgers


def test_an_image_that_fails_among_others_is_shown_and_counted(tmp_path, hosted, monkeypatch):
    with FakeGoogleVision(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(fake, ledger=ledger, images_per_request=2)
        payloads = iter([source.payload(images_of(1)[0]), b"no image"])
        monkeypatch.setattr(source, "payload", lambda image: next(payloads))
        with pytest.raises(ValueError, match="An image failed: .*Bad image data"):
            source(images_of(2))
        assert fake.bill == 2
        assert ledger.counts() == {"sent": 0, "billed": 4, "free": 0}


@pytest.mark.parametrize(
    ("codes", "raised", "counts"),
    [
        ((8, 8), "is asked too fast .RESOURCE_EXHAUSTED", {"sent": 0, "billed": 0, "free": 4}),
        ((14, 13), "failed .UNAVAILABLE", {"sent": 4, "billed": 0, "free": 0}),
        ((None, 8), "1 of 2 images failed: .*asked too fast", {"sent": 4, "billed": 0, "free": 0}),
    ],
)
def test_errors_of_images_that_may_pass(tmp_path, hosted, monkeypatch, codes, raised, counts):
    answers = [{"error": {"code": code, "message": "x"}} if code else {} for code in codes]
    with FakeGoogleVision(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        annotated = iter(answers * 2)
        monkeypatch.setattr(
            fake, "_annotate", lambda *_: vision.AnnotateImageResponse(next(annotated))
        )
        source = source_of(fake, ledger=ledger, images_per_request=2, retries=1)
        with pytest.raises(SourceUnavailableError, match=raised):
            source(images_of(2))
        assert ledger.counts() == counts


def test_images_that_are_too_large(tmp_path, hosted):
    message = "Request size limit.*size of the images.*20 MB"
    with FakeGoogleVision(hosted, largest_image=100) as fake, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match=message):
            source_of(fake, ledger=ledger)(images_of(1))
        assert (fake.requests, fake.bill, ledger.spent) == (1, 0, 0)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "INVALID_ARGUMENT.*size of the images"),
        (401, "UNAUTHENTICATED.*Check the key"),
        (403, "PERMISSION_DENIED.*what it may do"),
        (404, "NOT_FOUND.*Check"),
    ],
)
def test_what_is_final_is_not_repeated(tmp_path, hosted, status, message):
    faults = [status] * 2
    with FakeGoogleVision(hosted, faults=faults) as fake, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match=f"refused. Received: {message}"):
            source_of(fake, ledger=ledger)(images_of(1))
        assert (fake.requests, ledger.spent) == (1, 0)


def test_a_key_is_sent_and_nowhere_else(tmp_path, monkeypatch, caplog, capfd, hosted):
    caplog.set_level(0)
    monkeypatch.setenv("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "google")
    with (
        FakeGoogleVision(hosted, key=KEY) as fake,
        QueryLedger(tmp_path / "l", keep_payloads=True) as ledger,
    ):
        source = source_of(fake, ledger=ledger, key_variable="VISION_KEY")
        with pytest.raises(SourceRefusedError, match="no VISION_KEY. Set it: export VISION_KEY="):
            source(images_of(1))
        assert ledger.spent == fake.requests == 0
        monkeypatch.setenv("VISION_KEY", KEY)
        source(images_of(2))
        monkeypatch.setenv("VISION_KEY", KEY + "x")
        with pytest.raises(SourceRefusedError, match="API key not valid.*: VISION_KEY") as caught:
            source(images_of(1, seed=3))
        assert KEY not in str(caught.value) and KEY not in repr(vars(source))
        with pytest.raises(SourceRefusedError, match="missing a valid API key"):
            source_of(fake)(images_of(1, seed=4))
    out, err = capfd.readouterr()
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert KEY not in out + err + caplog.text + logged
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_no_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with QueryLedger(tmp_path / "l") as ledger:
        source = GoogleVisionSource((8, 8, 3), ["a"], value_range=(0, 1), ledger=ledger)
        with pytest.raises(SourceRefusedError, match="gcloud auth application-default login"):
            source(np.zeros((1, 8, 8, 3)))
        assert ledger.spent == 0


def test_credentials_that_give_no_token_cost_nothing(tmp_path, hosted, monkeypatch):
    with FakeGoogleVision(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        said = "Getting metadata from plugin failed with error: Reauthentication is needed."
        monkeypatch.setattr(
            fake, "respond", lambda request, context, fault: context.abort(
                grpc.StatusCode.UNAVAILABLE, said
            )
        )  # fmt: skip
        with pytest.raises(SourceUnavailableError, match="Reauthentication.*Sign in with `gcloud"):
            source_of(fake, ledger=ledger, retries=1)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 0, "free": 2}


def test_wrong_addresses(hosted):
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    facts = {"class_names": ["a"], "value_range": (0, 255), "address": f"127.0.0.1:{port}"}
    with pytest.raises(SourceRefusedError, match="UNIMPLEMENTED.*another kind of service"):
        GoogleVisionSource((32, 32, 3), **facts)(images_of(1))
    server.stop(None).wait()
    with pytest.raises(SourceUnavailableError, match=f"{port} cannot be reached"):
        GoogleVisionSource((32, 32, 3), retries=0, **facts)(images_of(1))


def test_a_copy_for_another_process_asks_by_itself(monkeypatch, hosted, signs):
    monkeypatch.setenv("VISION_KEY", KEY)
    images = images_of(2)
    with FakeGoogleVision(hosted, key=KEY) as fake:
        source = source_of(fake, images_per_request=2, key_variable="VISION_KEY")
        client, payloads = pickle.loads(
            pickle.dumps((source.client, [source.payload(i) for i in images]))
        )
        assert KEY.encode() not in pickle.dumps(source.client)
        said = pickle.loads(pickle.dumps(client.send(payloads, fake.address)))
        np.testing.assert_allclose(source.read(said), signs(images), atol=1e-6)


def test_many_at_a_time_and_a_share_of_faults(tmp_path, hosted, signs):
    images = images_of(24)
    faults = Faults(share=0.3, seed=1)
    with (
        FakeGoogleVision(hosted, faults=faults) as fake,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        Gate(fake, opens_at=4)
        source = source_of(fake, ledger=ledger, images_per_request=2, concurrency=4, retries=20)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert fake.most_together == 4
        assert fake.bill <= ledger.spent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_per_request": 17}, "at most 16 images per request. Received: .*=17"),
        ({"feature": "faces"}, "`feature` must be one of .*Received: 'faces'"),
        ({"feature": "safe_search"}, "SafeSearch knows the labels adult, .*Received: a"),
        ({"max_results": 0}, "`max_results` must be at least 1. Received: 0"),
        ({"ordinal": (0, 1)}, "5 increasing scores.*Received: .0, 1."),
        ({"ordinal": (4, 3, 2, 1, 0)}, "5 increasing scores.*Received: .4, 3"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        GoogleVisionSource((8, 8, 3), ["a"], value_range=(0, 1), **changes)


def test_a_missing_extra_names_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.vision", None)
    command = r"`google-cloud-vision`: pip install 'keras-reprogram\[google\]'"
    with pytest.raises(ImportError, match=command):
        GoogleVisionSource((8, 8, 3), ["a"], value_range=(0, 1))
