"""A student learns from paid answers, and is never worse on validation than without them."""

from functools import partial

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from joint_models import joint, model_of
from small_models import (
    NUM_CLASSES,
    TARGET_SHAPE,
    frozen_source,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
)

from keras_reprogram import (
    DenseMap,
    MultiLabelMap,
    QueryLedger,
    ReprogrammedModel,
    export_litert,
    fit_student,
)
from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.student.mixing import Mix, Targets
from keras_reprogram.student.teacher import Teacher

VIEWS, FITTED = 2, 26
COUNT = 80
X, Y = images_and_labels(COUNT)
# The images that `small_model` is fitted on, then images without a label.
X[:FITTED] = images_and_labels(FITTED)[0]
LABELS = np.where(np.arange(COUNT) < FITTED, Y, -1)


@pytest.fixture
def ledger(tmp_path):
    with QueryLedger(tmp_path / "answers.ledger", price_per_thousand=2.0) as opened:
        yield opened


@pytest.fixture
def asked():
    """Sizes of the batches that the service was sent."""
    return []


@pytest.fixture
def teacher(ledger, asked):
    return small_model(opaque_source(record=asked, ledger=ledger), num_views=VIEWS)


@pytest.fixture(scope="module")
def local():
    return frozen_source(output="features")


@pytest.mark.slow
def test_answers_in_the_ledger_cost_nothing(teacher, ledger, local):
    teacher.collect_scores(X[FITTED:60], verbose=0)
    spent = ledger.spent
    student = fit_student(teacher, local, X, LABELS, verbose=0)
    assert ledger.spent == spent and student.queries_used == 0 and student.price == 0.0
    assert student.num_labelled == FITTED
    assert (student.num_unlabelled, student.num_unanswered) == (60 - FITTED, COUNT - 60)
    # The student learned them; it cannot be calibrated on them.
    with pytest.raises(ValueError, match=f"{FITTED} images, of which {FITTED} were fitted on"):
        student.model.calibrate(X[:FITTED], Y[:FITTED], abstain=0, verbose=0)
    with pytest.raises(ValueError, match=f"{FITTED} images, of which {FITTED} were fitted on"):
        student.baseline.calibrate(X[:FITTED], Y[:FITTED], abstain=0, verbose=0)


@pytest.mark.slow
def test_a_budget_buys_images_without_a_label_and_no_more(teacher, ledger, local):
    spent = ledger.spent
    student = fit_student(teacher, local, X, LABELS, query_budget=2 * 10 + 1, verbose=0)
    assert ledger.spent - spent == student.queries_used == 20
    assert student.num_unlabelled == 10 and student.price == pytest.approx(0.04)
    again = fit_student(teacher, local, X, LABELS, query_budget=2 * 10, verbose=0)
    assert again.num_unlabelled == 20 and again.queries_used == 20


def test_the_ledgers_own_budget_is_never_exceeded(asked, tmp_path, local):
    with QueryLedger(tmp_path / "few.ledger", budget=VIEWS * (FITTED + 3)) as few:
        model = small_model(opaque_source(record=asked, ledger=few), num_views=VIEWS)
        student = fit_student(model, local, X, LABELS, query_budget=1000, verbose=0)
        assert few.left == 0 and student.num_unlabelled == 3


@pytest.mark.slow
def test_a_student_asks_nothing_when_it_is_used(teacher, local, asked):
    student = fit_student(teacher, local, X, LABELS, query_budget=20, verbose=0)
    before = sum(asked)
    assert student.predict(X, verbose=0).shape == (COUNT, NUM_CLASSES)
    student.baseline.predict(X, verbose=0)
    assert sum(asked) == before


@pytest.mark.slow
def test_a_ledger_of_a_source_without_one_is_used_for_the_call(ledger, asked, local):
    first = small_model(opaque_source(record=asked, ledger=ledger), num_views=VIEWS)
    other = ReprogrammedModel(
        program_for(first.source, VIEWS), opaque_source(record=asked), first.output_map
    )
    before = sum(asked)
    student = fit_student(other, local, X, LABELS, ledger=ledger, verbose=0)
    assert sum(asked) == before and student.num_unlabelled == 0
    assert other.source.ledger is None


@pytest.mark.slow
def test_answers_may_be_given_with_gaps(teacher, local, asked):
    scores = teacher.collect_scores(X, verbose=0)
    scores[70:] = np.nan
    before = sum(asked)
    student = fit_student(teacher, local, X, LABELS, scores=scores, verbose=0)
    assert sum(asked) == before and student.queries_used == 0
    assert (student.num_unlabelled, student.num_unanswered) == (70 - FITTED, 10)


@pytest.mark.slow
def test_the_baseline_is_the_exact_head_on_the_true_labels(teacher, local):
    baseline = fit_student(teacher, local, X, LABELS, query_budget=20, verbose=0).baseline
    alone = ReprogrammedModel(
        program_for(local, placement="full"), local, type(baseline.output_map)(NUM_CLASSES)
    )
    scores = alone.collect_scores(X[:FITTED], verbose=0)
    # One validation part, which the student has as well; `fit_output_map` has folds of so few.
    solver = partial(fit_logistic_regression, num_classes=NUM_CLASSES, few=0)
    alone.output_map.fit_answers(
        scores, Y[:FITTED], solver=lambda x, y, weight: solver(x, y, sample_weight=weight)
    )
    np.testing.assert_allclose(
        baseline.predict(X, verbose=0), alone.predict(X, verbose=0), atol=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_a_teacher_that_is_wrong_does_no_harm(local, known):
    model = small_model(opaque_source(), fitted=False)
    turned = (Y[:FITTED] + 1) % NUM_CLASSES
    model.fit_output_map(X[:FITTED], turned, verbose=0)
    scores = model.collect_scores(X, verbose=0)
    if not known:
        # Then its map cannot be fitted anew on the true labels.
        scores[:FITTED] = np.nan
    student = fit_student(model, local, X, LABELS, scores=scores, verbose=0)
    if not known:
        assert student.kept == "true labels alone" and student.model is student.baseline
    accuracy = np.mean(student.predict(X, verbose=0).argmax(axis=1) == Y)
    assert accuracy >= np.mean(student.baseline.predict(X, verbose=0).argmax(axis=1) == Y) - 0.05


@pytest.mark.slow
def test_a_good_teacher_helps_where_labels_are_few():
    images, labels = images_and_labels(300, seed=5)
    source = opaque_source()
    teacher = small_model(source, fitted=False)
    teacher.fit_output_map(images[:200], labels[:200], verbose=0)
    few = np.where(np.arange(300) < 15, labels, -1)
    local = frozen_source(3)
    student = fit_student(teacher, local, images[:250], few[:250], query_budget=250, verbose=0)

    def error(model):
        return np.mean(model.predict(images[250:], verbose=0).argmax(1) != labels[250:])

    assert error(student.model) <= error(student.baseline)


@pytest.mark.slow
def test_soft_labels_for_a_choice_have_not_seen_its_labels(teacher):
    scores = teacher.collect_scores(X[:40], verbose=0)
    # Answers that leave doubt: maps with other images in them say other things.
    random = np.random.default_rng(0).dirichlet(np.ones(scores.shape[-1]), scores.shape[:2])
    scores = (0.2 * scores + 0.8 * random).astype("float32")
    labels = Y[:40].copy()
    unseen = np.arange(40) >= 30
    judged = Teacher(teacher, scores, labels, None).soft_labels(unseen)
    labels[unseen] = (labels[unseen] + 1) % NUM_CLASSES
    np.testing.assert_array_equal(
        judged, Teacher(teacher, scores, labels, None).soft_labels(unseen)
    )
    # The model's own map has seen the first images; the soft labels are by maps that have not.
    own = keras.ops.convert_to_numpy(teacher.output_map(scores[:FITTED]))
    assert np.abs(judged[:FITTED] - own).max() > 1e-3


def test_an_image_of_a_group_is_read_by_a_map_that_saw_none_of_the_group(teacher):
    scores, groups = teacher.collect_scores(X[:40], verbose=0), np.arange(40) // 2
    soft = Teacher(teacher, scores, Y[:40], groups)
    folds = soft._folds(np.ones(40, bool))
    assert sum(fold.astype(int) for fold in folds).tolist() == [1] * 40
    for fold in folds:
        assert not set(groups[fold]) & set(groups[~fold])


def test_targets_mix_true_and_soft_labels():
    soft = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [np.nan, np.nan]], np.float32)
    targets = Targets(np.array([0, 0, -1, 1]), soft, soft, held_out=np.array([0]))
    rows, weight = targets.for_choice(Mix(1.0, 0.3, 0.5))
    np.testing.assert_allclose(rows, [[1, 0], [0.6, 0.4], [0.6, 0.4], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(weight, [1, 1, 0.3, 1])
    rows, _ = targets.for_fit(Mix(0.5, 1.0, 0.5))
    # p^2 renormalised: .81 / .82.
    np.testing.assert_allclose(rows[0], [0.5 + 0.5 * 0.81 / 0.82, 0.5 * 0.01 / 0.82], atol=1e-5)


@pytest.mark.slow
def test_the_bill_of_a_joint_teacher_is_its_asked_parts(ledger, asked, local):
    model = model_of(joint(opaque_source(record=asked, ledger=ledger)), fitted=True)
    spent = ledger.spent
    views = model.queries_per_prediction
    student = fit_student(model, local, X, LABELS, query_budget=6 * views, verbose=0)
    assert ledger.spent - spent == student.queries_used == 6 * views


@pytest.mark.slow
def test_a_head_on_scores_is_a_dense_map(teacher):
    student = fit_student(teacher, frozen_source(), X, LABELS, query_budget=20, verbose=0)
    assert isinstance(student.model.output_map, DenseMap)


@pytest.mark.slow
def test_a_student_is_a_model_like_any_other(teacher, local, tmp_path):
    student = fit_student(teacher, local, X, LABELS, query_budget=20, verbose=0)
    student.model.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(
        loaded.predict(X, verbose=0), student.predict(X, verbose=0), atol=1e-6
    )
    assert "Queries sent: 20, price 0.04" in student.to_markdown()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "network"])
def test_a_student_becomes_a_litert_file_that_answers_alike(teacher, local, tmp_path, kind):
    learner = local if kind == "head" else small_network()
    options = {"query_budget": 40, "most_steps": 10, "verbose": 0}
    student = fit_student(teacher, learner, X, LABELS, **options)
    file = export_litert(student.model, tmp_path / "student.tflite")
    runner = Interpreter(model_path=str(file)).get_signature_runner("serving_default")
    found = runner(image=X[:6])["scores"]
    np.testing.assert_allclose(found, student.predict(X[:6], verbose=0), atol=1e-5)


BAD = {
    "not fitted": ({"fitted": False}, {}, "must be fitted before it teaches"),
    "no answer, no budget": ({}, {}, "no ledger, and query_budget=0"),
    "below one image": ({}, {"query_budget": 1}, "pay for one image at least, which is 2"),
    "no whole number": ({}, {"query_budget": 2.5}, "whole number"),
    "range": ({}, {"images": X / 255}, "target_range"),
    "shape": ({}, {"images": X[..., 0]}, "4 axes"),
    "labels": ({}, {"labels": LABELS[:9]}, "-1 where the class is unknown"),
    "one class": ({}, {"labels": np.where(LABELS == 0, 0, -1)}, "at least two classes"),
    "other classes": ({}, {"labels": LABELS + 7 * (LABELS >= 0)}, "must lie in"),
    "paid local": ({}, {"local": "paid"}, "must cost no queries"),
    "no source": ({}, {"local": "MobileNet"}, "Wrap a trained network"),
    "split": ({}, {"validation_split": 1.0}, "validation_split"),
    "both": ({}, {"scores": np.zeros((80, 2, 5)), "query_budget": 4}, "nothing is asked"),
    "scores": ({}, {"scores": np.zeros((9, 2, 5))}, "rows of NaN"),
    "groups": ({}, {"groups": np.zeros(3)}, "one group per image"),
}


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_a_query(case, local, asked):
    how, options, message = BAD[case]
    model = small_model(
        opaque_source(record=asked), num_views=VIEWS, fitted=how.get("fitted", True)
    )
    arguments = {"local": local, "images": X, "labels": LABELS, "query_budget": 0} | options
    if arguments["local"] == "paid":
        arguments["local"] = opaque_source()
    asked.clear()
    with pytest.raises(ValueError, match=message):
        fit_student(
            model, arguments.pop("local"), arguments.pop("images"), arguments.pop("labels"),
            **arguments,
        )  # fmt: skip
    assert not asked


def test_an_empty_ledger_without_a_budget_is_refused(teacher, tmp_path, local, asked):
    asked.clear()
    message = r"empty\.ledger, which holds no answer"
    with (
        QueryLedger(tmp_path / "empty.ledger") as empty,
        pytest.raises(ValueError, match=message),
    ):
        fit_student(teacher, local, X, LABELS, ledger=empty)
    assert not asked


def test_a_ledger_for_a_source_that_computes_is_refused(ledger, local):
    with pytest.raises(ValueError, match="which computes its answers"):
        fit_student(small_model(), local, X, LABELS, ledger=ledger, query_budget=30)


def small_network(classes=NUM_CLASSES, shape=TARGET_SHAPE, activation="softmax"):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dropout(0.1, seed=1),
            keras.layers.Dense(classes, activation=activation),
        ]
    )


@pytest.mark.slow
def test_a_small_network_learns_and_is_never_worse_on_validation(teacher, asked, tmp_path):
    options = {"query_budget": 2 * 40, "most_steps": 30, "verbose": 0}
    student = fit_student(teacher, small_network(), X, LABELS, **options)
    assert isinstance(student.model.output_map, MultiLabelMap)
    before = sum(asked)
    probabilities = student.predict(X, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    network = student.model.source.model
    np.testing.assert_allclose(network.predict(X, verbose=0), probabilities, atol=1e-5)
    assert sum(asked) == before
    if student.kept == "student":
        assert student.validation.beats(student.baseline_validation)
    else:
        assert student.model is student.baseline
    student.model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (small_network(classes=4), r"\(None, 4, 4, 1\) -> \(None, 4\)"),
        (small_network(shape=(8, 8, 1)), r"\(None, 8, 8, 1\) -> \(None, 3\)"),
        (small_network(activation=None), "an answer that sums to"),
        (keras.Model(), "no functional or Sequential"),
    ],
)
def test_a_network_of_another_task_is_refused_before_a_query(teacher, network, message, asked):
    asked.clear()
    with pytest.raises(ValueError, match=message):
        fit_student(teacher, network, X, LABELS, query_budget=20)
    assert not asked
