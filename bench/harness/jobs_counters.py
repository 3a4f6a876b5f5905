"""What a cell costs the database, and what it leaves there."""

import time
from dataclasses import dataclass

# All tables, catalogs and TOAST included: whoever creates objects at run time pays too.
SNAPSHOT = """
select pg_current_wal_insert_lsn() - '0/0',
       (select xact_commit from pg_stat_database where datname = current_database()),
       coalesce(sum(n_tup_upd + n_tup_del), 0),
       coalesce(sum(n_dead_tup), 0)
  from pg_stat_all_tables;
"""


@dataclass
class Counters:
    """At one moment."""

    wal: int
    commits: int
    # Row versions that updates and deletes made, ever.
    dead_made: int
    # Row versions that are dead and not vacuumed.
    dead_left: int

    @classmethod
    def of(cls, database):
        return cls(*map(int, database.query("postgres", SNAPSHOT).split("\t")))

    def since(self, before, jobs):
        """Per job; `dead_left` as it is."""
        jobs = max(1, jobs)
        return {
            "wal": (self.wal - before.wal) / jobs,
            "commits": max(0, self.commits - before.commits) / jobs,
            "dead_made": (self.dead_made - before.dead_made) / jobs,
            "dead_left": self.dead_left,
        }


def wait_for_statistics(database, timeout=15):
    """Backends write their statistics when they end, at the latest."""
    deadline = time.monotonic() + timeout
    others = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and pid <> pg_backend_pid() and backend_type = 'client backend';"
    )
    while database.query("postgres", others) != "0" and time.monotonic() < deadline:
        time.sleep(0.1)


def wal_position(database):
    return int(database.query("postgres", "select pg_current_wal_insert_lsn() - '0/0';"))


def objects(database):
    """Relations, with indexes and TOAST tables, and functions, of all schemas."""
    sql = "select (select count(*) from pg_class) || ' ' || (select count(*) from pg_proc);"
    return tuple(map(int, database.query("postgres", sql).split()))


def size(database):
    """Bytes."""
    return int(database.query("postgres", "select pg_database_size(current_database());"))
