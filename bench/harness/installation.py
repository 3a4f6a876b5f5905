"""Ours: `rolegate dev` in a data directory of its own. Everything else reads its dev.json."""

import base64
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .children import Failed, run
from .postgres import Server

SQL = Path(__file__).resolve().parent.parent / "sql"


@dataclass
class Installation:
    """A running installation."""

    process: object
    gateway: str
    database: str
    server: Server
    postgres_version: str
    jwt: str
    api_token: str = ""

    @property
    def path(self):
        return f"/api/{self.database}"

    def claims(self):
        """The payload of the JWT: what the gateway hands to the database."""
        payload = self.jwt.split(".")[1]
        return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()

    def resident_megabytes(self):
        """Memory of the gateway's process now and at its peak, without PostgreSQL's processes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines())
        return tuple(int(values[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))


def start(children, binary, data_dir, postgres, timeout=120):
    """Starts `rolegate dev`, makes the function and mints an API token."""
    command = [binary, "dev", "--data-dir", data_dir, "--postgres", postgres]
    known = run([binary, "dev", "--help"])
    for surface in ("gateway", "console", "callbacks", "metrics"):
        if f"--{surface} " in known:
            command += [f"--{surface}", "127.0.0.1:0"]
    record_file = Path(data_dir) / "dev.json"
    # Of an earlier run in this directory, with addresses of then.
    record_file.unlink(missing_ok=True)
    process = children.start(
        "rolegate", command, on_stopped=lambda: stop_orphaned_server(Path(data_dir))
    )
    record = wait_for_record(children, record_file, timeout)
    installation = Installation(
        process=process,
        gateway=record["gateway_url"].removeprefix("http://"),
        database=record["database"],
        server=Server.from_url(record["database_url"]),
        postgres_version=record["postgres_version"],
        jwt=record["users"]["alice"]["token"],
    )
    server = installation.server
    for script in ("echo.sql", "people.sql"):
        server.query("postgres", (SQL / script).read_text())
    installation.api_token = server.query(
        "operator",
        "select token from rolegate.mint_api_token('alice', 'benchmark', interval '1 day');",
    )
    server.check_durable()
    return installation


def wait_for_record(children, path, timeout):
    # It is renamed into place when every surface answers.
    deadline = time.monotonic() + timeout
    while not path.exists():
        children.check()
        if time.monotonic() > deadline:
            raise Failed(f"no {path.name} after {timeout} s:\n{children.tail('rolegate')}")
        time.sleep(0.05)
    return json.loads(path.read_text())


def stop_orphaned_server(data_dir):
    """If the program could not stop its PostgreSQL, that server is still ours to stop."""
    for pid_file in data_dir.glob("postgres/**/postmaster.pid"):
        pid = int(pid_file.read_text().split("\n", 1)[0])
        try:
            os.kill(pid, signal.SIGINT)
            print(f"stopped a PostgreSQL server that was left behind in {data_dir.name}")
        except ProcessLookupError:
            pass
