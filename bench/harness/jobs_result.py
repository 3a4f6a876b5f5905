"""Everything a report of jobs.py is made of."""

from dataclasses import dataclass

from .rounds import Samples

OURS = "rolegate"


@dataclass
class Result:
    """One run. Cells of the samples are tuples that begin with their kind."""

    date: str
    command: str
    machine: dict
    commit: str
    postgres_version: str
    contestants: dict
    options: object
    # (workers, processes, queues) of the drains.
    shapes: list
    samples: Samples

    @property
    def most(self):
        """The number of workers that targets speak of."""
        return max(self.options.workers)

    def peers(self):
        return [name for name, it in self.contestants.items()
                if name != OURS and it.enqueues_like != OURS]

    def fastest_peer(self, cell):
        """The peer with the highest median."""
        found = [
            (spread.median, name) for name in self.peers()
            if (spread := self.samples.spread(name, cell))
        ]
        return max(found)[1] if found else None

    def has(self, kind):
        return kind in self.options.only
