#!/usr/bin/env python3
"""Calls through the gateway beside pgbench, a bare HTTP handler and PostGraphile, in one run on one
machine. Writes results/DATE-gateway.md. What is compared with what: README.md."""

import argparse
import datetime
import os
import shutil
import sys
import tempfile
from pathlib import Path

from harness import drift, gateway_report, installation, machine, peers, rounds
from harness.children import Children, Failed, run
from harness.gateway_result import Result
from harness.http_load import ARGUMENT, HttpTarget, call
from harness.pgbench import Pgbench
from harness.postgres import major

BENCH = Path(__file__).resolve().parent
BATCH_SIZE = 100
BATCH_CONNECTIONS = [1, 16]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", type=Path,
                        default=BENCH.parent / "target" / "release" / "rolegate",
                        help="the rolegate to measure (default: target/release/rolegate)")
    parser.add_argument("--seconds", type=float, default=5, help="of each cell (default 5)")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before it (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (default 3)")
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")],
                        default=[1, 16, 64, 512], help="default 1,16,64,512")
    parser.add_argument("--postgres", default="system",
                        help="as for rolegate dev: system, system:MAJOR or wheel (default system)")
    parser.add_argument("--million", action="store_true",
                        help="a million calls in a row before memory is looked at")
    parser.add_argument("--skip-postgraphile", action="store_true",
                        help="without the peer from the npm registry")
    parser.add_argument("--data-dir", type=Path,
                        help="of rolegate dev; kept (default: a temporary one, removed)")
    parser.add_argument("--out", type=Path, help="file of the results")
    return parser.parse_args()


def command_line(options):
    """The command as anybody can repeat it: without paths of this machine."""
    parts = ["python3 bench/gateway.py"]
    shown = {"seconds": 5, "warm_up": 1, "rounds": 3, "postgres": "system"}
    for name, default in shown.items():
        if getattr(options, name) != default:
            value = getattr(options, name)
            text = f"{value:g}" if isinstance(value, float) else value
            parts.append(f"--{name.replace('_', '-')} {text}")
    if options.connections != [1, 16, 64, 512]:
        parts.append(f"--connections {','.join(map(str, options.connections))}")
    parts += [f"--{name.replace('_', '-')}" for name in ("million", "skip_postgraphile")
              if getattr(options, name)]
    return " ".join(parts)


def build():
    print("building the load generator", file=sys.stderr)
    environment = os.environ | {"CARGO_TARGET_DIR": str(BENCH / "target")}
    run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=BENCH, env=environment)
    release = BENCH / "target" / "release"
    return release / "load", release / "bare"


def contestants(options, children, work_dir, data_dir, load, bare, ours):
    """All of them by name, started and answering."""
    path = ours.path
    jwt, token = (f"authorization: Bearer {secret}" for secret in (ours.jwt, ours.api_token))
    found = {
        "pgbench-plain": Pgbench(ours, "pgbench_plain.sql", ARGUMENT, work_dir),
        "pgbench-same": Pgbench(ours, "pgbench_same.sql", ARGUMENT, work_dir),
    }
    for name, headers in (("ours-jwt", [jwt]), ("ours-token", [token]), ("ours-anonymous", [])):
        found[name] = HttpTarget(name, load, work_dir, ours.gateway, path, call(1), headers)
    answer = found["ours-jwt"].probe()
    drift.check(ours, data_dir, found["ours-jwt"], found["pgbench-same"].file)
    found["bare"] = peers.bare(children, bare, load, work_dir, answer, call(1), path)
    if not options.skip_postgraphile:
        print("installing and starting postgraphile", file=sys.stderr)
        found["postgraphile"] = peers.postgraphile(children, load, work_dir, ours.server)
    for target in found.values():
        if isinstance(target, HttpTarget):
            target.probe()
    return found


class Batch(HttpTarget):
    """Counts calls, not requests."""

    def measure(self, connections, seconds, warm_up, requests=None):
        figures = super().measure(connections, seconds, warm_up, requests)
        figures["per_second"] *= BATCH_SIZE
        figures["good"] *= BATCH_SIZE
        return figures


def batch_contestants(load, work_dir, ours, single):
    body = [call(identifier) for identifier in range(1, BATCH_SIZE + 1)]
    headers = single.headers

    def batch(name, more=()):
        return Batch(name.replace(" ", "-"), load, work_dir, ours.gateway, ours.path, body,
                     [*headers, *more], BATCH_SIZE)

    found = {
        "single": single,
        "batch": batch("batch"),
        "atomic batch": batch("atomic batch", ["rolegate-atomic: true"]),
    }
    for target in found.values():
        target.probe()
    return found


def good_calls(samples, wanted):
    return sum(
        figures["good"]
        for (name, _), figures_of_rounds in samples.cells.items() if wanted(name)
        for figures in figures_of_rounds if figures
    )


def measure(options, work_dir, data_dir):
    facts = machine.describe()
    load, bare = build()
    with Children(work_dir) as children:
        ours = installation.start(children, options.binary, data_dir, options.postgres)
        found = contestants(options, children, work_dir, data_dir, load, bare, ours)
        facts["load"] = os.getloadavg()[0]
        if facts["load"] > 0.5 * facts["cores"]:
            print(f"warning: the machine is busy (load {facts['load']:.2f})", file=sys.stderr)
        samples = rounds.measure(found, options.connections, options.rounds, options.seconds,
                                 options.warm_up, children.check)
        batches = rounds.measure(batch_contestants(load, work_dir, ours, found["ours-jwt"]),
                                 BATCH_CONNECTIONS, options.rounds, options.seconds,
                                 options.warm_up, children.check)
        calls = good_calls(samples, lambda name: name.startswith("ours-"))
        calls += good_calls(batches, lambda _: True)
        if options.million:
            print("a million calls", file=sys.stderr)
            last = found["ours-jwt"].measure(64, 1800, options.warm_up, requests=1_000_000)
            samples.add("million", 64, last)
            calls += last["good"]
        children.check()
        resident = ours.resident_megabytes()
    pgbench_version = found["pgbench-same"].version
    two_round_trips = major(pgbench_version) < 17
    return Result(
        date=datetime.date.today().isoformat(),
        command=command_line(options),
        machine=facts,
        commit=machine.commit(BENCH),
        build_note="" if "release" in options.binary.parts else ", **not a release build**",
        postgres_version=ours.postgres_version,
        pgbench_version=pgbench_version,
        postgraphile=None if options.skip_postgraphile else peers.postgraphile_versions(),
        sync_note="This pgbench has no `\\syncpipeline` (17): its two segments are two pipelines, "
                  "two round trips where ours is one." if two_round_trips else "",
        rounds=options.rounds, seconds=options.seconds, warm_up=options.warm_up,
        connections=options.connections, names=list(found), samples=samples,
        batch_size=BATCH_SIZE, batch_connections=BATCH_CONNECTIONS, batch_samples=batches,
        million=options.million, calls=calls, resident=resident,
    )


def main():
    options = arguments()
    if not options.binary.is_file():
        raise Failed(f"{options.binary} is missing: cargo build --release --bin rolegate")
    options.binary = options.binary.resolve()
    work_dir = BENCH / "work"
    work_dir.mkdir(exist_ok=True)
    # Readable to the unprivileged user that PostgreSQL runs as when this is root.
    data_dir = options.data_dir or Path(tempfile.mkdtemp(prefix="rolegate-bench-"))
    if options.data_dir is None:
        data_dir.chmod(0o711)
    try:
        result = measure(options, work_dir, data_dir)
    finally:
        if options.data_dir is None:
            shutil.rmtree(data_dir, ignore_errors=True)
        for secret in work_dir.glob("*.headers"):
            secret.unlink()
    text = gateway_report.render(result)
    out = options.out or BENCH / "results" / f"{result.date}-gateway.md"
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
