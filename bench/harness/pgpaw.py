"""PgPaw, beside a PostgreSQL cluster of its own with the same table."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .children import Failed
from .http_load import HttpTarget
from .jobs_cluster import Cluster, unprivileged

TABLE = """
create schema api;
grant usage on schema api to public;
create table api.kept_doc (id int primary key, owner name not null, title text not null);
insert into api.kept_doc select g, 'bob', 'bench-echo-7f3a ' || g from generate_series(1, 10000) g;
grant select on api.kept_doc to public;
"""
CLIENTS = 8
QUESTIONS = 150


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running(children, program):
    """Its address. It can't run as root, needs TCP to its database, and asks before it changes it."""
    directory = Path(tempfile.mkdtemp(prefix="rolegate-bench-pgpaw-"))
    directory.chmod(0o711)
    port, listen = free_port(), free_port()
    settings = {"listen_addresses": "127.0.0.1", "wal_level": "logical"}
    try:
        with Cluster(children, directory, settings, port, "pgpaw-postgres") as cluster:
            cluster.server.query("postgres", TABLE)
            upstream = ["--pg-host", "127.0.0.1", "--pg-port", port, "--pg-user", "postgres",
                        "--pg-database", "postgres", "--publication", "pgpaw_pub"]
            home = directory / "pgpaw"
            home.mkdir()
            # Where somebody else may run it, too.
            copy = directory / "bin"
            shutil.copy(program, copy)
            init, user = unprivileged([copy, "init", *upstream])
            if user is not None:
                os.chown(home, user.pw_uid, user.pw_gid)
            environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PGLITE_RUNTIME_DIR": str(home / "rt")}
            done = subprocess.run([str(part) for part in init], input="y\n", text=True, cwd=home,
                                  env=environment, capture_output=True, timeout=60)
            if done.returncode != 0:
                raise Failed(f"pgpaw init ended with {done.returncode}: {done.stderr or done.stdout}")
            serve, _ = unprivileged([copy, "serve", "--host", "127.0.0.1", "--port", listen, "--data-dir",
                                     home / "data", *upstream, "--slot", "pgpaw_slot"])
            children.start("pgpaw", serve, env=environment, cwd=home)
            address = f"127.0.0.1:{listen}"
            wait(children, address)
            yield address
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def wait(children, address):
    deadline = time.monotonic() + 120
    while True:
        children.check()
        try:
            with urllib.request.urlopen(f"http://{address}/healthz", timeout=5):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise Failed(f"pgpaw does not answer: {error}\n{children.tail('pgpaw')}") from error
            time.sleep(0.2)


class Few(HttpTarget):
    """With 64 connections it runs out of threads and aborts."""

    def measure(self, connections, *rest):
        return super().measure(connections, *rest) if connections <= CLIENTS else None


def targets(load, work_dir, address, sql):
    """`POST /query`, which it answers with a redirect, and the answer at that address."""
    post = Few("pgpaw-post", load, work_dir, address, "/query", {"sql": sql},
                      marker_count=0, status=303)
    return {"pgpaw-post": post,
            "pgpaw-cursor": Few("pgpaw-cursor", load, work_dir, address, post.location(), None)}


def wrong_bodies(address):
    """How many of the answers to clients at the same time are not what was asked for: (wrong, none, of)."""
    def client(number):
        wrong = failed = 0
        for question in range(QUESTIONS):
            wanted = 1 + (number + question * CLIENTS) % 10000
            body = json.dumps({"sql": f"select id, title from api.kept_doc where id = {wanted}"}).encode()
            request = urllib.request.Request(f"http://{address}/query", data=body,
                                             headers={"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    rows = json.load(response)
            except (OSError, ValueError):
                failed += 1
                continue
            # Under load it has also answered with what is no list of rows.
            if not isinstance(rows, list) or [row.get("id") for row in rows] != [wanted]:
                wrong += 1
        return wrong, failed

    with ThreadPoolExecutor(CLIENTS) as clients:
        counts = list(clients.map(client, range(CLIENTS)))
    return sum(wrong for wrong, _ in counts), sum(failed for _, failed in counts), CLIENTS * QUESTIONS
