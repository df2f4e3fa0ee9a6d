"""Exports of a model of texts: strings in, classes out; our server, curl, and a gateway."""

import json
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    OpaqueSource,
    ReprogrammedModel,
    TextProgram,
    Vocabulary,
    export_saved_model,
)
from keras_reprogram.export import export_halves
from keras_reprogram.serving import ModelServer

pytestmark = pytest.mark.slow

TEXTS = ["what is a fox", "who is the king", "what is a king", "who is a fox"] * 10
CLASSES = np.array([0, 1, 0, 1] * 10)
NAMES = ("thing", "person")
SOURCE, LABELS = (6, 10), 3


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SOURCE),
            keras.layers.Conv1D(8, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(LABELS, activation="softmax"),
        ]
    )


def text_model(source, **options):
    words = Vocabulary.from_texts(TEXTS, length=4, lowercase=True)
    program = TextProgram(words, SOURCE, num_views=2, **options)
    model = ReprogrammedModel(program, source, DenseMap(2), class_names=NAMES)
    model.fit_output_map(words.encode(TEXTS), CLASSES, verbose=0)
    return model


def opaque():
    answering = network()

    def ask(rows):
        return keras.ops.convert_to_numpy(answering(rows))

    return OpaqueSource(ask, SOURCE, LABELS, value_range=(0, 1), identity="words")


@pytest.fixture(scope="module", params=["fixed", "trained"])
def exported(request, tmp_path_factory):
    source = FrozenSource(network(), value_range=(0, 1))
    model = text_model(source, trained=request.param == "trained")
    return export_saved_model(model, tmp_path_factory.mktemp("text") / "words"), model


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    model = text_model(opaque(), trained=False)
    return export_halves(model, tmp_path_factory.mktemp("halves") / "words"), model


def expected(model, texts):
    return model.predict(model.program.vocabulary.encode(texts), verbose=0)


def test_texts_score_as_the_model_itself(exported):
    export, model = exported
    assert {"text", "classify", "serving_default", "steps"} <= set(export.signatures)
    assert not export.notes
    assert export.warmup_requests
    served = tf.saved_model.load(str(export)).signatures
    texts = ["Who IS a fox", "what is a king"]
    answer = served["text"](text=tf.constant(texts))
    np.testing.assert_allclose(answer["scores"], expected(model, texts), atol=1e-5)
    assert [name.decode() for name in answer["classes"][0].numpy()] == list(NAMES)


def test_a_text_without_a_token_is_refused(exported):
    served = tf.saved_model.load(str(exported[0])).signatures
    with pytest.raises(tf.errors.InvalidArgumentError, match="Each text must have a token"):
        served["text"](text=tf.constant(["who", " "]))


def test_facts_hold_the_vocabulary(exported):
    export, model = exported
    facts = json.loads((export.folder / "assets.extra/keras_reprogram.json").read_text())
    assert facts["vocabulary"] == model.program.vocabulary.get_config()


def curl(address, body):
    """What curl says, as a user types it."""
    run = subprocess.run(
        ["curl", "-s", address, "-d", json.dumps(body)], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def check_curl(server, model):
    url = f"{server.rest_address}/v1/models/{server.versions.model_name}"
    texts = ["who is a fox", "what is the king"]
    scores = expected(model, texts)
    rows = curl(f"{url}:predict", {"signature_name": "text", "instances": texts})["predictions"]
    np.testing.assert_allclose([row["scores"] for row in rows], scores, atol=1e-5)
    assert rows[0]["classes"] == list(NAMES)
    examples = {"signature_name": "classify", "examples": [{"text": text} for text in texts]}
    (first, _) = curl(f"{url}:classify", examples)["results"]
    assert [name for name, _ in first] == list(NAMES)
    np.testing.assert_allclose([score for _, score in first], scores[0], atol=1e-5)
    refused = curl(f"{url}:predict", {"signature_name": "text", "instances": ["who", ""]})
    assert "Each text must have a token" in refused["error"]


def test_our_server_classifies_what_curl_sends(exported):
    export, model = exported
    with ModelServer(export.folder.parent, poll_seconds=60) as server:
        check_curl(server, model)


def test_a_gateway_classifies_texts_through_an_opaque_source(halves):
    exported, model = halves
    source = opaque()
    with ModelServer(exported.base_dir, source=source, poll_seconds=60) as server:
        check_curl(server, model)
    # Two views of two texts, in two requests; the text without a token asked nothing.
    assert source.queries_used == 2 * 2 * 2
