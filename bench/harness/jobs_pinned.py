"""A steady stream of jobs, with and without a transaction that pins the horizon of all row versions."""

import subprocess
import time
from contextlib import ExitStack, contextmanager

from .children import Failed, _die_with_parent
from .jobs_cells import handled, stop, workers
from .jobs_counters import Counters, wait_for_statistics, wal_position
from .jobs_process import Counter, Talker
from .postgres import client_program

WORKERS = 16
# From the order to begin to the first job of the stream: starting up is not in the rate.
SETTLE = 2
# Backends write their statistics about once in a second.
STATISTICS = 1.5
# After the stream has ended; whoever has more left than that does not drain.
DRAIN = 60
RELATIONS = """
select coalesce(sum(n_dead_tup), 0),
       (select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r')
  from pg_stat_all_tables;
"""


@contextmanager
def pin(database):
    """A transaction with an id that does nothing more: what came after it can't be vacuumed."""
    command = [client_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=database.environment("postgres"), preexec_fn=_die_with_parent,
    )
    try:
        process.stdin.write("begin;\nselect pg_current_xact_id();\n")
        process.stdin.flush()
        if not process.stdout.readline().strip().isdigit():
            raise Failed("the transaction that pins the horizon did not begin")
        yield
        if process.poll() is not None:
            raise Failed("the transaction that pins the horizon ended by itself")
    finally:
        process.stdin.close()
        process.wait(10)


def measure(bench, contestant, rate, seconds, pinned):
    """Rate that was kept, what was left behind, and how long that took to drain."""
    database = bench.fresh(contestant)
    with ExitStack() as stack:
        counter = stack.enter_context(Counter(contestant, database, 1))
        running = workers(stack, contestant, database, WORKERS, 1, 1)
        before = Counters.of(database)
        for process in running:
            process.say()
        if pinned:
            stack.enter_context(pin(database))
        time.sleep(SETTLE)
        producer = stack.enter_context(Talker(
            contestant, database, "produce", rate=rate, seconds=seconds, queues=1,
            payload=bench.payload,
        ))
        made = producer.wait("enqueued", seconds + 60)
        done, _ = handled(running)
        ended = made["end"]
        depth = counter.ask()["jobs"]
        wal = wal_position(database)
        left, drained, dead = depth, time.time(), None
        while dead is None or (left and time.time() < ended + DRAIN):
            time.sleep(0.05)
            if left:
                answer = counter.ask()
                left, drained = answer["jobs"], answer["begin"]
            if dead is None and time.time() > ended + STATISTICS:
                dead, used = map(int, database.query("postgres", RELATIONS).split("\t"))
        for process in running:
            process.check()
            process.say()
        last = [stop(process) for process in running]
    wait_for_statistics(database)
    costs = Counters.of(database).since(before, made["jobs"])
    trouble = []
    if left:
        trouble.append(f"{left} jobs left after {DRAIN} s")
    if None in last:
        trouble.append("did not stop in time")
    if made["jobs"] < 0.98 * rate * seconds:
        trouble.append(f"only {made['jobs']} jobs were enqueued")
    ages = last[0]["age"] if last[0] else {"p50_us": None, "p99_us": None}
    elapsed = ended - made["begin"]
    return costs | {
        "per_second": done / elapsed,
        "offered": made["jobs"] / elapsed,
        "wal": (wal - before.wal) / max(1, made["jobs"]),
        "dead_left": dead,
        "bytes": used,
        "depth": depth,
        "left": left,
        "drain_seconds": max(0.0, drained - ended) if depth else 0.0,
        "p50_us": ages["p50_us"],
        "p99_us": ages["p99_us"],
        "errors": len(trouble),
        "sample": "; ".join(trouble),
    }
