"""Rounds: every contestant in turn, at every number of connections, several times over."""

import sys
import time
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Spread:
    """Median, least and most of the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values):
        values = [value for value in values if value is not None]
        return cls(median(values), min(values), max(values)) if values else None


@dataclass
class Samples:
    """Figures by (contestant, connections), one for each round."""

    cells: dict = field(default_factory=dict)

    def add(self, name, connections, figures):
        self.cells.setdefault((name, connections), []).append(figures)

    def each(self, name, connections, key):
        """One value per round; None where there is none."""
        return [
            figures.get(key) if figures else None
            for figures in self.cells.get((name, connections), [])
        ]

    def spread(self, name, connections, key="per_second"):
        return Spread.of(self.each(name, connections, key))

    def ratio(self, above, below, key="per_second"):
        """`above` over `below`, each (contestant, connections), taken within each round: what
        disturbed a round disturbed both."""
        pairs = zip(self.each(*above, key), self.each(*below, key))
        return Spread.of([a / b for a, b in pairs if a is not None and b])

    def errors(self):
        """(contestant, connections, errors, good, details) of all cells with errors."""
        found = []
        for (name, connections), rounds in self.cells.items():
            wrong = [figures for figures in rounds if figures and figures["errors"]]
            if wrong:
                errors = sum(figures["errors"] for figures in wrong)
                good = sum(figures.get("good", 0) for figures in rounds if figures)
                first = wrong[0]
                details = {
                    key: first[key]
                    for key in ("statuses", "unmarked", "broken", "sample")
                    if first.get(key)
                }
                found.append((name, connections, errors, good, details))
        return found


def measure(contestants, connections, rounds, seconds, warm_up, check):
    """`contestants` maps a name to something with `measure`. Each round starts with another one,
    so that none always follows the same neighbour."""
    samples = Samples()
    names = list(contestants)
    total = rounds * len(connections) * len(names)
    done = 0
    for number in range(rounds):
        shift = number % len(names)
        for count in connections:
            for name in names[shift:] + names[:shift]:
                begun = time.monotonic()
                figures = contestants[name].measure(count, seconds, warm_up)
                check()
                samples.add(name, count, figures)
                done += 1
                said = f"{figures['per_second']:>10,.0f}/s" if figures else "     (none)"
                wrong = f"  {figures['errors']} errors" if figures and figures["errors"] else ""
                print(
                    f"[{done}/{total}] round {number + 1}, {count:>3} connections, "
                    f"{name:<14}{said}{wrong}  ({time.monotonic() - begun:.1f} s)",
                    file=sys.stderr,
                )
    return samples
