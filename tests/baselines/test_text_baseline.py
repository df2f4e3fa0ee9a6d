"""The baseline of texts."""

import numpy as np
import pytest

from keras_reprogram.baselines import fit_no_source_texts

TEXTS = [f"who is king {n}" for n in range(20)] + [f"how many is {n}" for n in range(20)]
LABELS = np.repeat([0, 1], 20)


def test_words_that_were_not_seen_are_read_by_their_characters():
    baseline = fit_no_source_texts(TEXTS, LABELS, num_classes=2, groups=np.arange(40) // 2)
    assert baseline.name == "logistic regression on character n-grams"
    assert baseline.validation_accuracy == 1 and baseline.num_train == 40
    assert baseline.predict(["whos kings", "howmany"]).tolist() == [0, 1]
    assert baseline.evaluate(["who", "how"], np.array([0, 0])) == 0.5


def test_a_text_without_weight_is_not_learned_from():
    wrong = np.concatenate([LABELS, 1 - LABELS])
    weight = np.repeat([1.0, 0.0], 40)
    baseline = fit_no_source_texts(TEXTS * 2, wrong, num_classes=2, sample_weight=weight)
    assert baseline.num_train == 40
    assert baseline.evaluate(TEXTS, LABELS) == 1


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (LABELS[:5], "one integer label for each text"),
        (LABELS.astype(float), "one integer label for each text"),
        (LABELS * 0, "two or more classes"),
        (LABELS + 1, r"in 0\.\.1"),
    ],
)
def test_bad_labels(labels, said):
    with pytest.raises(ValueError, match=said):
        fit_no_source_texts(TEXTS, labels, num_classes=2)
