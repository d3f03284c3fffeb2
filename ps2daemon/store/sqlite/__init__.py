"""The embedded store: one SQLite file, one writing process, any number of reading ones.

- `connection.py`: opening a file, errors of SQLite in terms of this program, calls in worker threads.
- `schema.py`: the tables and indexes, and how a file of an older version becomes one of this version.
- `rows.py`: documents as rows and back.
- `writing.py`, `reading.py`: what is asked of a connection, as plain functions.
- `store.py`: all of it as a `Store`.
"""

from ps2daemon.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
