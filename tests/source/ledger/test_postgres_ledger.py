"""A ledger in PostgreSQL: where it is, what it keeps secret, and what a lost server costs."""

import copy
import io
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from postgres_server import PASSWORD, PostgresServer, postgres_binaries, quoted
from warm_processes import started

from keras_reprogram.source import (
    BudgetSpentError,
    QueryLedger,
    UnknownFateError,
    query_key,
)
from keras_reprogram.source.ledger.postgres_url import PostgresURL, is_postgres_url

ANSWER = np.array([0.25, 0.75], np.float32)


def keys(*names):
    return [query_key("a model", "", str(name).encode()) for name in names]


def settle(ledger, claim):
    ledger.settle_all(dict.fromkeys(claim.ours.values(), ANSWER))


# Without a server.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@host:5433/db", "postgresql://me@host:5433/db?ledger=ledger"),
        ("postgresql://me:s3?cret@host/db", "postgresql://me@host/db?ledger=ledger"),
        ("postgres://host/db?ledger=signs", "postgresql://host/db?ledger=signs"),
        ("postgresql://", "postgresql:///?ledger=ledger"),
        ("postgresql:///?service=paid", "postgresql:///?service=paid&ledger=ledger"),
        ("postgresql://me:a%40b%2Fc@h/d?ledger=x_1", "postgresql://me@h/d?ledger=x_1"),
        (
            "postgresql://me@h/d?password=s3cret&sslpassword=s3cret&sslmode=require&ledger=l",
            "postgresql://me@h/d?ledger=l",
        ),
        ("postgresql:///d?host=/run/sock", "postgresql://%2Frun%2Fsock/d?ledger=ledger"),
        ("postgresql://a:1,b:2/d", "postgresql://a:1,b:2/d?ledger=ledger"),
        ("postgresql://a,b/d", "postgresql://a,b/d?ledger=ledger"),
        ("postgresql://[::1]:5/d", "postgresql://[::1]:5/d?ledger=ledger"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    pytest.importorskip("psycopg")
    found = PostgresURL(url)
    assert str(found) == repr(found) == f"{found}" == shown
    # What is shown names the same place, for who has the password elsewhere.
    assert str(PostgresURL(shown)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:12/s3cret@host/db",
        "postgresql://me:p@s3cret@host/db",
        "postgresql://me:p?s3cret@host/db?ledger=l",
        "postgresql://me:s3cret%zz@host/db",
        "postgresql://me:s3cret@host:port/db?unknown=s3cret",
    ],
)
def test_a_url_that_cannot_be_read_is_not_shown(url):
    pytest.importorskip("psycopg")
    with pytest.raises(ValueError, match=r"Expected a URL such as .*quote\(password") as caught:
        QueryLedger(url)
    said = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in said.replace(f"{url!r}", "")


@pytest.mark.parametrize("name", ["", "Signs", "1st", "pg_signs", 'a"b', "a;b", "x" * 64, "a b"])
def test_a_name_is_one_word(name):
    pytest.importorskip("psycopg")
    with pytest.raises(ValueError, match=r"one name of small letters, .*Received: .* Rename it"):
        QueryLedger(f"postgresql://host/db?ledger={quoted(name)}")


def test_two_names_are_refused():
    pytest.importorskip("psycopg")
    with pytest.raises(ValueError, match="Received: 'a, b'"):
        QueryLedger("postgresql://host/db?ledger=a&ledger=b")


def test_a_path_of_a_url_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path("postgresql://me:s3cret@host/db"), "postgresql:/me:s3cret@host/db"):
        with pytest.raises(ValueError, match="Pass the URL as a string") as caught:
            QueryLedger(path)
        assert "s3cret" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert not is_postgres_url("postgresql.ledger") and not is_postgres_url(Path("postgres/l"))


def test_a_missing_extra_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[postgres\]'"):
        QueryLedger("postgresql://host/db")


def test_files_need_no_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with QueryLedger(tmp_path / "l") as ledger:
        assert ledger.spent == 0


def test_a_server_that_is_not_there(monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    with pytest.raises(OSError, match=r"could not be opened. Received: .*[Rr]efused") as caught:
        QueryLedger("postgresql://me@127.0.0.1:1/db")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_arguments_are_checked_first():
    with pytest.raises(ValueError, match="`budget` must be"):
        QueryLedger("postgresql://127.0.0.1:1/db", budget=-1)


# With a server.


@pytest.fixture
def own_server():
    """A server that a test may stop."""
    pytest.importorskip("psycopg")
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    with PostgresServer(binaries) as server:
        yield server


@pytest.mark.slow
def test_passwords_come_from_the_environment_and_stay_there(
    postgres_server, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres_server.url("secrets", password=None)
    with QueryLedger(url) as by_variable:
        settle(by_variable, by_variable.claim(keys("a")))
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "service"
    file.write_text(
        f"[paid]\nhost=127.0.0.1\nport={postgres_server.port}\ndbname=postgres\n"
        f"user=tester\npassword={PASSWORD}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    with QueryLedger("postgresql:///?service=paid&ledger=secrets") as by_service:
        assert by_service.spent == 1
    with QueryLedger(postgres_server.url("secrets")) as by_url:
        assert by_url.path == url
        shown = io.StringIO()
        print(by_url, vars(by_url), vars(by_url._store), vars(by_url._store.database), file=shown)
        with pytest.raises(ValueError) as closed:
            by_url.settle(99, None)
        print(*traceback.format_exception(closed.value), file=shown)
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                copied(by_url)
    wrong = postgres_server.url("secrets", password="another " + PASSWORD)
    with pytest.raises(OSError, match="password authentication failed") as refused:
        QueryLedger(wrong)
    print(*traceback.format_exception(refused.value), file=shown)
    for secret in (PASSWORD, quoted(PASSWORD)):
        assert secret not in shown.getvalue() + caplog.text


@pytest.mark.slow
def test_ledgers_of_one_database_know_nothing_of_each_other(postgres_server):
    with (
        QueryLedger(postgres_server.url("one"), budget=1) as one,
        QueryLedger(postgres_server.url("two"), budget=1) as two,
        QueryLedger(postgres_server.url("select")) as reserved,
    ):
        for ledger in (one, two, reserved):
            assert len(ledger.claim(keys("a")).ours) == 1
            assert ledger.spent == 1


@pytest.mark.slow
def test_many_make_the_same_ledger(postgres_server):
    def opened(_):
        with QueryLedger(postgres_server.url("many")) as ledger:
            return ledger.spent

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(opened, range(8))) == {0}


@pytest.mark.slow
def test_a_schema_that_is_no_ledger(postgres_server):
    QueryLedger(postgres_server.url("newer")).close()
    with PostgresURL(postgres_server.url("other")).connect() as connection:
        connection.execute("CREATE SCHEMA other")
        connection.execute("CREATE TABLE other.attempts (people TEXT)")
        connection.execute("UPDATE newer.facts SET value = '9'")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    with pytest.raises(ValueError, match="Expected .*ledger=other to be a query ledger. Received"):
        QueryLedger(postgres_server.url("other"))
    with pytest.raises(ValueError, match="Received: format 9. Update"):
        QueryLedger(postgres_server.url("newer"))
    with pytest.raises(OSError, match="could not be opened. Received: permission denied"):
        QueryLedger(postgres_server.url("third", user="reader", password="reader"))


@pytest.mark.slow
def test_a_role_needs_no_more_than_the_tables(postgres_server):
    QueryLedger(postgres_server.url("granted")).close()
    with PostgresURL(postgres_server.url("granted")).connect() as connection:
        connection.execute("CREATE ROLE worker LOGIN PASSWORD 'worker'")
        connection.execute("GRANT USAGE ON SCHEMA granted TO worker")
        connection.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA granted TO worker")
    url = postgres_server.url("granted", user="worker", password="worker")
    with QueryLedger(url, budget=2) as ledger:
        settle(ledger, ledger.claim(keys("a")))
        assert ledger.spent == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_is_refused(own_server, mode):
    """Its sessions are not a process's own: locks and the schema would be another's."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no PgBouncer: apt-get install pgbouncer")
    with own_server.pooler(program, mode) as url, pytest.raises(ValueError, match="a pooler such"):
        QueryLedger(url)


@pytest.mark.slow
def test_notes_of_any_characters_are_kept(postgres_server):
    with QueryLedger(postgres_server.url("notes")) as ledger:
        (attempt,) = ledger.claim(keys("a")).ours.values()
        ledger.settle(attempt, None, "\0 Größe \ud800")
        assert ledger.counts()["billed"] == 1


@pytest.mark.slow
def test_an_attempt_is_on_the_disk_where_the_server_does_not_wait(own_server):
    """A server that says "committed" before it is; then it loses its power."""
    with PostgresURL(own_server.url("l")).connect() as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = off")
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    own_server.stop()
    own_server.start()
    ledger = QueryLedger(own_server.url("l"), budget=10)
    claim = ledger.claim(keys("a", "b"))
    own_server.stop(crash=True)
    own_server.start()
    with QueryLedger(own_server.url("l"), budget=10) as again:
        assert again.spent == again.counts()["sent"] == 2
        assert not claim.answers
    ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("on_unknown", ["resend", "raise", "skip"])
def test_a_lost_server_loses_nothing(own_server, on_unknown):
    with QueryLedger(own_server.url("l"), budget=4, on_unknown=on_unknown) as ledger:
        settle(ledger, ledger.claim(keys("paid")))
        claim = ledger.claim(keys("late", "lost"))
        own_server.stop(crash=True)
        for _ in range(2):
            with pytest.raises(OSError, match="could not be written. Received: .*; nothing that"):
                ledger.claim(keys("new"))
            with pytest.raises(OSError, match="could not be read. Received: "):
                print(ledger.spent)
        own_server.start()
        # What comes after all is stored; the rest is what `on_unknown` says.
        ledger.settle(claim.ours[keys("late")[0]], ANSWER)
        assert ledger.counts() == {"sent": 1, "billed": 2, "free": 0}
        assert set(ledger.look(keys("paid", "late")).answers) == set(keys("paid", "late"))
        if on_unknown == "raise":
            with pytest.raises(UnknownFateError, match="1 queries of unknown fate"):
                ledger.claim(keys("lost"))
        else:
            again = ledger.claim(keys("lost"))
            assert len(again.ours if on_unknown == "resend" else again.skipped) == 1
        assert ledger.spent == (4 if on_unknown == "resend" else 3)
        if on_unknown == "resend":
            with pytest.raises(BudgetSpentError):
                ledger.claim(keys("new"))


@pytest.mark.slow
def test_a_session_that_ends_within_a_transaction_writes_none_of_it(postgres_server):
    with QueryLedger(postgres_server.url("ended"), budget=9) as ledger:
        database = ledger._store.database
        add = database.add

        def add_and_end(*arguments):
            numbers = add(*arguments)
            pid = database._connection.info.backend_pid
            with PostgresURL(postgres_server.url("ended")).connect() as other:
                other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            time.sleep(0.2)
            return numbers

        database.add = add_and_end
        with pytest.raises(OSError, match="could not be written. Received: .*terminat"):
            ledger.claim(keys("a"))
        database.add = add
        assert ledger.spent == sum(ledger.counts().values()) == 0
        assert len(ledger.claim(keys("a")).ours) == 1


@pytest.mark.slow
def test_one_that_fails_takes_no_other_with_it(postgres_server):
    with QueryLedger(postgres_server.url("parts"), budget=20) as ledger:
        attempts = list(ledger.claim(keys(*range(8))).ours.values())
        outcomes = {}

        def work(number):
            try:
                if number % 2:
                    # The first of them is open: it is taken back with the other.
                    ledger.settle_all({attempts[number]: ANSWER, 10_000: ANSWER})
                else:
                    ledger.settle(attempts[number], ANSWER)
                outcomes[number] = "settled"
            except ValueError:
                outcomes[number] = "not open"

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        with ledger._store.database.lock:
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == {n: "not open" if n % 2 else "settled" for n in range(8)}
        assert ledger.counts() == {"sent": 4, "billed": 4, "free": 0}


def in_child(function):
    """Runs a function in a fork of this process; what it writes to a pipe, and its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        found = said.read()
    os.waitpid(child, 0)
    return found


@pytest.mark.slow
def test_a_forked_child_opens_the_ledger_itself(postgres_server):
    url = postgres_server.url("forked")
    ledger = QueryLedger(url, budget=5)
    ledger.claim(keys("a"))

    def inherited():
        try:
            ledger.claim(keys("a"))
        except ValueError as error:
            return error

    def own():
        with QueryLedger(url, budget=5) as own_ledger:
            claim = own_ledger.claim(keys("a", "b"))
            ledger.close()
            return len(claim.elsewhere), len(claim.ours)

    assert "was forked from" in in_child(inherited)
    assert in_child(own) == "(1, 1)"
    # The parent's session is as it was, and its owner alive.
    assert ledger.spent == 2
    with QueryLedger(url) as other:
        assert other.claim(keys("a")).elsewhere == set(keys("a"))
    ledger.close()


PARENT = """
import os, sys, time
sys.path[:0] = {path!r}
from keras_reprogram.source import QueryLedger, query_key
ledger = QueryLedger({url!r})
ledger.claim([query_key("a model", "", b"a")])
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print("forked", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_children_of_a_killed_owner_do_not_keep_it_alive(postgres_server):
    url = postgres_server.url("orphans")
    code = PARENT.format(path=sys.path, url=url)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        assert parent.stdout.readline() == "forked\n"
        with QueryLedger(url) as ledger:
            assert ledger.claim(keys("a")).elsewhere
            parent.kill()
            parent.wait()
            deadline = time.monotonic() + 20
            while not (claim := ledger.claim(keys("a"))).ours:
                assert claim.elsewhere and time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def spend(place, budget, sent, seed):
    """Claims queries of its own, and says of each that it is sent, until the budget is spent."""
    draw = np.random.default_rng(seed)
    with QueryLedger(place, budget) as ledger, sent.open("ab", buffering=0) as log:
        for step in range(10_000):
            names = [f"{seed} {step} {number}" for number in range(draw.integers(1, 5))]
            try:
                claim = ledger.claim(keys(*names))
            except BudgetSpentError as error:
                if len(names) > 1:
                    continue
                assert "0 more" not in str(error)
                return
            for attempt in claim.ours.values():
                log.write(b".")
                if draw.random() < 0.2:
                    ledger.abandon(attempt)
                elif draw.random() < 0.8:
                    ledger.settle(attempt, ANSWER)


@pytest.mark.slow
def test_four_processes_and_kills_never_exceed_a_tight_budget(place, tmp_path):
    budget, kills, draw = 300, 12, np.random.default_rng(0)
    logs = [tmp_path / f"{number}.sent" for number in range(4 + kills)]

    def one(number):
        return started(spend, place("tight"), budget, logs[number], number)

    running = [one(number) for number in range(4)]
    for number in range(4, 4 + kills):
        time.sleep(draw.random() * 0.4)
        victim = draw.integers(4)
        running[victim].kill()
        running[victim].join()
        running[victim] = one(number)
    for process in running:
        process.join(300)
    assert {process.exitcode for process in running} == {0}
    sent = sum(log.stat().st_size for log in logs if log.exists())
    with QueryLedger(place("tight"), budget) as ledger:
        counts = ledger.counts()
        assert counts["free"] == 0
        assert sent <= ledger.spent == counts["sent"] + counts["billed"] == budget
        # What a kill left between its row and its request, four at a time.
        assert sent >= budget - 4 * kills


@pytest.mark.slow
def test_the_comparison_of_both_ledgers_runs_and_tidies_up(postgres_server, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres_server.url("compared", password=None).partition("?")[0]
    script = Path(__file__).parents[3] / "examples" / "benchmark" / "ledger_throughput.py"
    options = ["--rounds", "2", "--queries", "40", "--service-ms", "1", "--folder", tmp_path]
    command = [sys.executable, script, url, *options, "--json", tmp_path / "j"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| 1 ms |" in done.stdout
    (found,) = json.loads((tmp_path / "j").read_text())
    assert len(found["SQLite"]) == len(found["PostgreSQL"]) == 2
    left = "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'throughput%'"
    with PostgresURL(url).connect() as connection:
        assert not connection.execute(left).fetchall()


@pytest.mark.slow
def test_ctrl_c_while_a_question_waits_leaves_the_session_whole(postgres_server):
    main = threading.main_thread().ident
    with QueryLedger(postgres_server.url("asked"), budget=2) as ledger:
        database = ledger._store.database
        pid = database._connection.info.backend_pid
        # Once: a second signal would end the wait for the server to cancel the question.
        timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ledger._store.read(lambda database: database._rows("SELECT pg_sleep(60)"))
        timer.join()
        assert time.monotonic() - start < 50
        assert ledger.spent == 0
        assert database._connection.info.backend_pid == pid
        assert len(ledger.claim(keys("a")).ours) == 1
