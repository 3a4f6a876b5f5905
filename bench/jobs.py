#!/usr/bin/env python3
"""Job queues beside each other, in one run on one machine: draining, single transactions, pickup,
a pinned horizon, installation. Writes results/DATE-jobs.md. What is compared with what: README.md."""

import argparse
import datetime
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness import jobs_cells, jobs_contestant, jobs_pinned, jobs_report, machine
from harness.children import Children, Failed
from harness.jobs_cluster import Cluster
from harness.jobs_process import carry_out
from harness.jobs_result import Result
from harness.rounds import Samples

BENCH = Path(__file__).resolve().parent
KINDS = ["install", "drain", "single", "latency", "pinned"]
PROCESSES, QUEUES = [1, 4], [1, 16]
DEFAULTS = {
    "jobs": 40_000, "limit": 15.0, "rounds": 3, "workers": [4, 16, 64], "connections": [1, 4, 16],
    "single_seconds": 2.0, "latency_jobs": 200, "pinned_seconds": 60.0, "pinned_rounds": 1,
    "rate": 800.0, "payload": 256, "contestants": None, "only": KINDS,
}


def numbers(text):
    return [int(part) for part in text.split(",")]


def names(text):
    return text.split(",")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--contestants", type=names, help="default: all directories of bench/jobs")
    add("--only", type=names, help=f"kinds of cells, of {','.join(KINDS)}")
    add("--rounds", type=int, help="alternating rounds (default 3)")
    add("--jobs", type=int, help="of a drain (default 40000)")
    add("--limit", type=float, help="seconds after which a drain is cut off (default 15)")
    add("--workers", type=numbers, help="default 4,16,64")
    add("--matrix", action="store_true",
        help="several processes and queues at every number of workers, not at the most only")
    add("--connections", type=numbers, help="of single transactions (default 1,4,16)")
    add("--single-seconds", type=float, help="of each such cell (default 2)")
    add("--latency-jobs", type=int, help="default 200")
    add("--pinned-seconds", type=float, help="with a pinned horizon, and without (default 60)")
    add("--pinned-rounds", type=int, help="default 1")
    add("--rate", type=float, help="jobs per second meanwhile (default 800)")
    add("--payload", type=int, help="bytes of a job (default 256)")
    add("--data-dir", type=Path, help="where the cluster is made (default: a temporary directory)")
    add("--out", type=Path, help="file of the results")
    parser.set_defaults(**DEFAULTS)
    options = parser.parse_args()
    if unknown := set(options.only) - set(KINDS):
        parser.error(f"no such cells: {', '.join(sorted(unknown))}")
    return options


def command_line(options):
    """The command as anybody can repeat it: without paths of this machine."""
    parts = ["python3 bench/jobs.py"]
    for name, default in DEFAULTS.items():
        value = getattr(options, name)
        if value != default:
            text = ",".join(map(str, value)) if isinstance(value, list) else (
                f"{value:g}" if isinstance(value, float) else value)
            parts.append(f"--{name.replace('_', '-')} {text}")
    if options.matrix:
        parts.append("--matrix")
    return " ".join(parts)


def drains(options):
    """(workers, processes, queues)."""
    most = max(options.workers)
    found = [(workers, 1, 1) for workers in options.workers]
    for workers in options.workers if options.matrix else [most]:
        found += [
            (workers, processes, queues)
            for processes in PROCESSES for queues in QUEUES if (processes, queues) != (1, 1)
        ]
    return found


class Run:
    """All cells of all contestants, in alternating rounds."""

    def __init__(self, options, bench, contestants, check):
        self.options, self.bench, self.contestants, self.check = options, bench, contestants, check
        self.samples = Samples()

    def each(self, number, what, contestants, cell):
        """The cell for everybody; who begins changes from round to round. A contestant that fails
        a cell is in the results with what it said."""
        order = list(contestants)
        shift = number % len(order)
        for name in order[shift:] + order[:shift]:
            begun = time.monotonic()
            try:
                figures = cell(contestants[name])
            except Failed as failure:
                self.check()
                figures = {what: {"errors": 1, "sample": str(failure)}}
            self.check()
            for key, values in figures.items():
                self.samples.add(name, key, values)
                told = told_of(values)
                print(f"round {number + 1}, {name:<18}{label(key):<36}{told}  "
                      f"({time.monotonic() - begun:.1f} s)", file=sys.stderr)

    def install(self):
        # Always: it makes the databases that the others start from.
        again = self.options.rounds if "install" in self.options.only else 1
        for number in range(again):
            self.each(number, ("install",), self.contestants,
                      lambda it: {("install",): jobs_cells.install(self.bench, it)})

    def whole(self):
        return {name: it for name, it in self.contestants.items() if not it.drains_only}

    def drain(self, number):
        for shape in drains(self.options):
            key = ("drain", *shape)
            alone = shape == (max(self.options.workers), 1, 1)
            found = self.contestants if alone else self.whole()
            self.each(number, key, found, lambda it: {key: jobs_cells.drain(
                self.bench, it, self.options.jobs, self.options.limit, *shape)})

    def single(self, number):
        enqueuing = {name: it for name, it in self.contestants.items() if not it.enqueues_like}
        for synchronous in ("on", "off"):
            def cell(it):
                found = jobs_cells.single(self.bench, it, self.options.single_seconds,
                                          self.options.connections, synchronous)
                return {("single", synchronous, *key): figures for key, figures in found.items()}
            self.each(number, ("single", synchronous), enqueuing, cell)

    def latency(self, number):
        self.each(number, ("latency",), self.whole(), lambda it: {
            ("latency",): jobs_cells.latency(self.bench, it, self.options.latency_jobs, 30)})

    def pinned(self, number):
        if number >= self.options.pinned_rounds:
            return
        for pinned in (False, True):
            key = ("pinned", pinned)
            self.each(number, key, self.whole(), lambda it: {key: jobs_pinned.measure(
                self.bench, it, self.options.rate, self.options.pinned_seconds, pinned)})

    def all(self):
        self.install()
        for number in range(self.options.rounds):
            for kind in ("drain", "single", "latency", "pinned"):
                if kind in self.options.only:
                    getattr(self, kind)(number)


def label(key):
    return " ".join(str(part) for part in key)


def told_of(values):
    parts = []
    for name, form in (("per_second", "{:>10,.0f}/s"), ("seconds", "{:>8.2f} s"),
                       ("from_call_p50_us", "p50 {:,.0f} us"), ("wal", "{:,.0f} B"),
                       ("dead_left", "{:,} dead")):
        if values.get(name) is not None:
            parts.append(form.format(values[name]))
    if values.get("errors"):
        parts.append(f"errors: {values.get('sample')}")
    return ", ".join(parts)


def measure(options, contestants, directory, logs):
    facts = machine.describe()
    with Children(logs) as children, Cluster(children, directory) as cluster:
        for contestant in contestants.values():
            contestant.about = carry_out(contestant, cluster.server, "about", "about")
        facts["load"] = os.getloadavg()[0]
        if facts["load"] > 0.5 * facts["cores"]:
            print(f"warning: the machine is busy (load {facts['load']:.2f})", file=sys.stderr)
        bench = jobs_cells.Bench(cluster, options.payload, max(QUEUES))
        run = Run(options, bench, contestants, children.check)
        run.all()
        version = cluster.version
    return Result(
        date=datetime.date.today().isoformat(),
        command=command_line(options),
        machine=facts,
        commit=machine.commit(BENCH),
        postgres_version=version,
        contestants=contestants,
        options=options,
        shapes=drains(options),
        samples=run.samples,
    )


def main():
    options = arguments()
    logs = BENCH / "work" / "jobs"
    logs.mkdir(parents=True, exist_ok=True)
    print("building and installing the contestants", file=sys.stderr)
    contestants = jobs_contestant.prepare(options.contestants)
    parent = Path(tempfile.mkdtemp(prefix="rolegate-bench-", dir=options.data_dir))
    # Passable for the unprivileged user that PostgreSQL runs as when this is root.
    parent.chmod(0o711)
    directory = parent / "cluster"
    directory.mkdir()
    try:
        result = measure(options, contestants, directory, logs)
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    text = jobs_report.render(result)
    out = options.out or BENCH / "results" / f"{result.date}-jobs.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text)
    print(text)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
