"""The one PostgreSQL server that all contestants share, and the client programs for it."""

import glob
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .children import Failed, run


def client_program(name):
    """A client program of PostgreSQL from PATH or from where Debian keeps it; newest first."""
    found = shutil.which(name)
    versions = sorted(
        glob.glob(f"/usr/lib/postgresql/*/bin/{name}"),
        key=lambda path: int(Path(path).parts[-3]),
    )
    if versions:
        return versions[-1]
    if found:
        return found
    raise Failed(f"{name} is not installed (on Debian: postgresql)")


@dataclass
class Server:
    """Where the server is. Connections use its Unix socket; `peer` lets this user be anybody."""

    directory: str
    port: int
    database: str

    @classmethod
    def from_url(cls, url):
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        return cls(query["host"][0], int(query["port"][0]), unquote(parts.path[1:]))

    def environment(self, user):
        """For libpq."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {
            "PGHOST": self.directory,
            "PGPORT": str(self.port),
            "PGDATABASE": self.database,
            "PGUSER": user,
        }

    def url(self, user):
        directory = quote(self.directory, safe="")
        return f"postgresql://{user}@/{self.database}?host={directory}&port={self.port}"

    def query(self, user, sql):
        """Runs SQL and gives the rows, columns separated by tabs."""
        command = [client_program("psql"), "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        return run(command, env=self.environment(user), stdin=sql, timeout=60).strip()

    def setting(self, name):
        return self.query("postgres", f"show {name}")

    def check_durable(self):
        """All contestants run on a server that would survive a power cut, or none does."""
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if self.setting(name) != "on":
                raise Failed(f"the server runs with {name} = {self.setting(name)}")


def major(version_text):
    """15 of `pgbench (PostgreSQL) 15.18 (...)`."""
    return int(re.search(r"(\d+)(\.|devel|beta|rc)", version_text).group(1))
