"""A planted key is in no file, log, error or config that a training leaves behind."""

import json
import logging
import pickle

import numpy as np
import pytest
from sign_service import LABELS, SIGNS, SignService

from keras_reprogram import (
    ClarifaiSource,
    CustomVisionSource,
    DenseMap,
    GoogleVisionSource,
    HTTPSource,
    ProgramLayer,
    QueryLedger,
    RekognitionSource,
    ReprogrammedModel,
    export_blockers,
    save_program,
)
from keras_reprogram.testing import (
    FakeClarifai,
    FakeCustomVision,
    FakeGoogleVision,
    FakeRekognition,
    HostedModel,
)

KEY = "planted-key-8461-of-a-service"
SHAPE = (32, 32, 3)
SEEN_BY_AWS = (96, 96, 3)


def http(ledger):
    fake = SignService(key=KEY)
    return fake, HTTPSource(fake.url, SHAPE, LABELS, key_variable="PLANTED", **facts(ledger))


def clarifai(ledger):
    fake = FakeClarifai(hosted(), model_id="signs", key=KEY)
    where = {"address": fake.address, "key_variable": "PLANTED"}
    return fake, ClarifaiSource("signs", SHAPE, LABELS, **where, **facts(ledger))


def custom_vision(ledger):
    fake = FakeCustomVision(hosted(), key=KEY)
    place = (fake.address, fake.project_id, fake.iteration)
    return fake, CustomVisionSource(*place, SHAPE, LABELS, key_variable="PLANTED", **facts(ledger))


def google_vision(ledger):
    fake = FakeGoogleVision(hosted(), key=KEY)
    where = {"address": fake.address, "key_variable": "PLANTED"}
    return fake, GoogleVisionSource(SHAPE, LABELS, **where, **facts(ledger))


def rekognition(ledger):
    fake = FakeRekognition(hosted(), key="AKIDEXAMPLE")
    where = {"endpoint_url": fake.address, "region": "eu-west-1"}
    return fake, RekognitionSource(SEEN_BY_AWS, LABELS, **where, **facts(ledger))


def hosted():
    return HostedModel(SIGNS, SHAPE, LABELS)


def facts(ledger):
    return {"value_range": (0, 255), "identity": "signs", "ledger": ledger, "sum_tolerance": None}


@pytest.mark.parametrize("service", [http, clarifai, custom_vision, google_vision, rekognition])
def test_a_key_is_nowhere(service, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    images = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 1)).astype(np.float32)
    with QueryLedger(tmp_path / "answers.ledger", keep_payloads=True) as ledger:
        fake, source = service(ledger)
        with fake:
            program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255), grid=2)
            model = ReprogrammedModel(program, source, DenseMap(3))
            model.fit_output_map(images, np.arange(12) % 3)
            assert fake.bill == 12
            save_program(model, tmp_path / "signs.reprogram")
            monkeypatch.setenv("PLANTED", KEY + "-wrong")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDWRONG")
            with pytest.raises(Exception) as caught:
                model.predict(images + 1, verbose=0)
            assert "Received" in str(caught.value)
    said = capfd.readouterr()
    texts = [said.out, said.err, caplog.text, repr(caught.value), repr(vars(source))]
    texts += [json.dumps(source.describe()), repr(export_blockers(model)), repr(source)]
    texts += [repr(source.client), repr(vars(source.client))]
    assert not any(KEY in text for text in texts)
    assert KEY.encode() not in pickle.dumps(source.client.send)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) >= 2
    assert not any(KEY.encode() in path.read_bytes() for path in left)


def test_a_model_of_a_service_is_not_saved_whole(tmp_path):
    with QueryLedger(tmp_path / "l") as ledger:
        fake, source = http(ledger)
        with fake:
            program = ProgramLayer((8, 8, 1), SHAPE, source_range=(0, 255))
            model = ReprogrammedModel(program, source, DenseMap(3))
            with pytest.raises(ValueError, match="save_program"):
                model.save(tmp_path / "all.keras")
    assert not (tmp_path / "all.keras").exists()
