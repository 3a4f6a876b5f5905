"""A PostgreSQL cluster of the benchmark's own, with one database for each contestant."""

import os
import pwd
import shutil
import signal
import time
from pathlib import Path

from .children import Failed, run
from .postgres import Server, client_program

# The same for all contestants. Checkpoints are asked for before each cell, so that none falls into
# one by itself.
SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "synchronous_commit": "on",
    "listen_addresses": "",
}


def unprivileged(command):
    """PostgreSQL refuses to run as root: as the user that Debian makes for it, or nobody."""
    if os.geteuid() != 0:
        return command, None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        # --pdeathsig, because a change of user takes away the one that was set before.
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
                  "--pdeathsig", "INT"]
        return [*prefix, *command], user
    raise Failed("there is no unprivileged user to run PostgreSQL as")


class Cluster:
    """Runs from `with` to its end."""

    def __init__(self, children, directory, settings=None, port=5432, name="postgres"):
        self.children = children
        self.settings = SETTINGS | (settings or {})
        self.directory = Path(directory)
        self.process = None
        self.name = name
        self.server = Server(str(self.directory), port, "postgres")

    def __enter__(self):
        binaries = Path(os.path.realpath(client_program("psql"))).parent
        binaries = newest_binaries(binaries)
        data = self.directory / "data"
        data.mkdir()
        command, user = unprivileged([
            binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--locale=C.UTF-8", "--no-sync",
        ])
        if user is not None:
            for path in (self.directory, data):
                os.chown(path, user.pw_uid, user.pw_gid)
        run(command, cwd="/")
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command, _ = unprivileged(
            [binaries / "postgres", "-D", data, "-k", self.directory, "-p", self.server.port, *options]
        )
        self.process = self.children.start(self.name, command, cwd="/")
        self._wait()
        self.server.check_durable()
        return self

    def __exit__(self, *_):
        # Fast, not smart: clients that are left do not keep it.
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def _wait(self):
        deadline = time.monotonic() + 30
        while True:
            self.children.check()
            try:
                return self.server.query("postgres", "select 1")
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @property
    def version(self):
        return self.server.query("postgres", "show server_version")

    def database(self, name):
        return Server(self.server.directory, self.server.port, name)

    def create(self, name, template=None):
        """A new database in place of the one of this name."""
        self.drop(name)
        source = f" template {template}" if template else ""
        self.server.query("postgres", f"create database {name}{source};")
        return self.database(name)

    def drop(self, name):
        self.server.query("postgres", f"drop database if exists {name} with (force);")


def newest_binaries(beside_psql):
    """Where initdb and postgres are; Debian has them outside of PATH."""
    if (beside_psql / "initdb").exists():
        return beside_psql
    found = shutil.which("initdb")
    if found:
        return Path(os.path.realpath(found)).parent
    raise Failed("initdb is not installed (on Debian: postgresql)")
