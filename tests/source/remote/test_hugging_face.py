"""HuggingFaceSource against a fake of Hugging Face, which its own client checks first."""

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
from sign_service import LABELS

from keras_reprogram import QueryLedger
from keras_reprogram.source.remote.hugging_face import HuggingFaceSource
from keras_reprogram.testing import MALFORMED_ANSWERS, TRANSPORT_FAULTS
from keras_reprogram.testing.fake_hugging_face import FakeHuggingFace


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", KEY)


def fake_of(**options):
    return FakeHuggingFace(hosted_signs(LABELS), **{"model": "me/signs", "key": KEY} | options)


def source_of(fake, **changes):
    facts = {"model": fake.model, "class_names": LABELS, "address": fake.address} | changes
    return HuggingFaceSource(source_shape=SHAPE, value_range=(0, 255), **facts)


# The fake, asked by Hugging Face's own client.


@pytest.mark.slow
def test_hugging_faces_client_understands_the_fake():
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError

    image = images_of(1)
    expected = dict(zip(LABELS, signs(image)[0], strict=True))
    with fake_of(faults=[None] * 4 + [402]) as fake:
        client = InferenceClient(model=f"{fake.address}/models/me/signs", token=KEY)
        best = client.image_classification(png(image[0]))
        assert len(best) == 5 and best[0].score == pytest.approx(max(expected.values()))
        listed = client.image_classification(png(image[0]), top_k=1000)
        assert [one.label for one in listed] == sorted(LABELS, key=lambda name: -expected[name])
        for one in listed:
            assert one.score == pytest.approx(expected[one.label], abs=1e-6)
        (single,) = client.image_classification(png(image[0]), top_k=1, function_to_apply="sigmoid")
        odds = max(expected.values())
        assert single.score == pytest.approx(odds / (1 + odds))
        with pytest.raises(HfHubHTTPError, match="cannot identify image file"):
            client.image_classification(b"no image")
        with pytest.raises(HfHubHTTPError, match="402"):
            client.image_classification(png(image[0]))
        with pytest.raises(HfHubHTTPError, match="401"):
            InferenceClient(model=client.model, token="other").image_classification(png(image[0]))
        with pytest.raises(HfHubHTTPError, match="404"):
            client.image_classification(png(image[0]), model=f"{fake.address}/models/me/other")
        assert fake.bill == 3


# Our source.


def test_answers_are_those_of_the_model_behind_it():
    images = images_of(5)
    with fake_of() as fake:
        source = source_of(fake)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert source.queries_used == fake.bill == 5
        endpoint = source_of(fake, model=f"{fake.address}/")
        np.testing.assert_allclose(endpoint(images), signs(images), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (None, "probabilities"),
        ("softmax", "probabilities"),
        ("sigmoid", "independent"),
        ("none", "logits"),
    ],
)
def test_functions_say_what_the_scores_are(function, kind):
    image = images_of(1)
    with fake_of() as fake:
        source = source_of(fake, function_to_apply=function)
        assert source.score_kind == kind
        scores = np.asarray(source(image))
    expected = signs(image)
    wanted = {"none": np.log(expected), "sigmoid": expected / (1 + expected)}
    np.testing.assert_allclose(scores, wanted.get(function, expected), atol=1e-4)


def test_short_lists_leave_labels_missing():
    images = images_of(3)
    expected = signs(images)
    listed = np.sort(expected, axis=1)[:, -3:-2]
    with fake_of() as fake:
        source = source_of(fake, top_k=3, missing=0.25)
        assert source.score_kind == "independent"
        np.testing.assert_allclose(
            source(images), np.where(expected >= listed, expected, 0.25), atol=1e-6
        )
        spread = source_of(fake, top_k=3, missing="spread", score_kind="probabilities")(images)
        np.testing.assert_allclose(np.sum(spread, axis=1), 1.0, atol=1e-6)
        one = source_of(fake, class_names=LABELS[:1], ignore_undeclared=True)
        assert one.score_kind == "independent"
        np.testing.assert_allclose(one(images), expected[:, :1], atol=1e-6)


# The shape of an answer in Hugging Face's specification of the task.
RECORDED = [
    {"label": "tabby, tabby cat", "score": 0.5125},
    {"label": "Egyptian cat", "score": 0.25},
]


def test_documented_answers():
    names = ["Egyptian cat", "tabby, tabby cat", "tiger cat"]
    source = HuggingFaceSource("me/cats", SHAPE, names, value_range=(0, 255), missing="spread")
    assert source.read(json.dumps(RECORDED).encode()) == [[0.25, 0.5125, pytest.approx(0.2375)]]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    check_what_may_pass(tmp_path, fake_of, source_of, fault)


def test_a_model_that_is_loading_is_waited_for_and_free(tmp_path, monkeypatch):
    loading = {"error": "Model me/signs is currently loading", "estimated_time": 0.05}
    with fake_of(faults=[503]) as fake, QueryLedger(tmp_path / "l") as ledger:
        monkeypatch.setattr(fake, "refusal", lambda status: loading)
        source_of(fake, ledger=ledger)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 1, "free": 1}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", MALFORMED_ANSWERS)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    check_malformed(tmp_path, fake_of, source_of, fault, '"label"')


def test_a_wrong_key_is_nowhere(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong8462")
    with fake_of() as fake:
        keys = (KEY, "hf_wrong8462")
        said = check_key_is_nowhere(tmp_path, source_of(fake), keys, caplog, capfd)
    assert "401" in said and "Check the key in the environment" in said


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"model": "me/other"}, "404 .*does not exist.* Check `model`"),
        ({"key_variable": "NO_SUCH_KEY"}, "no NO_SUCH_KEY. Set it: export NO_SUCH_KEY="),
    ],
)
def test_wrong_models_and_no_key(tmp_path, changes, hint):
    with fake_of() as fake:
        assert re.search(f"Received: {hint}", refusal(source_of(fake, **changes), tmp_path))
        assert fake.bill == 0


@pytest.mark.parametrize(
    ("status", "hint"), [(400, "hosts `model`"), (402, "credits are spent"), (403, "permission")]
)
def test_other_refusals(tmp_path, status, hint):
    with fake_of(faults=[status]) as fake:
        assert hint in refusal(source_of(fake), tmp_path)
        assert fake.requests == 1


def test_a_copy_in_another_process_asks_for_itself():
    with fake_of() as fake:
        check_copy_asks_for_itself(source_of(fake, top_k=43))


def test_parameters_are_part_of_the_ledgers_key():
    with fake_of() as fake:
        changes = ({}, {"top_k": 3}, {"function_to_apply": "softmax"})
        sources = [source_of(fake, identity="one", **change) for change in changes]
    assert len({source.request_options for source in sources}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": " "}, "`model` must be a name on the Hub"),
        ({"top_k": 0}, "`top_k` must be at least 1"),
        ({"function_to_apply": "relu"}, "`function_to_apply` must be one of"),
        ({"images_per_request": 2}, "one image per request. Received: images_per_request=2"),
        ({"address": "router.huggingface.co"}, "must begin with http"),
        ({"model": "https://me:secret@signs.example"}, "must not hold a password"),
    ],
)
def test_wrong_arguments(changes, message):
    facts = {"model": "me/signs"} | changes
    with pytest.raises(ValueError, match=message):
        HuggingFaceSource(source_shape=SHAPE, class_names=LABELS, value_range=(0, 255), **facts)
