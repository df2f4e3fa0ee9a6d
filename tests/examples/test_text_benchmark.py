"""The script of texts: loaders keep names on one side, the table has a control beside each row."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"
LANGUAGES = {
    "Dutch": "Aalst\nBosch\nClaes\n",
    "Polish": "Aalst\nNowak\n\nNowak\n",
    "Greek": "Zeno\n",
}


@pytest.fixture(scope="module", autouse=True)
def folder_of_scripts():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def data(tmp_path, monkeypatch):
    names = tmp_path / "text" / "names"
    names.mkdir(parents=True)
    for language, lines in LANGUAGES.items():
        (names / f"{language}.txt").write_text(lines)
    train = "HUM:ind Who is the king ?\nNUM:date When was it ?\nNUM:date When was it ?\n"
    (tmp_path / "text/trec_train_5500.label.txt").write_bytes(train.encode("latin-1"))
    (tmp_path / "text/trec_test_10.label.txt").write_bytes(
        b"HUM:ind Who is the king ?\nNUM:x How \xe9 ?\n"
    )
    monkeypatch.setenv("KERAS_REPROGRAM_DATA", str(tmp_path))
    return importlib.import_module("text_data")


@pytest.mark.parametrize("seed", range(4))
def test_a_name_of_two_languages_is_on_one_side(data, seed):
    task = data.surnames(seed)
    assert task.class_names == ("Dutch", "Greek", "Polish")
    assert not set(task.train_texts) & set(task.test_texts)
    texts = task.train_texts + task.test_texts
    pairs = list(zip(texts, [*task.train_labels, *task.test_labels], strict=True))
    assert len(pairs) == len(set(pairs)) == 6
    assert {label for text, label in pairs if text == "Aalst"} == {0, 2}


def test_languages_are_chosen(data):
    assert data.surnames(0, ("Dutch", "Greek")).class_names == ("Dutch", "Greek")


def test_no_test_question_is_learned_from(data):
    task = data.questions()
    assert task.train_texts == ["when was it ?"]
    assert task.test_texts == ["how é ?", "who is the king ?"]
    assert task.class_names == ("HUM", "NUM")
    assert task.test_labels.tolist() == [1, 0]


def test_a_task_becomes_a_table(data, tmp_path):
    data.main("questions", tmp_path / "questions.csv", 0)
    lines = (tmp_path / "questions.csv").read_text().splitlines()
    assert lines == [
        "text,label,split",
        "when was it ?,NUM,train",
        "how é ?,NUM,test",
        "who is the king ?,HUM,test",
    ]


def test_missing_data_are_named(monkeypatch, tmp_path):
    text_data = importlib.import_module("text_data")
    monkeypatch.setenv("KERAS_REPROGRAM_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="Expected text/names in the folder"):
        text_data.surnames(0)


def test_the_table_has_the_control_beside_each_row():
    text = importlib.import_module("text")

    def row(source, method, seed, accuracy):
        return text.Row(source, "questions", method, seed, 10, 5, 80, 8, None, accuracy, 0.4, 1.0)

    rows = [row("none", text.BASELINE, 0, 0.75)]
    for seed, accuracy in ((0, 0.5), (1, 0.7)):
        rows.append(row("names LSTM", "exact map, 8 views", seed, accuracy))
        rows.append(row("untrained names LSTM", "exact map, 8 views", seed, accuracy - 0.2))
    lines = text.markdown(rows).splitlines()
    assert "| names LSTM | exact map, 8 views | 2 | 80 | 0.600 ± 0.141 | 0.400 ± 0.141 |" in lines
    assert "No source, logistic regression on character n-grams: 0.750." in lines


def test_langid_is_asked_for_what_it_can_give():
    text = importlib.import_module("text")
    runs = text.plan([0])
    methods = {method for source, _, method, _ in runs if source == "langid"}
    assert methods == {"exact map, 1 view", "exact map, 8 views", "black box"}
    assert np.unique([run[3] for run in runs]).tolist() == [0]
    for source in ("names LSTM", "untrained names CNN"):
        assert {method for s, _, method, _ in runs if s == source} == {*text.MAPS, *text.TRAINED}
