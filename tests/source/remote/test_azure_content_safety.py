"""AzureContentSafetySource against a fake of Content Safety, which Azure's client checks first."""

import json
import re

import numpy as np
import pytest
from azure.ai.contentsafety import ContentSafetyClient
from azure.ai.contentsafety.models import AnalyzeImageOptions, ImageData
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from service_checks import (
    KEY,
    check_copy_asks_for_itself,
    check_key_is_nowhere,
    check_malformed,
    check_what_may_pass,
    images_of,
    png,
    refusal,
    signs,
)

from keras_reprogram.source.remote import SourceRefusedError
from keras_reprogram.source.remote.azure_content_safety import (
    CATEGORIES,
    AzureContentSafetySource,
)
from keras_reprogram.testing import TRANSPORT_FAULTS, HostedModel
from keras_reprogram.testing.fake_azure_content_safety import FakeAzureContentSafety

SHAPE = (64, 64, 3)


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("CONTENT_SAFETY_KEY", KEY)


def harms(images):
    """Four numbers of the traffic-sign network, spread over [0, 1]."""
    scores = signs(images[:, ::2, ::2])[:, :4]
    return scores / (scores + 0.01)


def levels(images):
    """What is left of them: four levels."""
    return np.sum(harms(images)[..., None] >= [0.25, 0.5, 0.75], axis=-1) / 3


def fake_of(**options):
    return FakeAzureContentSafety(HostedModel(harms, SHAPE, CATEGORIES), **{"key": KEY} | options)


def source_of(fake, **changes):
    facts = {"source_shape": SHAPE, "value_range": (0, 255)} | changes
    return AzureContentSafetySource(f"{fake.address}/", **facts)


# The fake, asked by Azure's own client.


def azures_client(fake, key=KEY):
    return ContentSafetyClient(fake.address, AzureKeyCredential(key), retry_total=0)


def test_azures_client_understands_the_fake():
    image = images_of(1, side=64)
    with fake_of() as fake, azures_client(fake) as client:
        content = ImageData(content=png(image[0]))
        answer = client.analyze_image(AnalyzeImageOptions(image=content))
        found = {one.category: one.severity for one in answer.categories_analysis}
        assert list(found) == list(CATEGORIES)
        np.testing.assert_allclose(list(found.values()), 6 * levels(image)[0])
        one = client.analyze_image(AnalyzeImageOptions(image=content, categories=["Sexual"]))
        assert [part.category for part in one.categories_analysis] == ["Sexual"]
        assert fake.bill == 2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"no image", "format is not supported"),
        (png(np.zeros((49, 64, 3))), "50 to 7200 pixels"),
        (bytes(4 * 2**20 + 1), "exceeds 4 MB"),
    ],
)
def test_azures_client_understands_refusals(image, message):
    with fake_of() as fake, azures_client(fake) as client:
        with pytest.raises(HttpResponseError, match=message) as caught:
            client.analyze_image(AnalyzeImageOptions(image=ImageData(content=image)))
        assert caught.value.error.code == "InvalidRequestBody"
        with pytest.raises(ClientAuthenticationError):
            azures_client(fake, "other").analyze_image(
                AnalyzeImageOptions(image=ImageData(content=b""))
            )
        assert fake.bill == 0


# Our source.


def test_answers_are_levels_of_the_model_behind_it():
    images = images_of(5, side=64)
    expected = levels(images)
    assert len(np.unique(expected)) > 2
    with fake_of() as fake:
        source = source_of(fake)
        assert (source.score_kind, source.score_step) == ("independent", pytest.approx(1 / 3))
        np.testing.assert_allclose(source(images), expected, atol=1e-6)
        assert source.queries_used == fake.bill == 5
        own = source_of(fake, class_names=["Violence"], ordinal=(-4.0, -1.0, 1.0, 4.0))
        assert (own.score_kind, own.score_step) == ("independent_logits", 0.0)
        wanted = np.array([-4.0, -1.0, 1.0, 4.0])[np.rint(3 * expected[:, 3:]).astype(int)]
        np.testing.assert_allclose(own(images), wanted)


# The answer in Azure's documentation of image:analyze, with violence.
RECORDED = {
    "categoriesAnalysis": [
        {"category": "Hate", "severity": 2},
        {"category": "SelfHarm", "severity": 0},
        {"category": "Sexual", "severity": 0},
        {"category": "Violence", "severity": 6},
    ]
}


def test_documented_answers():
    source = AzureContentSafetySource(
        "https://mine.cognitiveservices.azure.com", SHAPE, value_range=(0, 255)
    )
    rows = source.read(json.dumps(RECORDED).encode())
    assert rows == [[pytest.approx(1 / 3), 0.0, 0.0, 1.0]]
    with pytest.raises(KeyError, match="5"):
        source.read(b'{"categoriesAnalysis": [{"category": "Hate", "severity": 5}]}')


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    check_what_may_pass(tmp_path, fake_of, source_of, fault, answers=levels)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", ["truncated", "wrong labels", "nan"])
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    check_malformed(tmp_path, fake_of, source_of, fault, '"categoriesAnalysis"')


def test_a_wrong_key_is_nowhere(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("CONTENT_SAFETY_KEY", "wrong-key-8462")
    with fake_of() as fake:
        keys = (KEY, "wrong-key-8462")
        said = check_key_is_nowhere(tmp_path, source_of(fake), keys, caplog, capfd)
    assert "401" in said and "belongs to `endpoint`" in said


@pytest.mark.parametrize(("status", "hint"), [(400, "PNG or JPEG"), (403, "quota is spent")])
def test_other_refusals(tmp_path, status, hint):
    with fake_of(faults=[status]) as fake:
        assert hint in refusal(source_of(fake), tmp_path)
        assert fake.requests == 1


def test_no_key(tmp_path):
    with fake_of() as fake:
        said = refusal(source_of(fake, key_variable="NO_SUCH_KEY"), tmp_path)
    assert re.search("Received: no NO_SUCH_KEY. Set it: export NO_SUCH_KEY=", said)


def test_images_that_are_too_large_are_not_sent():
    source = AzureContentSafetySource("https://mine.example", SHAPE, value_range=(0, 255))
    with pytest.raises(SourceRefusedError, match="at most 4,194,304 bytes. Received: 4,194,305"):
        source.client.body([bytes(4 * 2**20 + 1)])


def test_a_copy_in_another_process_asks_for_itself():
    with fake_of() as fake:
        check_copy_asks_for_itself(source_of(fake))


def test_categories_are_part_of_the_ledgers_key():
    with fake_of() as fake:
        changes = ({}, {"class_names": ["Hate"]})
        sources = [source_of(fake, identity="one", **change) for change in changes]
    assert len({source.request_options for source in sources}) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_shape": (49, 64, 3)}, "50 to 7,200 pixels per side"),
        ({"class_names": ["Hate", "Spam"]}, "knows the categories Hate.*Received: Spam"),
        ({"ordinal": (0, 1)}, "`ordinal` must be 4 increasing scores"),
        ({"ordinal": (0, 1, 0.5, 1)}, "`ordinal` must be 4 increasing scores"),
        ({"images_per_request": 2}, "one image per request. Received: images_per_request=2"),
    ],
)
def test_wrong_arguments(changes, message):
    with fake_of() as fake, pytest.raises(ValueError, match=message):
        source_of(fake, **changes)


def test_only_categories_are_hosted():
    with pytest.raises(ValueError, match="must be among Hate"):
        FakeAzureContentSafety(HostedModel(harms, SHAPE, ["Spam"]))
