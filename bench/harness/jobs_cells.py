"""The short cells of jobs.py: installation, draining a backlog, single transactions, one job at a
time. Each starts from a fresh copy of the contestant's installed database and gives figures."""

import time
from contextlib import ExitStack

from .children import Failed
from .jobs_counters import Counters, objects, size, wait_for_statistics, wal_position
from .jobs_process import Counter, Talker, carry_out

PLAIN = (
    "create table bench_plain (id bigint generated always as identity primary key, "
    "queue text not null, kind text not null, payload jsonb not null, "
    "created_at timestamptz not null default now());"
)
# Connections of all processes of a contestant; the server has 100.
CONNECTIONS = {1: 25, 2: 24, 4: 21}
# Rarely is one needed; a handler that runs and is never finished shows here.
PATIENCE = 120


class Bench:
    """The cluster, and what all cells are run with."""

    def __init__(self, cluster, payload, queues):
        self.cluster, self.payload, self.queues = cluster, payload, queues

    def fresh(self, contestant):
        """As it was just after the installation."""
        database = self.cluster.create(contestant.database, contestant.template)
        database.query("postgres", "checkpoint;")
        return database

    def done_with(self, contestant):
        self.cluster.drop(contestant.database)


def install(bench, contestant):
    """Into an empty database; it becomes the template of all other cells."""
    database = bench.cluster.create(contestant.template)
    before = objects(database), size(database)
    line = carry_out(contestant, database, "install", "installed", queues=bench.queues)
    wait_for_statistics(database)
    relations, functions = (now - then for now, then in zip(objects(database), before[0]))
    figures = {
        "seconds": line["seconds"],
        "objects": relations + functions,
        "relations": relations,
        "bytes": size(database) - before[1],
        "errors": 0,
    }
    database.query("postgres", PLAIN)
    return figures


def preload(bench, contestant, database, jobs, queues):
    """Enqueues in bulk. Figures of that."""
    position = wal_position(database)
    line = carry_out(contestant, database, "enqueue", "enqueued", jobs=jobs, queues=queues,
                     payload=bench.payload)
    if line["jobs"] != jobs:
        raise Failed(f"{contestant.name} enqueued {line['jobs']} of {jobs} jobs")
    wait_for_statistics(database)
    return {
        "enqueue_wal": (wal_position(database) - position) / jobs,
        "enqueue_per_second": jobs / (line["end"] - line["begin"]),
    }


def workers(stack, contestant, database, count, processes, queues):
    """Processes that wait for the order to begin; together they run `count` jobs at a time."""
    started = [
        stack.enter_context(Talker(
            contestant, database, "work", workers=max(1, count // processes), queues=queues,
            pool=CONNECTIONS.get(processes, 90 // processes),
        ))
        for _ in range(processes)
    ]
    for process in started:
        process.wait("ready", 60)
    return started


def handled(processes):
    """Jobs whose handlers ran, and when the first one did."""
    lines = [line for process in processes if (line := process.last("progress"))]
    return sum(line["jobs"] for line in lines), min((line["first"] for line in lines), default=None)


def drain(bench, contestant, jobs, limit, count, processes, queues):
    """From the start of the first job until the database says that none is left, or to the limit."""
    database = bench.fresh(contestant)
    figures = preload(bench, contestant, database, jobs, queues)
    database.query("postgres", "vacuum analyze;")
    with ExitStack() as stack:
        counter = stack.enter_context(Counter(contestant, database, queues))
        counter.ask()
        running = workers(stack, contestant, database, count, processes, queues)
        before, begin = Counters.of(database), time.time()
        for process in running:
            process.say()
        left = None
        while left is None or (left["jobs"] and left["begin"] < begin + limit):
            time.sleep(0.005)
            for process in running:
                process.check()
            if handled(running)[0] >= jobs or time.time() > begin + limit:
                left = counter.ask()
        wal = wal_position(database)
        for process in running:
            process.say()
        stopped = [stop(process) for process in running]
        _, first = handled(running)
    wait_for_statistics(database)
    done = jobs - left["jobs"]
    times = sum(line["jobs"] for line in stopped if line)
    costs = Counters.of(database).since(before, done)
    costs["wal"] = (wal - before.wal) / max(1, done)
    elapsed = left["begin"] - (first or begin)
    trouble = []
    if None in stopped:
        trouble.append("did not stop in time")
    elif left["jobs"] == 0 and times != jobs:
        trouble.append(f"{times} handler calls for {jobs} jobs")
    if first is None:
        trouble.append("no job was handled")
    return figures | costs | {
        "per_second": done / elapsed if elapsed > 0 else 0.0,
        "done": done,
        "whole": left["jobs"] == 0,
        "start_seconds": (first or left["begin"]) - begin,
        "wal_both": figures["enqueue_wal"] + costs["wal"],
        "errors": len(trouble),
        "sample": "; ".join(trouble),
    }


def stop(process):
    """Its last line; None if it did not end in time."""
    try:
        return process.wait("worked", 30)
    except Failed as failure:
        if "after 30 s" in str(failure):
            return None
        raise


def single(bench, contestant, seconds, connections, synchronous):
    """Transactions with one job, and with one plain row: the same program, one after the other."""
    database = bench.fresh(contestant)
    database.query("postgres", f"alter database {database.database} "
                               f"set synchronous_commit = {synchronous};")
    found = {}
    for count in connections:
        for plain in (True, False):
            before = Counters.of(database)
            line = carry_out(contestant, database, "single", "enqueued", connections=count,
                             seconds=seconds, payload=bench.payload, plain=plain)
            wait_for_statistics(database)
            figures = Counters.of(database).since(before, line["jobs"])
            figures["per_second"] = line["jobs"] / (line["end"] - line["begin"])
            figures["errors"] = 0
            found[count, plain] = figures
    return found


def latency(bench, contestant, jobs, seconds):
    """One job at a time on an idle system."""
    database = bench.fresh(contestant)
    before = Counters.of(database)
    line = carry_out(contestant, database, "latency", "latency", timeout=seconds + PATIENCE,
                     jobs=jobs, seconds=seconds, payload=bench.payload, workers=4, queues=1)
    wait_for_statistics(database)
    figures = Counters.of(database).since(before, line["from_call"]["count"])
    for name in ("from_call", "from_commit"):
        for quantile in ("p50_us", "p99_us", "max_us"):
            figures[f"{name}_{quantile}"] = line[name][quantile]
    figures["count"] = line["from_call"]["count"]
    figures["errors"] = line["lost"]
    figures["sample"] = f"{line['lost']} jobs were not picked up" if line["lost"] else ""
    return figures
