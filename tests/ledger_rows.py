"""The rows of a ledger, read past the ledger."""

import contextlib
import sqlite3

from keras_reprogram.source.ledger.postgres_url import PostgresURL, is_postgres_url


def select(place, question):
    """All rows of a question that SQLite and PostgreSQL understand alike."""
    if not is_postgres_url(place):
        with contextlib.closing(sqlite3.connect(place, timeout=10)) as database:
            return database.execute(question).fetchall()
    url = PostgresURL(place)
    with url.connect() as connection:
        connection.execute(f'SET search_path = "{url.schema}"')
        return connection.execute(question).fetchall()
