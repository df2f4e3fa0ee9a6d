"""A source with a ledger: nothing twice, nothing over budget, also through whole trainings."""

import os
import signal
import threading
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
from checks.tiny_models import NUM_LABELS, SHAPE, random_images
from waiting import PATIENCE, ctrl_c
from warm_processes import started

from keras_reprogram import (
    BudgetSpentError,
    DenseMap,
    MultiLabelMap,
    OpaqueSource,
    ProgramLayer,
    QueryLedger,
    RandomDirections,
    ReprogrammedModel,
)
from keras_reprogram.source import query_key


class Service:
    """A server of its own: bills each image, and may do what servers do."""

    def __init__(self, fault=None):
        self.billed, self.fault = Counter(), fault
        self.kernel = np.random.default_rng(3).normal(0, 0.02, (int(np.prod(SHAPE)), NUM_LABELS))

    def __call__(self, images):
        self.billed.update(image.tobytes() for image in images)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            if isinstance(fault, BaseException):
                raise fault
            return fault
        odds = np.exp((images.reshape(len(images), -1) / 127.5 - 1) @ self.kernel)
        return odds / odds.sum(axis=1, keepdims=True)


def source_of(service, ledger, **options):
    facts = {"value_range": (0, 255), "identity": "a service", "ledger": ledger} | options
    return OpaqueSource(service, SHAPE, NUM_LABELS, **facts)


def test_an_image_is_sent_once_also_to_a_new_source(place):
    service, images = Service(), random_images(5)
    with QueryLedger(place("l")) as ledger:
        source = source_of(service, ledger)
        first = source(np.concatenate([images, images[:2]]))
        assert source.queries_used == 5
        again = source_of(service, ledger, max_batch=2)
        np.testing.assert_array_equal(again(images), first[:5])
        np.testing.assert_array_equal(first[5:], first[:2])
        assert again.queries_used == 0
        # Another service knows nothing of it.
        source_of(service, ledger, identity="another")(images)
        assert ledger.spent == sum(service.billed.values()) == 10


def around_transactions(ledger, before=None, at_commit=None):
    """Calls functions before each transaction of a ledger, and when it is about to be committed."""
    database = ledger._store.database
    inner = database.transaction

    @contextmanager
    def transaction(*, synced):
        if before is not None:
            before()
        with inner(synced=synced):
            yield
            if at_commit is not None:
                at_commit()

    database.transaction = transaction


def test_ctrl_c_while_a_claim_is_written_leaves_nothing_open(place):
    """Nobody would settle it, and whoever asks again would wait for ever."""
    service, images, pressed = Service(), random_images(3), []

    def interrupt():
        if not pressed:
            pressed.append(True)
            press()

    with ctrl_c() as press, QueryLedger(place("l"), budget=3) as ledger:
        source = source_of(service, ledger)
        around_transactions(ledger, at_commit=interrupt)
        with pytest.raises(KeyboardInterrupt):
            source(images)
        assert ledger.counts() == {"sent": 0, "billed": 0, "free": 3}
        assert ledger.spent == sum(service.billed.values()) == 0
        pressed.clear()
        with pytest.raises(KeyboardInterrupt):
            ledger.claim([query_key("a", "", b"b")])
        assert ledger.spent == ledger.counts()["sent"] == 0
        assert source(images).shape == (3, NUM_LABELS)
        assert ledger.spent == sum(service.billed.values()) == 3


@pytest.mark.parametrize("reached", [True, False])
def test_ctrl_c_while_a_claim_is_queued_leaves_nothing_open(place, reached):
    service, images = Service(), random_images(3)

    class Interrupting:
        def __init__(self, queue):
            self.queue, self.pressed = queue, False

        def put(self, write):
            if self.pressed:
                return self.queue.put(write)
            self.pressed = True
            if reached:
                # The writer is busy: the claim is written after its caller was interrupted.
                busy.clear()
                self.queue.put(write)
                threading.Timer(0.2, busy.set).start()
            raise KeyboardInterrupt

    busy = threading.Event()
    busy.set()
    with QueryLedger(place("l"), budget=3) as ledger:
        source = source_of(service, ledger)
        around_transactions(ledger, before=lambda: busy.wait(60))
        writer = ledger._store._writer
        writer._queue = Interrupting(writer._queue)
        with pytest.raises(KeyboardInterrupt):
            source(images)
        # What is written next follows whatever was still queued.
        ledger.release_all([99])
        assert ledger.counts()["sent"] == ledger.spent == sum(service.billed.values()) == 0
        assert source(images).shape == (3, NUM_LABELS)
        assert ledger.spent == sum(service.billed.values()) == 3


@pytest.mark.parametrize("fault", [ConnectionError("gone"), KeyboardInterrupt(), TimeoutError()])
def test_a_lost_request_counts_and_may_be_sent_again(place, fault):
    service, images = Service(fault), random_images(3)
    with QueryLedger(place("l"), budget=6) as ledger:
        source = source_of(service, ledger)
        with pytest.raises(type(fault)) as caught:
            source(images)
        assert caught.value is fault
        assert ledger.counts()["sent"] == ledger.spent == 3
        assert source(images).shape == (3, NUM_LABELS)
        assert ledger.spent == sum(service.billed.values()) == 6
        with pytest.raises(BudgetSpentError):
            source(random_images(1, seed=9))


@pytest.mark.parametrize("on_unknown", ["skip", "raise", "resend"])
def test_an_owner_that_answers_and_ends_meanwhile_has_answered(tmp_path, monkeypatch, on_unknown):
    key = query_key("a", "", b"b")
    answer = np.array([0.25, 0.75], np.float32)
    other = QueryLedger(tmp_path / "l")
    (attempt,) = other.claim([key]).ours.values()
    with QueryLedger(tmp_path / "l", on_unknown=on_unknown) as ledger:
        database = ledger._store.database
        is_alive = database.is_alive

        def ends(owner):
            other.settle(attempt, answer)
            other.close()
            return is_alive(owner)

        monkeypatch.setattr(database, "is_alive", ends)
        found = ledger.look([key])
        monkeypatch.setattr(database, "is_alive", is_alive)
        if on_unknown == "resend":
            # To be claimed, in a transaction that sees the answer.
            found = ledger.claim([key])
        np.testing.assert_array_equal(found.answers[key], answer)
        assert not found.skipped and not found.ours
        assert ledger.spent == 1


def test_skipped_queries_answer_nothing(place):
    service, images = Service(ConnectionError("gone")), random_images(3)
    with QueryLedger(place("l"), on_unknown="skip") as ledger:
        source = source_of(service, ledger)
        with pytest.raises(ConnectionError):
            source(images[:1])
        answers = np.asarray(source(images))
        np.testing.assert_allclose(answers[0], 1 / NUM_LABELS)
        assert np.ptp(answers[1]) > 0.01
        assert ledger.spent == 3


@pytest.mark.parametrize(
    "answer", [np.zeros((3, NUM_LABELS + 1)), np.full((3, NUM_LABELS), np.nan), "overloaded"]
)
def test_a_malformed_answer_is_billed_and_not_kept(place, answer):
    service, images = Service(answer), random_images(3)
    with QueryLedger(place("l")) as ledger:
        source = source_of(service, ledger)
        with pytest.raises(ValueError, match="Received"):
            source(images)
        assert ledger.counts() == {"sent": 0, "billed": 3, "free": 0}
        source(images)
        assert ledger.spent == sum(service.billed.values()) == 6


def test_another_threads_query_is_waited_for(place):
    here, go_on = threading.Event(), threading.Event()
    service, images = Service(), random_images(2)

    def slow(sent):
        here.set()
        assert go_on.wait(PATIENCE)
        return service(sent)

    with QueryLedger(place("l")) as ledger:
        found = []
        first = threading.Thread(target=lambda: found.append(source_of(slow, ledger)(images)))
        first.start()
        assert here.wait(PATIENCE)
        second = threading.Thread(target=lambda: found.append(source_of(service, ledger)(images)))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        go_on.set()
        first.join()
        second.join()
        np.testing.assert_array_equal(found[0], found[1])
        assert ledger.spent == sum(service.billed.values()) == 2


def model_for(source, output_map=None):
    program = ProgramLayer((6, 6, 3), SHAPE, source_range=(0, 255), grid=3, masked=False)
    estimator = RandomDirections(2)
    return ReprogrammedModel(program, source, output_map or DenseMap(3), estimator, seed=1)


def test_another_map_on_the_same_images_costs_nothing(place):
    x, y = random_images(30, (6, 6, 3)), np.arange(30) % 3
    with QueryLedger(place("l"), budget=30) as ledger:
        for output_map in (DenseMap(3), MultiLabelMap(3, assignment="bayesian")):
            model = model_for(source_of(Service(), ledger), output_map)
            model.fit_output_map(x, y, verbose=0)
        assert model.queries_used == 0
        assert ledger.spent == 30


def test_the_ledgers_budget_ends_the_steps_and_keeps_the_best(place):
    x, y = random_images(30, (6, 6, 3)), np.arange(30) % 3
    with QueryLedger(place("l"), budget=80) as ledger:
        model = model_for(source_of(Service(), ledger))
        fit = model.fit_opaque(x, y, query_budget=500, choose_views=False, verbose=0)
        assert fit.ended_by == "the ledger's budget" and "ended by" in str(fit)
        assert 30 <= fit.queries_used == ledger.spent <= 80
    with QueryLedger(place("short"), budget=20) as ledger:
        model = model_for(source_of(Service(), ledger))
        with pytest.raises(BudgetSpentError):
            model.fit_opaque(x, y, query_budget=500, choose_views=False, verbose=0)


def train(folder, name, place, dies_after=0):
    """One whole training, which kills its own process after `dies_after` bills."""
    service, x, y = Service(), random_images(24, (6, 6, 3)), np.arange(24) % 3
    with (folder / f"{name}.bill").open("ab") as bill:

        def served(images):
            for image in images:
                bill.write(image.tobytes())
                bill.flush()
            answer = service(images)
            if dies_after and sum(service.billed.values()) >= dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        model = model_for(source_of(served, QueryLedger(place, budget=2000)))
        model.fit_output_map(x, y, verbose=0)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    np.savez(folder / f"{name}.npz", *[variable.numpy() for variable in model.trainable_variables])


def paid(folder, name):
    return len((folder / f"{name}.bill").read_bytes()) // (int(np.prod(SHAPE)) * 4)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_and_pays_once(place, tmp_path):
    # In this process: another hash seed and random state than those of the killed ones.
    train(tmp_path, "whole", place("whole"))
    for dies_after, code in (
        (20, -signal.SIGKILL),
        (60, -signal.SIGKILL),
        (110, -signal.SIGKILL),
        (0, 0),
    ):
        process = started(train, tmp_path, "killed", place("killed"), dies_after)
        process.join(200)
        assert process.exitcode == code
    # At each kill one call of at most 24 images was in flight.
    paid_in_all = paid(tmp_path, "killed")
    assert paid(tmp_path, "whole") <= paid_in_all <= paid(tmp_path, "whole") + 3 * 24
    one, other = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "killed.npz")
    assert len(one.files) == 3
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
    with QueryLedger(place("killed")) as ledger:
        assert ledger.spent == paid_in_all


def test_a_rerun_of_the_recipe_decides_alike_and_is_free(place):
    """What the ledger answers must count for decisions, or a rerun has more budget for steps."""
    x, y = random_images(30, (6, 6, 3)), np.arange(30) % 3
    seen = []
    for _ in range(2):
        with QueryLedger(place("l")) as ledger:
            model = model_for(source_of(Service(), ledger))
            fit = model.fit_opaque(x, y, query_budget=120, choose_views=False, verbose=0)
            weights = [variable.numpy() for variable in model.trainable_variables]
            seen.append((len(fit.stages), fit.queries_used, ledger.spent, weights))
    (stages, used, spent, first), (again, used_again, spent_again, second) = seen
    assert stages == again > 1 and used == spent == spent_again and used_again == 0
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
