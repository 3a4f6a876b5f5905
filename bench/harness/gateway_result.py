"""Everything a report is made of."""

from dataclasses import dataclass

from .rounds import Samples, Spread


@dataclass
class Result:
    """One run."""

    date: str
    command: str
    machine: dict
    commit: str
    build_note: str
    postgres_version: str
    pgbench_version: str
    postgraphile: tuple | None
    sync_note: str
    rounds: int
    seconds: float
    warm_up: float
    connections: list
    names: list
    samples: Samples
    batch_size: int
    batch_connections: list
    batch_samples: Samples | None
    million: bool
    # Good calls of ours that were measured.
    calls: int
    # Megabytes: now, peak.
    resident: tuple

    @property
    def reference(self):
        """The number of connections the targets speak of."""
        return 64 if 64 in self.connections else max(self.connections)

    def tail(self, name, connections):
        """p99 over p50, of each round."""
        pairs = zip(
            self.samples.each(name, connections, "p99_us"),
            self.samples.each(name, connections, "p50_us"),
        )
        return Spread.of([p99 / p50 for p99, p50 in pairs if p99 and p50])

    def best(self, name):
        """The number of connections at which a contestant is fastest."""
        found = [
            (spread.median, count)
            for count in self.connections
            if (spread := self.samples.spread(name, count))
        ]
        return max(found)[1] if found else None
