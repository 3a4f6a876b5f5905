#!/usr/bin/env python3
"""Queries (`POST /query`) beside pgbench with the same statements, and beside a call of a function that reads
the same row; kept answers beside a bare HTTP handler that gives the same bytes. Writes results/DATE-query.md."""

import argparse
import datetime
import json
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway import build
from contextlib import ExitStack

from harness import installation, machine, peers, pgpaw, rounds
from harness.children import Children, Failed, run
from harness.gateway_report import ratio_text, spread_text, table
from harness.http_load import HttpTarget, call
from harness.pgbench import Pgbench

BENCH = Path(__file__).resolve().parent
TITLES = {
    "pgbench": "pgbench, same statements as a private query",
    "private": "private query, a row of a table with a policy",
    "public": "public query, without a token, not kept",
    "kept": "kept answer, `POST /query` with `Prefer: return=representation`",
    "kept-query": "kept answer, `GET /query?sql=…`",
    "redirect": "kept answer, `POST /query`, a redirect",
    "cursor": "kept answer, `GET /q/…`",
    "pgpaw-post": "PgPaw, `POST /query`, a redirect",
    "pgpaw-cursor": "PgPaw, `GET /q/…`",
    "bare-post": "bare handler with the same body, POST",
    "bare-get": "bare handler with the same body, GET",
    "same-post": "bare handler with the same headers and body, POST",
    "same-get": "bare handler with the same headers and body, GET",
    "call": "call of a function (`api.echo`)",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", nargs="?", type=Path,
                        default=BENCH.parent / "target" / "release" / "rolegate",
                        help="the rolegate to measure (default: target/release/rolegate)")
    parser.add_argument("--seconds", type=float, default=5, help="of each cell (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (default 3)")
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")],
                        default=[1, 8, 64], help="default 1,8,64")
    parser.add_argument("--pgpaw", type=Path, help="a pgpaw 0.5.0 to measure beside ours (default: none)")
    return parser.parse_args()


SQL = "select id, title from api.kept_doc where id = 7"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def cursor(ours, timeout=60):
    """Where the answer is kept; the change stream has to be there."""
    deadline = time.monotonic() + timeout
    opener = urllib.request.build_opener(NoRedirect)
    while True:
        request = urllib.request.Request(
            f"http://{ours.gateway}/query", data=json.dumps({"sql": SQL}).encode(),
            headers={"content-type": "application/json"})
        try:
            said = opener.open(request, timeout=10).status
        except urllib.error.HTTPError as answer:
            if answer.code == 303:
                return answer.headers["location"]
            said = f"{answer.code} {answer.read()[:300]}"
        if time.monotonic() > deadline:
            raise Failed(f"the answer is not kept: {said}")
        time.sleep(0.2)


def contestants(children, load, bare, work_dir, ours):
    jwt = [f"authorization: Bearer {ours.jwt}"]

    def query(name, relation, headers):
        body = {"sql": f"select id, title from {relation} where id = $1", "params": [7]}
        return HttpTarget(name, load, work_dir, ours.gateway, "/query", body, headers)

    pgbench = Pgbench(ours, "pgbench_query.sql", "", work_dir)
    pgbench.variables["n10"] = "standard_conforming_strings"
    pgbench.variables["path"] = "/query"
    found = {
        "pgbench": pgbench,
        "private": query("private", "api.doc", jwt),
        "public": query("public", "api.public_doc", []),
        "kept": HttpTarget("kept", load, work_dir, ours.gateway, "/query", {"sql": SQL},
                           ["prefer: return=representation"]),
        "kept-query": HttpTarget("kept-query", load, work_dir, ours.gateway,
                                 f"/query?sql={SQL.replace(' ', '+')}", None),
        "redirect": HttpTarget("redirect", load, work_dir, ours.gateway, "/query", {"sql": SQL},
                               marker_count=0, status=303),
        "cursor": HttpTarget("cursor", load, work_dir, ours.gateway, cursor(ours), None),
        "call": HttpTarget("call", load, work_dir, ours.gateway, ours.path, call(1), jwt),
    }
    answer = found["cursor"].probe()
    headers = found["cursor"].answer_headers()
    post = peers.bare(children, bare, load, work_dir, answer, {"sql": SQL}, "/api/app", headers)
    found["bare-post"] = post
    found["bare-get"] = HttpTarget("bare-get", load, work_dir, post.address, "/api/app", None)
    found["same-post"] = HttpTarget("same-post", load, work_dir, post.address, "/same/app", {"sql": SQL})
    found["same-get"] = HttpTarget("same-get", load, work_dir, post.address, "/same/app", None)
    for target in found.values():
        if isinstance(target, HttpTarget):
            target.probe()
    return found


def main():
    options = arguments()
    if not options.binary.is_file():
        raise Failed(f"{options.binary} is missing: cargo build --release --bin rolegate")
    work_dir = BENCH / "work"
    work_dir.mkdir(exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix="rolegate-bench-"))
    # Readable to the unprivileged user that PostgreSQL runs as when this is root.
    data_dir.chmod(0o711)
    load, bare = build()
    facts = machine.describe()
    try:
        with ExitStack() as stack:
            children = stack.enter_context(Children(work_dir))
            ours = installation.start(children, options.binary.resolve(), data_dir, "system")
            ours.server.query("postgres", (BENCH / "sql" / "query.sql").read_text())
            run([options.binary.resolve(), "replication", "sync", "--expose", "api",
                 "--database", ours.server.url("postgres")])
            found = contestants(children, load, bare, work_dir, ours)
            wrong = {"rolegate": pgpaw.wrong_bodies(ours.gateway)}
            if options.pgpaw:
                address = stack.enter_context(pgpaw.running(children, options.pgpaw.resolve()))
                found |= pgpaw.targets(load, work_dir, address, SQL)
                wrong["PgPaw"] = pgpaw.wrong_bodies(address)
            samples = rounds.measure(found, options.connections,
                                     options.rounds, options.seconds, 1, children.check)
            version = ours.postgres_version
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
        for secret in work_dir.glob("*.headers"):
            secret.unlink()
    most = max(options.connections)
    date = datetime.date.today().isoformat()
    text = "\n\n".join([
        f"# Queries, {date}",
        f"PostgreSQL {version}, {facts['cores']} cores shared by all, commit {machine.commit(BENCH)}; "
        f"{options.rounds} rounds of {options.seconds:g} s. Requests a second, median (least–most).",
        table(["", *map(str, options.connections)], [
            [title, *(spread_text(samples.spread(name, count)) for count in options.connections)]
            for name, title in TITLES.items() if name in found
        ]),
        table(["ratio", *map(str, options.connections)], [
            [f"{above} / {below}", *(
                spread_text(samples.ratio((above, count), (below, count)), ratio_text)
                for count in options.connections)]
            for above, below in [
                ("private", "pgbench"), ("public", "private"), ("private", "call"),
                ("cursor", "same-get"), ("kept-query", "same-get"), ("kept", "same-post"),
                ("cursor", "bare-get"), ("kept", "bare-post"),
                ("redirect", "pgpaw-post"), ("cursor", "pgpaw-cursor"),
            ] if below in found
        ]),
        f"{pgpaw.CLIENTS} clients at the same time, each asking for other rows: " + "; ".join(
            f"{name} {bad} wrong bodies and {none} without an answer of {asked}"
            for name, (bad, none, asked) in wrong.items()) + ".",
        f"Errors: {samples.errors() or 'none'}. Targets at {most} connections: private / pgbench at least 0.8, "
        "cursor / bare-get at least 0.8, kept / bare-post at least 0.6.",
    ]) + "\n"
    (BENCH / "results" / f"{date}-query.md").write_text(text)
    print(text)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
