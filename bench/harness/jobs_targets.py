"""The targets of the design beside what was measured. Ours may be missing: then only the peers are."""

from .gateway_report import NOISE, number, ratio_text, spread_text, table
from .jobs_result import OURS


class Rows:
    """Collects rows; a target without figures is not measured, never reached."""

    def __init__(self, result):
        self.result, self.rows = result, []

    def add(self, what, target, spread, good, text=ratio_text):
        if spread is None:
            self.rows.append((what, target, "–", "not measured"))
            return
        verdict = "reached" if good(spread.median) else "**missed**"
        self.rows.append((what, target, spread_text(spread, text), verdict))

    def ratio(self, what, least, above, below, target=None):
        spread = self.result.samples.ratio((OURS, above), below)
        self.add(what, target or f"at least {least:g}", spread, lambda value: value >= least)

    def figure(self, what, target, cell, key, most, text, name=OURS):
        spread = self.result.samples.spread(name, cell, key)
        self.add(what, target, spread, lambda value: value <= most, text)


def milliseconds(value):
    return f"{value / 1000:.2f} ms"


def targets(result):
    rows, samples = Rows(result), result.samples
    most, few = result.most, min(result.options.workers)

    def cell(workers=most, processes=1, queues=1):
        return ("drain", workers, processes, queues)

    fastest = result.fastest_peer(cell())
    title = result.contestants[fastest].title if fastest else "the fastest peer"
    rows.ratio(f"drain, {most} workers: over {title}, the fastest peer", 1.5, cell(), (fastest, cell()))
    rows.ratio(f"drain, {most} workers: over awa", 4, cell(), ("awa", cell()))
    rows.ratio(f"drain, {few} workers: over awa", 10, cell(few), ("awa", cell(few)))
    rows.ratio(f"drain, {most} workers: 4 processes over 1", 1 - NOISE, cell(processes=4),
               (OURS, cell()), f"no loss (at least {1 - NOISE:.2f}: noise)")
    rows.ratio(f"drain, {most} workers: 16 queues over 1", 0.8, cell(queues=16), (OURS, cell()))
    for synchronous in ("on", "off"):
        for count in result.options.connections:
            job, plain = (("single", synchronous, count, it) for it in (False, True))
            rows.ratio(f"single transactions over plain rows, {count} conn., "
                       f"`synchronous_commit` {synchronous}", 0.5, job, (OURS, plain))
    rows.figure("pickup on an idle system, from the call: p50", "at most 3 ms", ("latency",),
                "from_call_p50_us", 3000, milliseconds)
    rows.figure("pickup on an idle system, from the call: p99", "at most 10 ms", ("latency",),
                "from_call_p99_us", 10_000, milliseconds)
    rows.ratio("pinned horizon: over clean", 0.98, ("pinned", True), (OURS, ("pinned", False)))
    jobs = result.options.rate * result.options.pinned_seconds
    rows.figure("pinned horizon: dead row versions at the end", "flat (at most 1 for 100 jobs)",
                ("pinned", True), "dead_left", jobs / 100, number)
    rows.figure("pinned horizon: jobs left after draining", "0", ("pinned", True), "left", 0, number)
    rows.figure("WAL per job, enqueued in bulk and worked off", "at most 900 bytes", cell(),
                "wal_both", 900, lambda value: f"{value:,.0f} bytes")
    rows.figure("WAL per job with claims, trace and output", "at most 1,400 bytes", cell(),
                "wal_both", 1400, lambda value: f"{value:,.0f} bytes", f"{OURS}-all")
    rows.figure("installation: objects", "tens (less than 100)", ("install",), "objects", 99, number)
    rows.figure("installation: seconds", "less than 1", ("install",), "seconds", 1, ratio_text)
    rows.figure("installation: size", "less than 2 MB", ("install",), "bytes", 2e6,
                lambda value: f"{value / 1e6:.2f} MB")
    note = "" if OURS in result.contestants else (
        "Ours did not take part: the targets are not measured.\n\n")
    return note + table(("ours", "target", "measured", ""), rows.rows)
