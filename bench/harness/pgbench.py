"""pgbench: the database's own ceiling, without HTTP, tokens and JSON-RPC."""

import os
import re
from pathlib import Path

from .children import Failed, run
from .postgres import client_program, major

SQL = Path(__file__).resolve().parent.parent / "sql"

# What the gateway's sessions start with (crates/pg/src/session/worker/setup.rs).
SESSION = (
    "-c search_path=pg_catalog,pg_temp -c client_connection_check_interval=2s "
    "-c client_min_messages=error -c extra_float_digits=1"
)


class Pgbench:
    """One script of `sql/`, run in prepared mode on pipelines, logged in as alice."""

    def __init__(self, installation, script, argument, work_dir):
        self.program = client_program("pgbench")
        self.version = run([self.program, "--version"]).strip()
        self.server = installation.server
        self.file = work_dir / script
        text = (SQL / script).read_text()
        self.file.write_text(text.replace("-- SYNC", self.between_segments()))
        claims = installation.claims()
        self.variables = {
            "role": "none",
            "session_user": "alice",
            "claims": claims,
            "search_path": '"api", pg_temp',
            "argument": argument,
            "timeout": "30000",
            "method": "POST",
            "path": installation.path,
            "headers": '{"accept":"application/json"}',
            "read_only": "on",
            "seed": "0.1234567890",
            # As long as a real one; echo does not ask for it, so nobody verifies it.
            "signed": f"v1|1|16571|1795240750000000|{'0' * 16}|{'0' * 64}|{'0' * 36}|{claims}",
        }
        names = [
            "statement_timeout", "request.method", "request.path", "request.headers",
            "search_path", "request.jwt.claims", "rolegate.signed_claims",
            "transaction_read_only", "role",
        ]
        self.variables |= {f"n{i}": name for i, name in enumerate(names, 1)}
        free = self.server.query(
            "postgres",
            "select pg_catalog.current_setting('max_connections')::int"
            " - pg_catalog.current_setting('superuser_reserved_connections')::int"
            " - (select count(*) from pg_catalog.pg_stat_activity where backend_type = 'client backend')",
        )
        # The gateway and PostGraphile keep up to 60 connections in the meantime.
        self.most_clients = int(free) - 60

    def between_segments(self):
        """`\\syncpipeline` is of PostgreSQL 17; before, two pipelines are two round trips."""
        if major(self.version) >= 17:
            return "\\syncpipeline"
        return "\\endpipeline\n\\startpipeline"

    def measure(self, connections, seconds, warm_up):
        """Transactions per second, or None if the server has fewer connections than asked for."""
        if connections > self.most_clients:
            return None
        if warm_up > 0:
            self._run(connections, max(1, round(warm_up)))
        return self._run(connections, max(1, round(seconds)))

    def _run(self, clients, seconds):
        command = [
            self.program, "--no-vacuum", "--protocol=prepared",
            f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}",
            f"--time={seconds}", f"--file={self.file}",
        ]
        for name, value in self.variables.items():
            if f":{name}" in self.file.read_text():
                command.append(f"--define={name}={value}")
        environment = self.server.environment("alice") | {"PGOPTIONS": SESSION}
        said = run(command, env=environment, timeout=seconds + 60)
        rate = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
        latency = re.search(r"^latency average = ([0-9.]+) ms", said, re.MULTILINE)
        failed = re.search(r"^number of failed transactions: (\d+)", said, re.MULTILINE)
        if rate is None or latency is None:
            raise Failed(f"pgbench printed no figures:\n{said}")
        return {
            "per_second": float(rate.group(1)),
            "mean_us": float(latency.group(1)) * 1000,
            "errors": int(failed.group(1)) if failed else 0,
        }
