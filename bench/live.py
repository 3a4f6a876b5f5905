#!/usr/bin/env python3
"""Live queries: how soon everybody has a change. Many clients in few groups, one client, and one client beside
many changes that do not concern it. Writes results/DATE-live.md."""

import argparse
import datetime
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from gateway import build
from harness import machine
from harness.children import Children, Failed, run
from harness.gateway_report import table
from harness.jobs_cluster import Cluster

BENCH = Path(__file__).resolve().parent
SETTINGS = {"wal_level": "logical", "max_slot_wal_keep_size": "4GB"}
# Every group has a text of its own, and every commit concerns all of them.
PATH = "/query?live=true&sql=" + quote("select id, sent, {} as nth from api.tick").replace("%7B%7D", "{}")
TABLES = """
create schema api;
grant usage on schema api to public;
create table api.tick (id int primary key, sent bigint not null);
insert into api.tick values (1, 0);
grant select on api.tick to public;
create table api.noise (id int primary key, at bigint not null);
insert into api.noise select g, 0 from generate_series(1, 2000) g;
grant select on api.noise to public;
"""
TICK = ("update api.tick set sent = (extract(epoch from pg_catalog.clock_timestamp()) * 1e6)::bigint "
        "where id = 1;\n")
NOISE = "update api.noise set at = at + 1;\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", type=Path,
                        default=BENCH.parent / "target" / "release" / "rolegate",
                        help="the rolegate to measure (default: target/release/rolegate)")
    parser.add_argument("--streams", type=int, default=10000, help="clients (default 10000)")
    parser.add_argument("--groups", type=int, default=10, help="different queries (default 10)")
    parser.add_argument("--seconds", type=float, default=20, help="of each cell (default 20)")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def free_address():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def serve(children, binary, server, work_dir, streams):
    """A gateway that follows the change stream of `server`; its address and process."""
    url = server.url("postgres")
    run([binary, "roles", "bootstrap", "--apply", "--database", url])
    run([binary, "migrate", "--database", url])
    server.query("postgres", TABLES)
    run([binary, "replication", "sync", "--expose", "api", "--database", url])
    gateway, metrics = free_address(), free_address()
    config = work_dir / "live.toml"
    directory = quote(server.directory, safe="")
    config.write_text(f"""
[gateway]
bind = "{gateway}"
max_connections = {streams + 1000}
max_streams = {streams + 1000}
[metrics]
bind = "{metrics}"
[databases.app]
url = "postgresql://{directory}:{server.port}/{server.database}"
schemas = ["api"]
anonymous = true
query.answers = "public"
""")
    process = children.start("live", [binary, "--config", config, "serve", "gateway", "replication"])
    deadline = time.monotonic() + 60
    while True:
        children.check()
        try:
            with socket.create_connection(gateway.split(":"), 1):
                return gateway, metrics, process
        except OSError:
            if time.monotonic() > deadline:
                raise Failed(f"it does not answer:\n{children.tail('live')}") from None
            time.sleep(0.1)


class Writer:
    """A psql that is told what to run, at a steady pace, until it is stopped."""

    def __init__(self, server, sql, pause):
        from harness.postgres import client_program
        self.process = subprocess.Popen(
            [client_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, text=True,
            stdout=subprocess.DEVNULL, env=server.environment("postgres"))
        self.sql, self.pause, self.written = sql, pause, 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        due = time.monotonic()
        while not self.stopped.is_set():
            self.process.stdin.write(self.sql)
            self.process.stdin.flush()
            self.written += 1
            due += self.pause
            self.stopped.wait(max(0, due - time.monotonic()))

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.process.stdin.close()
        if self.process.wait(60) != 0:
            raise Failed("psql could not write")


def watch(program, gateway, streams, groups, seconds, writers):
    """Opens the streams, writes while they watch, and gives what was seen."""
    process = subprocess.Popen(
        [program, "--address", gateway, "--path", PATH, "--streams", str(streams), "--groups", str(groups),
         "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline().strip() != "ready":
            raise Failed("the streams could not be opened")
        running = [make() for make in writers]
        # The last changes have time to arrive.
        time.sleep(seconds - 3)
        for writer in running:
            writer.stop()
        summary = json.loads(process.stdout.readline())
        process.wait(10)
    finally:
        process.kill()
    summary["written"] = [writer.written for writer in running]
    return summary


def runs(metrics):
    """How often live queries have run."""
    import urllib.request
    text = urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith("rolegate_live_query_runs_total"))


def memory(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines())
    return [int(values[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM")]


def main():
    options = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * options.streams + 1000
    if hard < options.streams + 1000:
        raise Failed(f"{options.streams} connections need as many open files; the limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, needed), hard), hard))
    work_dir = BENCH / "work"
    work_dir.mkdir(exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix="rolegate-bench-"))
    data_dir.chmod(0o711)
    load, _ = build()
    program = Path(load).parent / "watch"
    facts = machine.describe()
    binary = options.binary.resolve()
    cells = {}
    try:
        with Children(work_dir) as children, Cluster(children, data_dir, SETTINGS) as cluster:
            server = cluster.create("app")
            gateway, metrics, process = serve(children, binary, server, work_dir, options.streams)
            time.sleep(2)
            empty = memory(process)

            def cell(streams, groups, *writers):
                before = runs(metrics)
                found = watch(program, gateway, streams, groups, options.seconds, writers)
                found["runs"] = runs(metrics) - before
                found["memory"] = memory(process)
                children.check()
                if found["streams"] != streams:
                    raise Failed(f"of {streams} streams {found['streams']} were open: {found['errors']}")
                return found

            def tick(pause):
                return lambda: Writer(server, TICK, pause)

            cells["one"] = cell(1, 1, tick(0.05))
            # Ten statements of 2,000 rows a second.
            cells["noise"] = cell(1, 1, tick(0.05), lambda: Writer(server, NOISE, 0.1))
            cells["many"] = cell(options.streams, options.groups, tick(1.0))
            version = cluster.version
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
    titles = {"one": "one client", "noise": "one client, and 20,000 changed rows a second that do not concern it",
              "many": f"{options.streams:,} clients, {options.groups} different queries"}
    rows = []
    for name, title in titles.items():
        found = cells[name]
        rows.append([
            title, str(found["written"][0]), f"{found['runs']:g}", f"{found['events']:,}",
            f"{found['complete']} / {found['partial']}",
            *(f"{found[key] / 1000:.1f}" for key in ("p50", "p99", "last_p50", "last_max")),
            f"{found['memory'][0]:.0f} ({found['memory'][1]:.0f})", str(found["errors"] or "none"),
        ])
    date = datetime.date.today().isoformat()
    text = "\n\n".join([
        f"# Live queries, {date}",
        f"PostgreSQL {version}, {facts['cores']} cores shared by the database, the server, who writes and all "
        f"clients; load before {facts['load']:.2f}; commit {machine.commit(BENCH)}; {options.seconds:g} s each. "
        "Milliseconds from the time in the row, which is before its commit, until a client has read it.",
        table(["", "commits", "runs", "events", "changes that all / some have", "p50", "p99",
               "last client, median", "last client, longest", "memory in MB (peak)", "errors"], rows),
        f"Memory before the first client: {empty[0]:.0f} MB. Changes of a row that follow each other faster than "
        f"a query runs are told together, so there are fewer events than commits. Rows written that do not concern the "
        f"client: {cells['noise']['written'][1] * 2000:,}.",
        "Targets: the last of 10,000 clients within 250 ms, at most 300 MB; one client p50 at most 10 ms, p99 at most "
        "50 ms; rows that do not concern a query run it not once more.",
    ]) + "\n"
    out = options.out or BENCH / "results" / f"{date}-live.md"
    out.write_text(text)
    print(text)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
