"""Whether the script for pgbench is still what the gateway sends."""

import difflib
import re
import time
from pathlib import Path

from .children import Failed

EXECUTED = re.compile(r"\[(\d+)\] alice@\S+ LOG:  execute [^:]*: (.*)$")


def check(installation, data_dir, target, script):
    """Reads the statements of one call from the server's log and compares."""
    sent = statements_of_a_call(installation.server, Path(data_dir), target)
    written = [
        line.rstrip(";")
        for line in script.read_text().splitlines()
        if line and not line.startswith(("\\", "--"))
    ]
    difference = list(difflib.unified_diff(
        [normal(text) for text in written], [normal(text) for text in sent],
        "sql/pgbench_same.sql", "one call", lineterm="", n=0,
    ))
    if difference:
        raise Failed("the gateway sends other statements than pgbench:\n" + "\n".join(difference))


def normal(text):
    """Without what differs on purpose: parameters and how their type is told, comments, quotes."""
    text = re.sub(r"(?<!:):\w+(::pg_catalog\.(text|float8))?|\$\d+", "?", text)
    text = re.sub(r"\s*/\*.*?\*/", "", text).replace('"', "")
    return re.sub(r"\s+", " ", text).strip()


def statements_of_a_call(server, data_dir, target):
    logs = {path: path.stat().st_size for path in data_dir.glob("postgres/**/*.log")}
    if not logs:
        raise Failed("the server's log was not found")
    set_logging(server, "set log_statement = 'all'")
    try:
        # The first call of a connection may also prepare; the sequence of statements is the same.
        target.probe()
        deadline = time.monotonic() + 10
        while True:
            text = "".join(read_from(path, start) for path, start in logs.items())
            executed = [found.groups() for found in map(EXECUTED.search, text.splitlines()) if found]
            backends = {pid for pid, _ in executed}
            # Its last statement is logged after the answer.
            for backend in backends:
                sequence = [sql for pid, sql in executed if pid == backend]
                if "pg_advisory_unlock_all" in sequence[-1]:
                    return sequence
            if time.monotonic() > deadline:
                raise Failed(f"no whole call in the server's log: {executed}")
            time.sleep(0.05)
    finally:
        set_logging(server, "reset log_statement")


def set_logging(server, change):
    server.query("postgres", f"alter system {change}; select pg_catalog.pg_reload_conf();")
    # Backends read their settings when they are asked something the next time.
    time.sleep(0.5)


def read_from(path, start):
    with path.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")
