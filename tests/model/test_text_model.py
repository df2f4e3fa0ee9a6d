"""A model of texts: exact maps, white-box and black-box training, files, bad input."""

import keras
import numpy as np
import pytest

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    MultiLabelMap,
    OpaqueSource,
    ProgramLayer,
    ReprogrammedModel,
    ScoreFunction,
    TextProgram,
    Vocabulary,
    load_program,
    save_program,
)

LETTERS = Vocabulary("abcdefgh", length=6, unit="characters")
SOURCE = (6, LETTERS.size)
WORDS = Vocabulary(["what", "who", "is", "a", "the", "fox", "king"], length=4)
TEXTS = ["what is a fox", "who is the king", "what is a king", "who is a fox"] * 10
CLASSES = np.array([0, 1, 0, 1] * 10)


def first_letter(rows):
    """Probabilities by the share of letters a to d, and whether the first one is one of them."""
    letter = rows.argmax(axis=-1)
    early = ((letter >= 2) & (letter < 6)).astype("float32")
    share, first = early.mean(axis=-1), early[..., 0]
    scores = np.stack([0.6 * share + 0.2 * first + 0.1, 0.9 - 0.6 * share - 0.2 * first], axis=-1)
    return scores.astype("float32")


def opaque(function=first_letter, **options):
    return OpaqueSource(function, SOURCE, 2, value_range=(0, 1), identity="letters", **options)


def trained_network():
    """A recurrent classifier that tells texts of early letters from others."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input(SOURCE),
            keras.layers.Dense(8, use_bias=False),
            keras.layers.LSTM(8),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    numbers = np.random.default_rng(0).integers(2, 10, (300, 6))
    rows = keras.ops.one_hot(numbers, LETTERS.size)
    network.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    network.fit(rows, (numbers < 6).sum(axis=1) <= 2, epochs=8, verbose=0)
    return network


def test_exact_map_under_fixed_remappings():
    program = TextProgram(WORDS, SOURCE, trained=False, num_views=4)
    model = ReprogrammedModel(program, opaque(), DenseMap(2), class_names=("thing", "person"))
    fit = model.fit_opaque(WORDS.encode(TEXTS), CLASSES, query_budget=200, verbose=0)
    assert fit.queries_used == model.queries_used == 160
    predicted = model.predict(WORDS.encode(TEXTS), verbose=0).argmax(axis=1)
    assert (predicted == CLASSES).mean() == 1
    assert model.estimate_queries(40).total == 160


def identity_map():
    return MultiLabelMap(2, assignment="self-defined", label_table=[[0], [1]])


@pytest.mark.slow
def test_white_box_training_of_the_remapping(tmp_path):
    source = FrozenSource(trained_network(), value_range=(0, 1))
    program = TextProgram(WORDS, SOURCE, temperature_steps=60)
    model = ReprogrammedModel(program, source, identity_map())
    model.compile(
        keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x = WORDS.encode(TEXTS)
    model.fit(x, CLASSES, epochs=15, batch_size=8, verbose=0)
    assert int(program.steps) == 75
    assert model.evaluate(x, CLASSES, verbose=0)[1] == 1
    model.save(tmp_path / "words.keras")
    again = keras.models.load_model(tmp_path / "words.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.program.vocabulary.encode(TEXTS[:2]).tolist() == x[:2].tolist()


def top_label(rows):
    return np.eye(2, dtype="float32")[first_letter(rows).argmax(axis=-1)]


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [None, "batch"])
def test_black_box_training_from_the_top_label_alone(baseline):
    """One query a row and step, none before and none beside it."""
    asked = []

    def ask(rows):
        assert set(np.unique(rows)) <= {0.0, 1.0}
        asked.append(len(rows))
        return top_label(rows)

    program = TextProgram(WORDS, SOURCE)
    estimator = ScoreFunction(baseline=baseline)
    model = ReprogrammedModel(program, opaque(ask), identity_map(), estimator)
    model.compile(
        keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x = WORDS.encode(TEXTS)
    model.fit(x, CLASSES, epochs=12, batch_size=8, verbose=0)
    assert sum(asked) == model.queries_used == 12 * len(x)
    assert model.estimate_queries(len(x), recipe="fit", epochs=12).total == 12 * len(x)
    assert model.evaluate(x, CLASSES, verbose=0)[1] == 1


@pytest.mark.slow
def test_in_a_graph_and_eagerly_the_same_draws_are_learned_from():
    network = trained_network()
    answers = []
    for eager in (False, True):
        model = ReprogrammedModel(
            TextProgram(WORDS, SOURCE, num_views=2),
            FrozenSource(network, value_range=(0, 1)),
            identity_map(),
            ScoreFunction("loss", "batch", growing_steps=3),
        )
        model.compile(
            keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy", run_eagerly=eager
        )
        model.fit(WORDS.encode(TEXTS), CLASSES, epochs=2, batch_size=20, verbose=0)
        answers.append(keras.ops.convert_to_numpy(model.program.kernel))
        assert model.queries_used == 2 * 2 * len(TEXTS)
    np.testing.assert_allclose(*answers, atol=1e-5)


@pytest.mark.slow
def test_fit_opaque_leaves_steps_of_draws_to_fit():
    program = TextProgram(WORDS, SOURCE)
    model = ReprogrammedModel(program, opaque(), DenseMap(2), ScoreFunction())
    fit = model.fit_opaque(WORDS.encode(TEXTS), CLASSES, query_budget=5000, verbose=0)
    assert fit.queries_used == 40
    assert "steps of ScoreFunction are those of `fit`" in fit.given_back


def test_a_program_of_pixels_draws_nothing():
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    network = keras.Sequential(layers)
    source = FrozenSource(network, value_range=(0, 1))
    program = ProgramLayer((2, 2, 1), (4, 4, 1), source_range=(0, 1))
    with pytest.raises(ValueError, match="Received: a ProgramLayer"):
        ReprogrammedModel(program, source, DenseMap(2), ScoreFunction())


def test_the_top_label_is_no_reward_of_several_findings():
    program, several = TextProgram(WORDS, SOURCE), DenseMap(2, targets="multi_label")
    with pytest.raises(ValueError, match='"top_label" .*Received: `ScoreFunction` for a map'):
        ReprogrammedModel(program, opaque(), several, ScoreFunction())
    ReprogrammedModel(program, opaque(), several, ScoreFunction(reward="loss"))


@pytest.mark.slow
def test_program_file_of_texts(tmp_path):
    model = ReprogrammedModel(
        TextProgram(WORDS, SOURCE, trained=False, num_views=2), opaque(), DenseMap(2)
    )
    x = WORDS.encode(TEXTS)
    model.fit_output_map(x, CLASSES, verbose=0)
    save_program(model, tmp_path / "words.reprogram")
    again = load_program(tmp_path / "words.reprogram", opaque())
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.program.vocabulary.tokens == WORDS.tokens


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (TEXTS, "Received: 'what is a fox'. Turn texts into token numbers"),
        (np.full((40, 4), 9), "whole numbers from 0 to .*Received: 9 in row 0; 160 such"),
        # A table reads the one as its last token, and the other as token 2.
        (np.where(np.arange(160).reshape(40, 4) == 9, -1, 2), "Received: -1 in row 2; 1 such"),
        (np.full((40, 4), 2.5), "Received: 2.5 in row 0"),
        (np.zeros((40, 3)), r"Received: shape \(40, 3\)"),
    ],
    ids=["texts", "numbers", "negative", "fractions", "length"],
)
def test_bad_rows_are_refused_before_the_source_is_asked(x, said):
    model = ReprogrammedModel(TextProgram(WORDS, SOURCE, trained=False), opaque(), DenseMap(2))
    with pytest.raises(ValueError, match=said):
        model.fit_output_map(x, CLASSES, verbose=0)
    assert model.queries_used == 0
