"""Writing for all threads: many wishes in a transaction, each whole or not at all."""

import contextlib
import threading

import pytest
from waiting import PATIENCE, ctrl_c, wait_until

from keras_reprogram.source.ledger.ledger_writer import LedgerWriter, NotOpenError
from keras_reprogram.source.ledger.sqlite_database import SQLiteDatabase


@pytest.fixture
def database(tmp_path):
    database = SQLiteDatabase(tmp_path / "d")
    database._connection.execute("CREATE TABLE numbers (number INTEGER)")
    yield database
    database.close()


def numbers_in(database):
    found = database._connection.execute("SELECT number FROM numbers")
    return sorted(number for (number,) in found)


def insert(number):
    question = "INSERT INTO numbers VALUES (?)"
    return lambda database: database._connection.execute(question, (number,)).lastrowid


def test_queued_changes_are_written_together(database):
    lock, commits = threading.RLock(), []
    database._connection.set_trace_callback(lambda said: said == "COMMIT" and commits.append(said))
    writer = LedgerWriter(database, lock)
    with lock:
        written = [writer.writing(insert(number)) for number in range(40)]
    assert [wait() for wait in written] == list(range(1, 41))
    writer.close()
    assert numbers_in(database) == list(range(40))
    # The first may be taken before the others are queued.
    assert len(commits) <= 2


def test_one_that_fails_takes_no_other_with_it(database):
    lock, outcomes = threading.RLock(), {}
    writer = LedgerWriter(database, lock)

    def wish(number):
        def change(database):
            insert(number)(database)
            if number % 3 == 0:
                raise KeyError(number)
            return number

        try:
            outcomes[number] = writer.write(change)
        except KeyError as error:
            outcomes[number] = error.args[0], "failed"

    threads = [threading.Thread(target=wish, args=(number,)) for number in range(9)]
    with lock:
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert numbers_in(database) == [1, 2, 4, 5, 7, 8]
    assert outcomes == {n: (n, "failed") if n % 3 == 0 else n for n in range(9)}


@pytest.mark.parametrize("droppable", [False, True])
def test_ctrl_c_before_a_change_is_written(database, droppable):
    told = []

    @contextlib.contextmanager
    def interrupting():
        if threading.current_thread() is writer._thread:
            press()
            # The one that was interrupted queues its change again, to learn what became of it.
            wait_until(lambda: not writer._queue.empty())
        yield

    writer = LedgerWriter(database, interrupting())
    with ctrl_c() as press, pytest.raises(KeyboardInterrupt):
        writer.write(insert(7), written=told.append, droppable=droppable)
    assert numbers_in(database) == ([] if droppable else [7])
    assert len(told) == len(numbers_in(database))
    writer.close()


def test_a_closed_writer_says_so_and_ends_its_thread(database):
    writer = LedgerWriter(database, threading.RLock())
    writer.write(insert(1))
    writer.close()
    with pytest.raises(NotOpenError, match="closed"):
        writer.write(insert(2))
    assert not writer._thread.is_alive()


def test_a_forgotten_writer_ends_its_thread(database):
    writer = LedgerWriter(database, threading.RLock())
    writer.write(insert(1))
    thread = writer._thread
    del writer
    thread.join(PATIENCE)
    assert not thread.is_alive()
