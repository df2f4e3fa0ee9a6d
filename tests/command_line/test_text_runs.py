"""`train --target TEXTS.csv`, and what is done with such a run."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_runs import run_command

from keras_reprogram import Vocabulary

pytestmark = pytest.mark.slow

LETTERS = Vocabulary("abcdefgh", length=6, unit="characters")
KINGS, THINGS = ("ada", "bo", "cy", "di"), ("oak", "fox", "cup", "hat")


def questions(seed, count):
    """Texts of two kinds with the words of both in different numbers; each text once."""
    random = np.random.default_rng(seed)
    found = {}
    while len(found) < count:
        kind = len(found) % 2
        names = (THINGS, KINGS)[kind]
        word = random.choice(names)
        text = f"{('what', 'who')[kind]} is {'the ' * random.integers(0, 2)}{word}"
        found[f"{text} {random.integers(0, 100)}"] = ("thing", "person")[kind]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained text network and tables of texts."""
    folder = tmp_path_factory.mktemp("texts")
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((6, LETTERS.size)),
            keras.layers.Dense(8, use_bias=False),
            keras.layers.LSTM(8),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    numbers = np.random.default_rng(0).integers(2, 10, (300, 6))
    rows = keras.ops.one_hot(numbers, LETTERS.size)
    network.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    network.fit(rows, (numbers < 6).sum(axis=1) // 3, epochs=4, verbose=0)
    network.save(folder / "letters.keras")
    lines = [f"{text},{kind}" for text, kind in questions(0, 120).items()]
    (folder / "questions.csv").write_text("text,label\n" + "\n".join(lines))
    others = [f"{kind}\t{text}\ttest" for text, kind in questions(1, 30).items()]
    others.append("thing\twhat is oak\ttrain\nperson\twho is bo\ttrain")
    (folder / "others.tsv").write_text("label\ttext\tsplit\n" + "\n".join(others))
    (folder / "api.py").write_text(
        "import numpy as np\n"
        "from keras_reprogram import OpaqueSource\n"
        "def answers(rows):\n"
        "    letters = rows.argmax(-1)\n"
        "    early = ((letters >= 2) & (letters < 6)).mean(-1)\n"
        "    first = (letters[:, 0] % 3 == 0) * 0.5\n"
        "    scores = np.stack([early, 1 - early + first, first + 0.1], -1)\n"
        "    return (scores / scores.sum(-1, keepdims=True)).astype('float32')\n"
        "source = OpaqueSource(answers, (6, 10), 3, value_range=(0, 1), identity='letters')\n"
    )
    return folder


def trained(place, source, name, *more, target="questions.csv"):
    return run_command(
        *("train", "--source", source, "--target", place / target),
        *("--output", place / "runs", "--name", name, *more),
    )


@pytest.fixture(scope="module")
def run(place):
    source = place / "letters.keras"
    ended = trained(
        *(place, source, "words", "--value-range", "0,1", "--num-views", 8, "--epochs", 0),
        *("--minimum-count", 2),
    )
    assert ended.code == 0, ended.err
    return place / "runs" / "words", ended


def accuracy_of(folder, method="map only"):
    facts = json.loads((folder / "run.json").read_text())
    return {row["method"]: row["accuracies"][0] for row in facts["results"]}[method], facts


def test_a_run_of_texts(run):
    folder, ended = run
    assert "120 texts in the table" in ended.out
    accuracy, facts = accuracy_of(folder)
    assert accuracy > 0.9
    assert accuracy_of(folder, "no source")[0] > 0.9
    assert facts["target"]["texts"] == {"minimum_count": 2}
    assert facts["target"]["class_names"] == ["person", "thing"]
    assert "linear head on features" not in ended.out
    results = {row["method"]: row for row in facts["results"]}
    assert results["map only"]["queries_per_prediction"] == 8
    assert results["map only"]["training_queries"] == 8 * 96
    assert "logistic regression on character n-grams" in ended.out
    assert "No pictures" in (folder / "report.html").read_text()


def test_evaluate_again_and_on_other_texts(run, place):
    folder, _ = run
    ended = run_command("evaluate", folder, "--json", place / "again.json")
    assert ended.code == 0, ended.err
    again = json.loads((place / "again.json").read_text())
    assert again["accuracy"] == pytest.approx(accuracy_of(folder)[0])
    ended = run_command(
        *("evaluate", folder, "--target", place / "others.tsv"),
        *("--json", place / "others.json"),
    )
    assert ended.code == 0, ended.err
    others = json.loads((place / "others.json").read_text())
    assert others["num_examples"] == 30 and others["accuracy"] > 0.9


@pytest.mark.filterwarnings("default:A vocabulary cuts long texts")
def test_predict_of_lines_and_tables(run, place):
    folder, _ = run
    lines = place / "lines.txt"
    lines.write_text("who is ada 7\nwhat is the fox 9\n")
    ended = run_command(
        "predict", folder, lines, place / "others.tsv", "--json", place / "found.json"
    )
    assert ended.code == 0, ended.err
    rows = [line.split(",") for line in ended.out.splitlines()]
    assert rows[0] == ["file", "row", "class", "probability"]
    assert [row[1:3] for row in rows[1:3]] == [["1", "person"], ["2", "thing"]]
    assert len(rows) == 1 + 2 + 32
    assert "words are unknown, the first is '7'" in ended.err
    found = json.loads((place / "found.json").read_text())
    assert found[0]["text"] == "who is ada 7"
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_export_reads_strings_as_predict_does(run, place):
    folder, _ = run
    ended = run_command(
        *("export", folder, "--format", "saved-model", "--output", place / "served" / "words"),
    )
    assert ended.code == 0, ended.err
    loaded = tf.saved_model.load(str(place / "served" / "words" / "1"))
    answer = loaded.signatures["text"](text=tf.constant(["who is ada 7", "what is the fox 9"]))
    found = json.loads((place / "found.json").read_text())
    scores = [list(one["probabilities"].values()) for one in found[:2]]
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-5)


def test_epochs_train_the_remapping_of_a_source_with_gradients(place):
    source = place / "letters.keras"
    ended = trained(
        *(place, source, "white", "--value-range", "0,1", "--epochs", 3, "--no-baseline"),
    )
    assert ended.code == 0, ended.err
    accuracy, facts = accuracy_of(place / "runs" / "white", "map and program")
    assert accuracy >= accuracy_of(place / "runs" / "white")[0] - 0.1
    assert len(facts["history"]["loss"]) == 3


def test_an_opaque_source_of_python_with_a_budget_and_with_draws(place):
    source = f"{place / 'api.py'}:source"
    ended = trained(
        *(place, source, "budget", "--num-views", 4, "--query-budget", 400, "--no-baseline"),
    )
    assert ended.code == 0, ended.err
    facts = json.loads((place / "runs" / "budget" / "run.json").read_text())
    assert facts["results"][0]["training_queries"] <= 400
    ended = trained(place, source, "draws", "--epochs", 2, "--no-baseline")
    assert ended.code == 0, ended.err
    assert len(accuracy_of(place / "runs" / "draws")[1]["history"]["loss"]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--placement", "center", "--image-size", 4), "--placement is for images"),
        (("--beside", "pixels"), "--beside is for images and series"),
        (("--column", "text=question"), "Expected a column 'question'"),
        (("--minimum-count", 10_000), "minimum_count"),
    ],
)
def test_what_is_not_for_texts_is_refused(place, more, said):
    ended = trained(place, f"{place / 'api.py'}:source", "refused", *more)
    assert ended.code == 2 and said in ended.err, ended.err
    assert not (place / "runs" / "refused").exists()


def test_sources_and_targets_of_other_kinds_are_refused(place, run):
    ended = trained(place, "traffic-signs", "refused", "--opaque")
    assert ended.code == 2 and "needs a --source of texts" in ended.err, ended.err
    ended = run_command(
        *("train", "--source", "traffic-signs", "--opaque", "--target", "digits", "--lowercase"),
        *("--output", place / "runs"),
    )
    assert ended.code == 2 and "are for a table with a column `text`" in ended.err, ended.err
    ended = run_command("predict", run[0], place / "api.py")
    assert ended.code == 2 and "A run of texts reads .txt files" in ended.err, ended.err
