"""Tables of texts: vocabulary, splits, groups, draws, and what is refused."""

import numpy as np
import pytest

from keras_reprogram.datasets import TargetData, load_target, load_texts
from keras_reprogram.datasets.target_data import Draw, TargetTexts
from keras_reprogram.datasets.text_table import TextReading, cut_texts


def write(folder, rows, header="text,label", name="texts.csv"):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def questions(count=40):
    return [
        f"{('what', 'who')[n % 2]} is it {n},{('thing', 'person')[n % 2]}" for n in range(count)
    ]


def test_rows_become_token_numbers(tmp_path):
    target = load_target(str(write(tmp_path, questions())))
    assert target.class_names == ("person", "thing")
    assert len(target.train_labels) == 32 and len(target.test_labels) == 8
    vocabulary = target.texts.vocabulary
    assert target.target_shape == (4,) and vocabulary.tokens[:2] == ("is", "it")
    for texts, numbers, labels in (
        (target.texts.train, target.train_images, target.train_labels),
        (target.texts.test, target.test_images, target.test_labels),
    ):
        assert numbers.dtype == np.int32
        assert [text.startswith("what") for text in texts] == [label == 1 for label in labels]
    assert vocabulary.decode(target.train_images) == list(target.texts.train)
    # No number of a test text was seen in training: one unknown token each.
    assert (target.test_images == 1).sum() == 8
    assert "No test rows: split 80/20 by class, seed 0." in target.notes
    assert any("of the test texts".lower() in note.lower() for note in target.notes)


def test_columns_units_and_counts(tmp_path):
    rows = [f"{n},{text}" for n, text in enumerate(questions())]
    path = write(tmp_path, rows, "Number,Question,Kind")
    columns = {"text": "Question", "label": "Kind"}
    target = load_texts(path, columns=columns, minimum_count=5, lowercase=True)
    assert set(target.texts.vocabulary.tokens) == {"is", "it", "what", "who"}
    assert "Columns that were not used: Number." in target.notes
    letters = load_texts(path, columns=columns, unit="characters", length=6)
    assert letters.target_shape == (6,)
    assert letters.texts.vocabulary.decode(letters.train_images[:1]) == [letters.texts.train[0][:6]]


def test_validation_rows_do_not_shape_the_vocabulary(tmp_path):
    rows = [f"{row},train" for row in questions(20)]
    rows += ["what is hidden,thing,validation", "who is late,person,test"]
    target = load_texts(write(tmp_path, rows, "text,label,split"))
    assert target.validation_rows.sum() == 1 and len(target.test_labels) == 1
    assert not {"hidden", "late"} & set(target.texts.vocabulary.tokens)
    assert len(target.learned().texts.train) == len(target.learned().train_labels) == 20


@pytest.mark.parametrize("seed", range(3))
def test_equal_texts_stay_on_one_side(tmp_path, seed):
    target = load_texts(write(tmp_path, [row for row in questions() for _ in range(3)]), seed=seed)
    assert not set(target.texts.train) & set(target.texts.test)
    groups = {text: set() for text in target.texts.train}
    for text, group in zip(target.texts.train, target.train_groups, strict=True):
        groups[text].add(group)
    assert all(len(some) == 1 for some in groups.values())


def test_groups_stay_on_one_side_and_texts_on_both_are_counted(tmp_path):
    rows = [f"{row},{n % 10}" for n, row in enumerate(questions())]
    target = load_texts(write(tmp_path, rows, "text,label,group"))
    numbers = [int(text.split()[-1]) % 10 for text in target.texts.test]
    assert not set(numbers) & {int(text.split()[-1]) % 10 for text in target.texts.train}
    rows = [f"{row},train" for row in questions(20)] + ["what is it 0,thing,test"]
    target = load_texts(write(tmp_path, rows, "text,label,split"))
    assert "1 of 1 test texts are training texts too." in target.notes


def test_draws_and_cuts_keep_texts_and_numbers_together(tmp_path):
    path = write(tmp_path, questions())
    drawn = load_texts(path, draw=Draw(10, 4, 0))
    again = load_texts(path).draw(10, 4, 0)
    assert drawn.texts.train == again.texts.train and drawn.texts.test == again.texts.test
    assert len(drawn.train_images) == len(drawn.texts.train) == 10
    short = cut_texts(drawn, 3)
    assert short.target_shape == (3,) and short.texts.vocabulary.length == 3
    assert "14 of 14 texts were cut to the source's 3 tokens." in short.notes
    assert cut_texts(short, 3) is short


def test_a_vocabulary_that_is_there_is_kept(tmp_path):
    path = write(tmp_path, questions())
    vocabulary = load_texts(path).texts.vocabulary
    other = load_target(str(path), seed=3, texts=TextReading(vocabulary=vocabulary))
    assert other.texts.vocabulary is vocabulary


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([" ,thing", "who,person"], "text,label", "Expected a text in row 1"),
        (["who,", "what,thing"], "text,label", "Expected a label in row 1"),
        (["who,person", "he,person"], "text,label", "two or more classes"),
        (["who,1", "he,0"], "text,kind", "to have a column 'label'"),
        (["who,a,x", "he,b,"], "text,label,group", "Expected a group in row 2"),
        (["who,a,train", "he,b,late"], "text,label,split", "train, validation or test"),
        (
            ["who,a,g,train", "he,b,g,test"],
            "text,label,group,split",
            "Expected all texts of a group in one part",
        ),
    ],
)
def test_bad_tables(tmp_path, rows, header, said):
    with pytest.raises(ValueError, match=said):
        load_target(str(write(tmp_path, rows, header)))


def test_options_of_texts_are_for_texts(tmp_path):
    path = write(tmp_path, ["a.png,x", "b.png,y"], "path,label")
    for name in ("digits", str(path)):
        with pytest.raises(ValueError, match="are for a table with a column `text`"):
            load_target(name, texts=TextReading(unit="characters"))


def test_numbers_must_be_those_of_the_texts(tmp_path):
    target = load_texts(write(tmp_path, questions()))
    vocabulary = target.texts.vocabulary
    rows = np.zeros((2, 4), np.int32)
    labels = np.array([0, 1])
    texts = TargetTexts(vocabulary, ("a", "b"), ("a", "b"))

    def made(numbers):
        return TargetData(
            *("toy", numbers, labels, rows, labels, ("x", "y"), "Made by hand."),
            target_range=None,
            texts=texts,
        )

    assert made(rows).target_shape == (4,)
    for wrong in (rows.astype("float32"), rows[:, :3], rows[:1]):
        with pytest.raises(ValueError, match="int32 token numbers of shape"):
            made(wrong)
    with pytest.raises(ValueError, match="token numbers in"):
        made(rows + vocabulary.size)
