"""OpenAIModerationSource against a fake of OpenAI's API, which OpenAI's own client checks first."""

import base64
import functools
import json
import re

import numpy as np
import pytest
from service_checks import (
    KEY,
    SHAPE,
    check_copy_asks_for_itself,
    check_key_is_nowhere,
    check_malformed,
    check_what_may_pass,
    hosted_signs,
    images_of,
    png,
    refusal,
    signs,
)

from keras_reprogram.source.remote import SourceRefusedError
from keras_reprogram.source.remote.openai_moderation import (
    IMAGE_CATEGORIES,
    OpenAIModerationSource,
)
from keras_reprogram.testing import MALFORMED_ANSWERS, TRANSPORT_FAULTS
from keras_reprogram.testing.fake_openai_moderation import FakeOpenAIModeration


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def fake_of(names=IMAGE_CATEGORIES, **options):
    return FakeOpenAIModeration(hosted_signs(names), **{"key": KEY} | options)


def source_of(fake, **changes):
    facts = {"class_names": fake.hosted.class_names, "address": f"{fake.address}/v1"}
    return OpenAIModerationSource(SHAPE, value_range=(0, 255), **facts | changes)


# The fake, asked by OpenAI's own client.


def openais_client(fake, key=KEY):
    import openai

    return openai.OpenAI(api_key=key, base_url=f"{fake.address}/v1", max_retries=0)


def image_part(image):
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.slow
def test_openais_client_understands_the_fake():
    image = images_of(1)
    with fake_of() as fake, openais_client(fake) as client:
        answer = client.moderations.create(
            model="omni-moderation-latest", input=[image_part(png(image[0]))]
        )
        assert fake.bill == 1
    assert (answer.model, len(answer.results)) == ("omni-moderation-latest", 1)
    (result,) = answer.results
    scores = result.category_scores.model_dump(by_alias=True)
    np.testing.assert_allclose(
        [scores[name] for name in IMAGE_CATEGORIES], signs(image)[0, :6], atol=1e-6
    )
    # Every field of the client's own model is there, and nothing more.
    for part in (result, result.categories, result.category_scores):
        fields = type(part).model_fields
        # The client (3.57) also keeps what has an alias under that name, as an extra field.
        aliases = {field.alias for field in fields.values()} - {None}
        assert set(part.model_extra or {}) == aliases
        assert part.model_fields_set - aliases == set(fields)
    read = result.category_applied_input_types.model_dump(by_alias=True)
    assert {name for name, kinds in read.items() if kinds == ["image"]} == set(IMAGE_CATEGORIES)
    assert sum(kinds == [] for kinds in read.values()) == 7


@pytest.mark.slow
def test_openais_client_understands_refusals():
    import openai

    image = image_part(png(images_of(1)[0]))
    with fake_of(faults=[None, None, None, 429, 503]) as fake, openais_client(fake) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(input=[image, image])
        assert caught.value.code == "too_many_images"
        with pytest.raises(openai.BadRequestError, match="Invalid image"):
            client.moderations.create(input=[image_part(b"no image")])
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(model="other", input=[image])
        assert caught.value.param == "model"
        with pytest.raises(openai.RateLimitError):
            client.moderations.create(input=[image])
        with pytest.raises(openai.InternalServerError):
            client.moderations.create(input=[image])
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            openais_client(fake, "other").moderations.create(input=[image])
        assert fake.bill == 0


# Our source.


def test_answers_are_those_of_the_model_behind_it():
    images = images_of(5)
    with fake_of() as fake:
        source = source_of(fake)
        np.testing.assert_allclose(source(images), signs(images)[:, :6], atol=1e-6)
        assert source.queries_used == fake.bill == 5
        few = source_of(fake, class_names=["violence", "sexual"], encoding="jpeg")(images)
        assert few.shape == (5, 2)
        picked = source_of(fake, class_names=["violence", "sexual"])(images)
        np.testing.assert_allclose(picked, signs(images)[:, [4, 3]], atol=1e-6)


# The answer in OpenAI's guide to moderation: a frame of a war movie.
RECORDED = {
    "id": "modr-970d409ef3bef3b70c73d8232df86e7d",
    "model": "omni-moderation-latest",
    "results": [
        {
            "flagged": True,
            "category_scores": {
                "sexual": 2.34135824776394e-7,
                "harassment": 0.0011643905680426018,
                "self-harm": 0.0011175734280627694,
                "self-harm/intent": 0.0006264858507989037,
                "self-harm/instructions": 7.368592981140821e-8,
                "violence": 0.8599265510337075,
                "violence/graphic": 0.37701736389561064,
            },
            "category_applied_input_types": {
                "harassment": [],
                **{name: ["image"] for name in IMAGE_CATEGORIES},
            },
        }
    ],
}


def test_documented_answers():
    source = OpenAIModerationSource(SHAPE, ["violence", "sexual"], value_range=(0, 255))
    assert source.read(json.dumps(RECORDED).encode()) == [[0.8599265510337075, 2.34135824776394e-7]]
    unread = json.loads(json.dumps(RECORDED))
    unread["results"][0]["category_applied_input_types"]["violence"] = ["text"]
    with pytest.raises(ValueError, match="Received: not for violence"):
        source.read(json.dumps(unread).encode())


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    check_what_may_pass(tmp_path, fake_of, source_of, fault)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", MALFORMED_ANSWERS)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    check_malformed(tmp_path, fake_of, source_of, fault, '"results"')


def test_a_wrong_key_is_nowhere_not_even_its_ends(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-wrong-key-8462")
    with fake_of() as fake:
        keys = (KEY, "sk-proj-wrong-key-8462", "sk-proj-", "8462")
        said = check_key_is_nowhere(tmp_path, source_of(fake), keys, caplog, capfd)
    assert "401 'invalid_api_key'" in said


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"model": "other"}, "400 .*for .*model.* Check `model`"),
        ({"key_variable": "NO_SUCH_KEY"}, "no NO_SUCH_KEY. Set it: export NO_SUCH_KEY="),
    ],
)
def test_wrong_models_and_no_key(tmp_path, changes, hint):
    with fake_of() as fake:
        assert re.search(f"Received: {hint}", refusal(source_of(fake, **changes), tmp_path))
        assert fake.bill == 0


def test_an_account_without_credit_is_refused_for_good(tmp_path, monkeypatch):
    content = {"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}
    with fake_of(faults=[429]) as fake:
        monkeypatch.setattr(fake, "refusal", lambda status: content)
        assert "an account with credit" in refusal(source_of(fake), tmp_path)
        assert fake.requests == 1


def test_images_that_are_too_large_are_not_sent():
    source = OpenAIModerationSource(SHAPE, value_range=(0, 255))
    with pytest.raises(SourceRefusedError, match="at most 20,971,520 bytes. Received: 20,971,521"):
        source.client.body([bytes(20 * 2**20 + 1)])


def test_a_copy_in_another_process_asks_for_itself():
    with fake_of() as fake:
        check_copy_asks_for_itself(source_of(fake))


def test_models_are_part_of_the_ledgers_key():
    make = functools.partial(OpenAIModerationSource, SHAPE, value_range=(0, 255), identity="one")
    sources = [make(), make(model="omni-moderation-2024-09-26")]
    assert len({source.request_options for source in sources}) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["hate", "sexual"]}, "OpenAI scores images for self-harm.*Received: hate"),
        ({"images_per_request": 2}, "one image per request. Received: images_per_request=2"),
        ({"address": "api.openai.com"}, "must begin with http"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        OpenAIModerationSource(SHAPE, value_range=(0, 255), **changes)


def test_only_image_categories_are_hosted():
    with pytest.raises(ValueError, match="must be among self-harm"):
        fake_of(names=["hate"])
