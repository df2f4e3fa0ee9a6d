"""Writing for all threads: many wishes in a transaction, each whole or not at all."""

import signal
import sqlite3
import threading

import pytest

from keras_reprogram.source.ledger.ledger_writer import LedgerWriter


@pytest.fixture
def database(tmp_path):
    connection = sqlite3.connect(tmp_path / "d", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE numbers (number INTEGER)")
    yield connection
    connection.close()


def numbers_in(database):
    return sorted(number for (number,) in database.execute("SELECT number FROM numbers"))


def insert(number):
    return lambda database: database.execute("INSERT INTO numbers VALUES (?)", (number,)).lastrowid


def test_queued_changes_are_written_together(database):
    lock, commits = threading.RLock(), []
    database.set_trace_callback(lambda said: said == "COMMIT" and commits.append(said))
    writer = LedgerWriter(database, lock)
    threads = [threading.Thread(target=writer.write, args=(insert(n),)) for n in range(40)]
    with lock:
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert numbers_in(database) == list(range(40))
    assert len(commits) <= 3


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
    lock, told = threading.RLock(), []
    writer = LedgerWriter(database, lock)
    holds = threading.Event()

    def hold():
        with lock:
            holds.set()
            threading.Event().wait(0.2)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            threading.Event().wait(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(5)
    with pytest.raises(KeyboardInterrupt):
        writer.write(insert(7), written=told.append, droppable=droppable)
    assert numbers_in(database) == ([] if droppable else [7])
    assert len(told) == len(numbers_in(database))
    holder.join()
    writer.close()


def test_a_closed_writer_says_so_and_ends_its_thread(database):
    before = threading.active_count()
    writer = LedgerWriter(database, threading.RLock())
    writer.write(insert(1))
    writer.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        writer.write(insert(2))
    assert threading.active_count() == before


def test_a_forgotten_writer_ends_its_thread(database):
    writer = LedgerWriter(database, threading.RLock())
    writer.write(insert(1))
    thread = writer._thread
    del writer
    thread.join(5)
    assert not thread.is_alive()
