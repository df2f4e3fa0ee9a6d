"""Figures of several findings: against scikit-learn, and in closed form."""

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, precision_score, roc_auc_score

from keras_reprogram.report import (
    FindingsMetrics,
    ReportSection,
    ResultRow,
    classification_metrics,
    findings_metrics,
    results_json,
    results_markdown,
    write_html_report,
)

NAMES = ("mass", "edema", "<hernia>")


def figures(count=60, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random((count, 3)) < [0.5, 0.2, 0.1]).astype(int)
    guesses = np.clip(0.3 * labels + 0.7 * random.random(labels.shape), 0, 1)
    return labels, guesses


def test_figures_are_scikit_learns():
    labels, guesses = figures()
    limits = [0.5, 0.4, 0.6]
    metrics = findings_metrics(labels, guesses, NAMES, limits)
    for k, one in enumerate(metrics.findings):
        found = guesses[:, k] >= limits[k]
        assert one.support == labels[:, k].sum() and one.threshold == limits[k]
        assert one.auc == pytest.approx(roc_auc_score(labels[:, k], guesses[:, k]))
        assert one.f1 == pytest.approx(f1_score(labels[:, k], found))
        assert one.precision == pytest.approx(precision_score(labels[:, k], found))
        assert one.sensitivity == pytest.approx(found[labels[:, k] == 1].mean())
        assert one.specificity == pytest.approx(1 - found[labels[:, k] == 0].mean())
        assert one.sensitivity_interval[0] < one.sensitivity < one.sensitivity_interval[1]
    assert metrics.f1 == pytest.approx(f1_score(labels, guesses >= limits, average="macro"))
    assert metrics.exact_matches == pytest.approx(
        ((guesses >= limits) == labels).all(axis=1).mean()
    )
    assert metrics.without_finding == pytest.approx((labels.sum(axis=1) == 0).mean())


def test_what_is_undefined_is_none_and_counts_in_no_mean():
    labels, guesses = figures()
    labels[:, 1] = 0
    metrics = findings_metrics(labels, guesses, NAMES, [0.5, 2, 0.5])
    none = metrics.findings[1]
    assert (none.auc, none.f1, none.precision, none.sensitivity) == (None,) * 4
    assert none.specificity == 1.0
    others = [metrics.findings[k].auc for k in (0, 2)]
    assert metrics.auc == pytest.approx(np.mean(others))
    json.dumps(metrics.to_dict(), allow_nan=False)


def test_figures_survive_json():
    metrics = findings_metrics(*figures(), NAMES)
    again = json.loads(json.dumps(metrics.to_dict()))
    assert FindingsMetrics.from_dict(again) == metrics


WRONG = [
    (([[1, 0]], [[0.5, 0.5]], "abc"), {}, r"shape \(n, classes\)"),
    (([0, 1], [[0.5, 0.5]] * 2, "ab"), {}, r"labels of shape \(2, 2\).*Received: shape \(2,\)"),
    (([[2, 0]], [[0.5, 0.5]], "ab"), {}, "findings of 0 and 1"),
    (([[np.nan, 0]], [[0.5, 0.5]], "ab"), {}, "findings of 0 and 1"),
    (([[1, 0]], [[1.5, 0.5]], "ab"), {}, r"probabilities in \[0, 1\]"),
    (([[1, 0]], [[0.5, 0.5]], "ab"), {"thresholds": [0.5]}, r"`thresholds` of shape \(2,\)"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), WRONG)
def test_bad_input(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        findings_metrics(*arguments, **options)


def test_kappa_of_grades():
    labels, guesses = np.arange(40) % 4, np.random.default_rng(0).dirichlet(np.ones(4), 40)
    metrics = classification_metrics(labels, guesses, "abcd", ordinal=True)
    expected = cohen_kappa_score(labels, guesses.argmax(axis=1), weights="quadratic")
    assert metrics.quadratic_kappa == pytest.approx(expected)
    assert type(metrics).from_dict(metrics.to_dict()).quadratic_kappa == metrics.quadratic_kappa
    assert "quadratic_kappa" not in classification_metrics(labels, guesses, "abcd").to_dict()
    same = classification_metrics([1, 1], [[0.1, 0.9]] * 2, "ab", ordinal=True)
    assert same.quadratic_kappa is None


def test_a_page_shows_each_finding(tmp_path):
    metrics = findings_metrics(*figures(), NAMES)
    section = ReportSection("Findings", metrics=metrics)
    page = write_html_report(tmp_path / "it.html", title="t", introduction="", sections=[section])
    text = page.read_text()
    assert "&lt;hernia&gt;" in text and f"{metrics.findings[0].auc:.3f}" in text
    assert "mean F1" in text


def test_rows_show_further_figures_first():
    rows = [
        ResultRow("map", (0.9, 0.8), figures={"AUC": (0.7, 0.9), "F1": (0.5, 0.5)}),
        ResultRow("pixels", (0.9, 0.8)),
    ]
    text = results_markdown(rows)
    assert text.startswith("| method | AUC | F1 | accuracy |")
    assert "| map | .800 ± .141 | .500 ± .000 | .850" in text and "| pixels | - | - |" in text
    assert results_json(rows)[0]["figures"]["AUC"] == [0.7, 0.9]
    assert "figures" not in results_json(rows)[1]
    with pytest.raises(ValueError, match=r"one figure in \[-1, 1\] for each seed. Received: AUC"):
        ResultRow("map", (0.9, 0.8), figures={"AUC": (0.7,)})
